import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.handoff import Handed
from edge_agent.inspection.cameras.camera import Away, BadFrame, Frame, Seen
from edge_agent.inspection.candidates import CandidateMaker
from edge_agent.inspection.inspector import Inspector
from edge_agent.inspection.keepsakes import Keepsakes
from edge_agent.inspection.loading import LoadedRelease
from edge_agent.inspection.loop import FLOOR_VALUE, KEEP_S, CameraLoop, LineSlot
from edge_agent.inspection.sender import QUEUE_SIZE, Sender
from shared import codec, topics
from shared.clock import ManualClock
from shared.config import BudgetTable, CropTable, LineConfig, RuntimeTable
from shared.geometry import Patch
from shared.identity import CandidateId, sha256_hex
from shared.images import decode_image
from shared.messages import Candidate

MakeRelease = Callable[..., Any]


class ListCamera:
    """Gives what it was given; ``between`` runs before each frame but the first."""

    def __init__(self, frames: Sequence[Seen], between: Callable[[int], None] | None = None) -> None:
        self._frames = frames
        self._between = between

    def frames(self, stop: threading.Event) -> Iterator[Seen]:
        for index, frame in enumerate(self._frames):
            if stop.is_set():
                return
            if index and self._between is not None:
                self._between(index)
            yield frame


class Bench:
    """One camera's loop with everything around it, and what it handed over."""

    def __init__(self, line: LineConfig, camera: ListCamera, directory: Path) -> None:
        self.clock = clock = ManualClock()
        self.slot = LineSlot()
        self.keepsakes = Keepsakes(directory / "memory", clock)
        self.sender = Sender(directory / "handoff.sock", clock)
        self.inspector = Inspector(line, rng=np.random.default_rng(0))
        self.maker = maker = CandidateMaker(site="plant", node="press-03", boot="0123abcd")
        self.loop = CameraLoop(
            "left",
            camera,
            self.inspector,
            self.slot,
            maker=maker,
            sender=self.sender,
            clock=clock,
            ids={"lot": "7", "recipe": "thin"},
            keepsakes=self.keepsakes,
        )

    def run(self) -> list[Candidate]:
        self.loop.run(threading.Event())
        return [codec.decode(handed.candidate, Candidate) for handed in self.handed()]

    def handed(self) -> list[Handed]:
        found = []
        while not self.sender._queue.empty():
            found.append(self.sender._queue.get_nowait())
        return found


def picture(seed: int, height: int = 64, width: int = 64) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 1), dtype=np.uint8)


def pictures(count: int) -> list[Frame | BadFrame]:
    return [Frame(number, 10.0 + number, picture(number)) for number in range(count)]


def loaded(line: LineConfig, release: Any) -> LoadedRelease:
    runtime = RuntimeTable(provider="cpu", threads=1)
    return LoadedRelease.load(release.directory, manifest_sha256=release.manifest_sha256, line=line, runtime=runtime)


def test_a_candidate_says_what_where_when_and_why(line: LineConfig, make_release: MakeRelease, tmp_path: Path) -> None:
    line = msgspec.structs.replace(line, crop=CropTable(format="png"))
    frame = Frame(7, 12.5, picture(1, 50, 64))
    bench = Bench(line, ListCamera([frame]), tmp_path)
    release = loaded(line, make_release(3))
    bench.slot.release = release

    candidates = bench.run()

    assert {(c.row, c.col) for c in candidates} == {(row, col) for row in range(2) for col in range(2)}
    for candidate in candidates:
        patch = Patch(candidate.row, candidate.col)
        inner = line.grid.patch(frame.image, patch)
        name = CandidateId.parse(candidate.id)
        assert (name.node, name.boot, name.digest) == ("press-03", "0123abcd", sha256_hex(candidate.crop)[:16])
        assert (candidate.camera, candidate.frame, candidate.captured_at) == ("left", 7, 12.5)
        assert candidate.inside == (32 if patch.row == 0 else 18, 32)
        assert (candidate.release, candidate.reason, candidate.seen) == ("strip-0003", "novel", 4)
        assert candidate.score == pytest.approx(inner.mean() / 255, abs=1e-6)
        assert candidate.space == release.manifest.space.id if release.manifest.space else None
        assert candidate.embedding is not None
        assert release.space is not None
        np.testing.assert_allclose(codec.unpack(candidate.embedding), release.space.embed(inner[None])[0], atol=1e-3)
        crop = decode_image(candidate.crop, what="crop", channels=1)
        np.testing.assert_array_equal(crop, line.grid.crop(frame.image, patch))
    assert len({CandidateId.parse(candidate.id).seq for candidate in candidates}) == 4


def test_the_ids_of_part_and_lot_ride_along(line: LineConfig, tmp_path: Path) -> None:
    """What a frame says of itself counts more than what its camera's table says."""
    frames = [Frame(0, 0.0, picture(0), ids={"part": "0012", "lot": "8"}), Frame(1, 0.0, picture(1))]

    candidates = Bench(cold(line), ListCamera(frames), tmp_path).run()

    ids = {candidate.frame: candidate.ids for candidate in candidates}
    assert ids == {0: {"part": "0012", "lot": "8", "recipe": "thin"}, 1: {"lot": "7", "recipe": "thin"}}


def test_a_broken_image_says_that_its_camera_is_there(line: LineConfig, tmp_path: Path) -> None:
    bench = Bench(line, ListCamera([Away("images/1.png: Input/output error"), BadFrame(0, "broken")]), tmp_path)

    bench.run()

    assert (bench.loop.state.away, bench.loop.state.frames_bad) == ("", 1)


def test_a_camera_that_is_away_says_why_until_it_is_back(
    line: LineConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []
    gone = Away("rtsp://cam: connection refused")
    camera = ListCamera(
        [Frame(0, 0.0, picture(0)), gone, gone, Away("rtsp://cam: no answer within 5 s"), Frame(1, 0.0, picture(1))],
        between=lambda _: seen.append(bench.loop.state.away),
    )
    bench = Bench(line, camera, tmp_path)

    with caplog.at_level("INFO", logger="winnow"):
        bench.run()

    assert seen == ["", gone.reason, gone.reason, "rtsp://cam: no answer within 5 s"]
    state = bench.loop.state
    assert (state.away, state.frames, state.frames_bad, state.frame_number) == ("", 2, 0, 1)
    # Said once for each reason, and once when it is over.
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING", "INFO"]


def test_a_camera_that_blurs_is_told_and_nothing_of_it_is_novel(
    line: LineConfig, make_release: MakeRelease, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    sharp = [np.kron(rng.integers(60, 200, (32, 32)), np.ones((2, 2))) for _ in range(64)]
    images = [*sharp[:30], *(np.kron(image[::8, ::8], np.ones((8, 8))) for image in sharp[30:40]), *sharp[40:]]
    frames = [Frame(n, 0.0, image.astype(np.uint8)[..., None]) for n, image in enumerate(images)]
    needs: list[tuple[str, ...]] = []
    camera = ListCamera(frames, between=lambda _: needs.append(bench.loop.state.needs))
    bench = Bench(line, camera, tmp_path)
    bench.slot.release = loaded(line, make_release(1))

    with caplog.at_level("INFO", logger="winnow"):
        candidates = bench.run()

    state = bench.loop.state
    assert (state.faults, state.verdicts["unclear"], state.frames) == ({"blurred": 10}, 40, 64)
    assert not {candidate.frame for candidate in candidates} & set(range(30, 40))
    # Raised with the third blurred frame, and gone when thirty were clear; the last frame is not clear for so long.
    assert [bool(need) for need in needs] == [False] * 32 + [True] * 31
    assert [record.levelname for record in caplog.records if "blurred" in record.getMessage()] == ["WARNING"]


def test_what_was_sent_is_kept_at_once_and_then_once_a_minute(
    line: LineConfig, make_release: MakeRelease, tmp_path: Path
) -> None:
    put: list[int] = []

    class Noting(Keepsakes):
        def put_down(self, camera: str, line: str, keepsake: Any) -> None:
            put.append(bench.loop._frame_number)
            super().put_down(camera, line, keepsake)

    camera = ListCamera(pictures(10), between=lambda _: bench.clock.advance(KEEP_S / 4))
    bench = Bench(line, camera, tmp_path)
    bench.loop._keepsakes = Noting(tmp_path / "memory", bench.clock)
    bench.slot.release = loaded(line, make_release(1))

    bench.run()

    # The last is the camera's end.
    assert put == [0, 4, 8, 9]


def test_a_start_does_not_send_the_known_again(line: LineConfig, make_release: MakeRelease, tmp_path: Path) -> None:
    release = loaded(line, make_release(1))
    stop = threading.Event()
    stop.set()
    sent = []
    for _ in range(2):
        bench = Bench(line, ListCamera(pictures(3)), tmp_path)
        bench.slot.release = release
        sent.append(len(bench.run()))
        bench.keepsakes.run(stop)

    assert sent[0] > 5
    assert sent[1] == 0


def test_without_a_release_random_patches_go_without_score_or_embedding(line: LineConfig, tmp_path: Path) -> None:
    line = msgspec.structs.replace(line, budget=BudgetTable(patches_per_hour=1e7, burst=1000, floor_share=0.05))
    bench = Bench(line, ListCamera(pictures(5)), tmp_path)
    bench.loop.run(threading.Event())

    handed = bench.handed()
    candidates = [codec.decode(one.candidate, Candidate) for one in handed]

    assert candidates
    for one in candidates:
        assert (one.release, one.score, one.gain, one.space, one.embedding, one.reason) == (*[None] * 5, "floor")
    assert {one.value for one in handed} == {FLOOR_VALUE}


def test_the_spool_is_told_the_gain(line: LineConfig, make_release: MakeRelease, tmp_path: Path) -> None:
    bench = Bench(line, ListCamera(pictures(3)), tmp_path)
    bench.slot.release = loaded(line, make_release(1))
    bench.loop.run(threading.Event())

    handed = bench.handed()

    assert handed
    for one in handed:
        assert one.value == codec.decode(one.candidate, Candidate).gain
        assert one.line == "strip"


def test_a_release_is_taken_over_between_two_frames_and_none_is_missed(
    line: LineConfig, make_release: MakeRelease, tmp_path: Path
) -> None:
    first, second = loaded(line, make_release(1, task=False)), loaded(line, make_release(2))
    releases = {2: first, 5: second}

    def between(index: int) -> None:
        if index in releases:
            bench.slot.release = releases[index]

    bench = Bench(line, ListCamera(pictures(8), between), tmp_path)
    candidates = bench.run()

    by_frame = {c.frame: c.release for c in candidates if c.release is not None}
    assert all(release == ("strip-0001" if frame < 5 else "strip-0002") for frame, release in by_frame.items())
    assert set(by_frame) == {2, 3, 4, 5, 6, 7}
    assert (bench.loop.state.frames, bench.loop.state.frames_missed) == (8, 0)


def test_bad_frames_are_counted_and_the_rest_is_judged(
    line: LineConfig, make_release: MakeRelease, tmp_path: Path
) -> None:
    frames = pictures(4)
    frames[1] = BadFrame(1, "1.png: broken image")
    bench = Bench(line, ListCamera(frames), tmp_path)
    bench.slot.release = loaded(line, make_release(1))

    candidates = bench.run()

    assert {candidate.frame for candidate in candidates} == {0, 2, 3}
    assert (bench.loop.state.frames, bench.loop.state.frames_bad, bench.loop.state.frame_number) == (3, 1, 3)


def test_a_model_that_gives_no_numbers_costs_frames_but_not_the_loop(
    line: LineConfig, make_release: MakeRelease, build_task: Callable[..., bytes], tmp_path: Path
) -> None:
    sick = loaded(line, make_release(1, task=build_task(line.grid, bias=float("nan"))))
    well = loaded(line, make_release(2))

    def between(index: int) -> None:
        if index == 2:
            bench.slot.release = well

    bench = Bench(line, ListCamera(pictures(4), between), tmp_path)
    bench.slot.release = sick
    candidates = bench.run()

    assert {candidate.frame for candidate in candidates} == {2, 3}
    assert (bench.loop.state.frames, bench.loop.state.frames_bad) == (2, 2)


def test_counters_add_up(line: LineConfig, make_release: MakeRelease, tmp_path: Path) -> None:
    frames = [Frame(0, 0.0, picture(0)), Frame(3, 0.0, picture(1, 70, 100), missed=2), Frame(4, 0.0, picture(0))]
    bench = Bench(line, ListCamera(frames), tmp_path)
    bench.slot.release = loaded(line, make_release(1))

    sent = len(bench.run())

    state = bench.loop.state
    assert (state.frames, state.frames_missed, state.frame_number) == (3, 2, 4)
    assert state.patches == 4 + 12 + 4 == sum(state.verdicts.values())
    assert state.bytes_seen == 64 * 64 + 70 * 100 + 64 * 64
    assert state.verdicts["novel"] == sent
    assert state.verdicts["known"] >= 4


def test_a_full_hand_off_is_counted_and_the_loop_goes_on(
    line: LineConfig, make_release: MakeRelease, tmp_path: Path
) -> None:
    block = np.ones((8, 8, 1), dtype=np.uint8)
    frames: list[Frame | BadFrame] = [Frame(n, 0.0, np.kron(picture(n, 20, 20), block)) for n in range(6)]
    bench = Bench(line, ListCamera(frames), tmp_path)
    bench.slot.release = loaded(line, make_release(1))

    kept = len(bench.run())

    accepted = bench.loop.state.verdicts["novel"]
    assert bench.loop.state.frames == 6
    assert kept == QUEUE_SIZE < accepted
    assert bench.sender.dropped == accepted - QUEUE_SIZE


def wide_line(line: LineConfig, **crop: Any) -> LineConfig:
    """Crops of 416 pixels: white noise in them is more than a message holds."""
    geometry = msgspec.structs.replace(line.geometry, tile_px=416, patch_px=256, margin_px=80, cell_px=64)
    return msgspec.structs.replace(line, geometry=geometry, crop=CropTable(**crop))


def cold(line: LineConfig) -> LineConfig:
    return msgspec.structs.replace(line, budget=BudgetTable(patches_per_hour=1e9, burst=1000, floor_share=1.0))


def test_a_crop_too_large_for_a_message_travels_in_lower_quality(line: LineConfig, tmp_path: Path) -> None:
    line = cold(wide_line(line, format="jpeg", quality=100))
    bench = Bench(line, ListCamera([Frame(n, 0.0, picture(n, 512, 512)) for n in range(2)]), tmp_path)

    candidates = bench.run()

    assert candidates
    assert bench.loop.state.verdicts["oversize"] == 0
    for candidate in candidates:
        assert len(codec.encode(candidate)) <= codec.MAX_MESSAGE_BYTES
        assert CandidateId.parse(candidate.id).digest == sha256_hex(candidate.crop)[:16]


@pytest.mark.parametrize("max_packet_bytes", [40_000, 25_000])
def test_a_crop_is_made_to_fit_what_the_broker_takes(line: LineConfig, tmp_path: Path, max_packet_bytes: int) -> None:
    """Smooth crops, which fit in lower quality: each message stays below the limit, topic and all."""
    rng = np.random.default_rng(1)
    smooth = [np.kron(rng.integers(0, 255, (32, 32)), np.ones((16, 16))).astype(np.uint8)[..., None] for _ in range(2)]
    line = cold(wide_line(line, format="jpeg", quality=100))
    bench = Bench(line, ListCamera([Frame(n, 0.0, image) for n, image in enumerate(smooth)]), tmp_path)
    bench.maker.max_packet_bytes = max_packet_bytes

    candidates = bench.run()

    topic = topics.candidates("plant", "press-03", line.line)
    sizes = [len(codec.encode(candidate)) + len(topic) for candidate in candidates]
    assert len(sizes) == bench.loop.state.verdicts["floor"] > 0
    assert max(sizes) <= max_packet_bytes - 10
    assert bench.loop.state.verdicts["oversize"] == 0


def test_a_crop_at_the_limit_goes_and_one_byte_less_refuses_it(line: LineConfig, tmp_path: Path) -> None:
    """Lossless crops have one size: at the limit they are sent, below it they are counted and not sent."""
    line = cold(msgspec.structs.replace(line, crop=CropTable(format="png")))
    frame = [Frame(0, 0.0, picture(1, 32, 32))]
    size = len(codec.encode(Bench(line, ListCamera(frame), tmp_path).run()[0]))
    topic = topics.candidates("plant", "press-03", line.line)
    found = []

    for less in (0, 1):
        bench = Bench(line, ListCamera(frame), tmp_path)
        bench.maker.max_packet_bytes = size + len(topic) + 16 - less
        found.append((len(bench.run()), bench.loop.state.verdicts["oversize"]))

    assert found == [(1, 0), (0, 1)]


def test_a_crop_too_large_in_any_quality_is_counted_and_skipped(line: LineConfig, tmp_path: Path) -> None:
    line = cold(wide_line(line, format="png"))
    bench = Bench(line, ListCamera([Frame(n, 0.0, picture(n, 512, 512)) for n in range(2)]), tmp_path)

    candidates = bench.run()

    assert candidates == []
    assert bench.loop.state.verdicts["oversize"] > 0
    assert bench.loop.state.verdicts["floor"] == 0
    assert bench.loop.state.frames == 2
