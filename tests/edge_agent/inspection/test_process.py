"""The inspection process as its supervisor and the courier see it: real child, real pipes, real socket."""

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edge_agent.handoff import (
    Counters,
    Finished,
    FromInspection,
    Handed,
    PacketLimit,
    Stop,
    Swap,
    Swapped,
    SwapRefused,
    read_handed,
    write_line,
)
from edge_agent.paths import NodePaths, listen
from shared import codec
from shared.config import load_agent
from shared.geometry import PatchGrid
from shared.images import encode_image
from shared.messages import Candidate

MakeRelease = Callable[..., Any]
FOLDER = """
[[cameras]]
name = "left"
line = "strip"
source = {type = "folder", path = "images"}
"""
LIVE = """
[[cameras]]
name = "left"
line = "strip"
frames_per_s = 200.0
source = {type = "steel_line"}
[[cameras]]
name = "right"
line = "strip"
frames_per_s = 200.0
source = {type = "steel_line"}
"""


class Child:
    """A running inspection process, and a courier that takes what it hands over."""

    def __init__(self, process: "subprocess.Popen[bytes]", socket_path: Path) -> None:
        self.process = process
        self._socket_path = socket_path
        self.handed: list[Handed] = []
        assert process.stdin is not None
        assert process.stdout is not None
        self.stdin, self.stdout = process.stdin, process.stdout
        self._decoder = msgspec.json.Decoder(FromInspection)
        self._server: socket.socket | None = None
        self._courier = threading.Thread(target=self._take, name="courier", daemon=True)

    def tell(self, message: Any) -> None:
        write_line(self.stdin, message)

    def swap(self, release: Any, *, line: str = "strip") -> None:
        self.tell(Swap(line=line, directory=str(release.directory), manifest_sha256=release.manifest_sha256))

    def until(self, *kinds: type, where: Callable[[Any], bool] = lambda _: True) -> Any:
        """Read what it says up to the first message of a kind."""
        for line in self.stdout:
            message = self._decoder.decode(line)
            if isinstance(message, kinds) and where(message):
                return message
        raise AssertionError(f"it ended without {kinds}")

    def end(self) -> int:
        self.stdout.read()
        status = self.process.wait(timeout=20)
        if self._server is not None:
            self._courier.join(timeout=20)
        return status

    def take(self) -> None:
        """Be the courier from here on."""
        self._server = listen(self._socket_path)
        self._courier.start()

    def close(self) -> None:
        if self._server is not None:
            # Wakes a courier that nobody ever called.
            self._server.shutdown(socket.SHUT_RDWR)
            self._courier.join(timeout=20)
            self._server.close()
        for stream in (self.stdin, self.stdout):
            stream.close()

    def _take(self) -> None:
        assert self._server is not None
        try:
            connection, _ = self._server.accept()
        except OSError:
            return
        with connection, connection.makefile("rb") as stream:
            while (handed := read_handed(stream)) is not None:
                self.handed.append(handed)


@contextmanager
def started(agent_toml: Path, *options: str, courier: bool = True) -> Iterator[Child]:
    agent, _ = load_agent(agent_toml)
    paths = NodePaths.of(agent_toml, agent)
    paths.make()
    command = [sys.executable, "-m", "edge_agent.inspection", str(agent_toml), "--boot", "0123abcd", *options]
    child = Child(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE), paths.handoff_socket)
    # One that never says what a test waits for fails the test instead of holding it.
    watchdog = threading.Timer(60.0, child.process.kill)
    watchdog.start()
    try:
        if courier:
            child.take()
        yield child
    finally:
        watchdog.cancel()
        child.process.kill()
        child.process.wait()
        child.close()


def fill(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.integers(0, 255, (16, 16), dtype=np.uint8)
        (folder / f"{number}.png").write_bytes(encode_image(np.kron(coarse, np.ones((8, 8), dtype=np.uint8))))


def test_a_folder_is_inspected_to_its_end_and_handed_over(
    write_agent: Callable[[str], Path], make_release: MakeRelease, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    agent_toml = write_agent(FOLDER)

    with started(agent_toml) as child:
        child.swap(make_release(1))
        swapped = child.until(Swapped)
        (tmp_path / "images").rmdir()
        fill(tmp_path / "new", 5)
        (tmp_path / "new" / "x.png").write_bytes(b"broken")
        (tmp_path / "new").rename(tmp_path / "images")
        counters = child.until(Counters, where=lambda said: said.cameras[0].frames == 5)
        child.tell(Stop())
        status = child.end()

    assert (swapped.release, swapped.frame, status) == ("strip-0001", 0, 0)
    assert (counters.inspecting, counters.provider, counters.handoff_dropped) == (True, "cpu", 0)
    candidates = [codec.decode(handed.candidate, Candidate) for handed in child.handed]
    assert {candidate.frame for candidate in candidates} == {0, 1, 2, 3, 4}
    assert {candidate.release for candidate in candidates} == {"strip-0001"}
    assert len({candidate.id for candidate in candidates}) == len(candidates)


def test_until_done_says_finished_after_the_last_candidate_is_handed_over(
    write_agent: Callable[[str], Path], tmp_path: Path
) -> None:
    fill(tmp_path / "images", 6)
    (tmp_path / "images" / "x.png").write_bytes(b"broken")
    agent_toml = write_agent(FOLDER)
    line = tmp_path / "line.toml"
    line.write_text(line.read_text(encoding="utf-8").replace("floor_share = 0.0", "floor_share = 1.0"))

    with started(agent_toml, "--until-done") as child:
        last = child.until(Counters, where=lambda said: (said.cameras[0].frames, said.cameras[0].frames_bad) == (6, 1))
        child.until(Finished)
        child.tell(Stop())
        status = child.end()

    (camera,) = last.cameras
    assert status == 0
    assert (camera.frames, camera.frames_bad, last.inspecting) == (6, 1, False)
    # A loop that runs ahead of the hand-off is counted, to the last candidate.
    assert len(child.handed) + last.handoff_dropped == camera.verdicts["floor"] > 0


def test_a_second_start_of_the_node_sends_only_what_is_new(
    write_agent: Callable[[str], Path], make_release: MakeRelease, tmp_path: Path
) -> None:
    agent_toml = write_agent(FOLDER)
    release = make_release(1)
    images, filled = tmp_path / "images", tmp_path / "filled"
    fill(filled, 4)
    sent = []

    for _ in range(2):
        images.mkdir()
        with started(agent_toml) as child:
            child.swap(release)
            child.until(Swapped)
            # Only now are there frames: without a release chance alone sends.
            images.rmdir()
            filled.rename(images)
            child.until(Counters, where=lambda said: said.cameras[0].frames == 4)
            child.tell(Stop())
            assert child.end() == 0
        images.rename(filled)
        sent.append(len(child.handed))

    assert sent[0] > 4
    assert sent[1] == 0
    assert (tmp_path / "agent" / "memory" / "left.bin").exists()


def test_what_the_broker_takes_sizes_the_crops_of_a_running_process(
    write_agent: Callable[[str], Path], tmp_path: Path
) -> None:
    """Told a limit below any candidate, the process sends none and counts them."""
    (tmp_path / "images").mkdir()
    agent_toml = write_agent(FOLDER)
    line = tmp_path / "line.toml"
    line.write_text(line.read_text(encoding="utf-8").replace("floor_share = 0.0", "floor_share = 1.0"))
    fill(tmp_path / "filled", 2)

    with started(agent_toml) as child:
        child.until(Counters)
        child.tell(PacketLimit(200))
        child.tell(Swap(line="elsewhere", directory="nowhere", manifest_sha256=""))
        # The answer comes after the limit was taken in.
        child.until(SwapRefused)
        (tmp_path / "images").rmdir()
        (tmp_path / "filled").rename(tmp_path / "images")
        counters = child.until(Counters, where=lambda said: said.cameras[0].frames == 2)
        child.tell(Stop())
        assert child.end() == 0

    assert counters.cameras[0].verdicts["oversize"] > 0
    assert counters.cameras[0].verdicts["floor"] == 0
    assert child.handed == []


def test_it_is_not_finished_while_candidates_wait_for_the_courier(
    write_agent: Callable[[str], Path], tmp_path: Path
) -> None:
    fill(tmp_path / "images", 1)
    agent_toml = write_agent(FOLDER)
    line = tmp_path / "line.toml"
    line.write_text(line.read_text(encoding="utf-8").replace("floor_share = 0.0", "floor_share = 1.0"))

    with started(agent_toml, "--until-done", courier=False) as child:
        child.until(Counters, where=lambda said: said.cameras[0].frames == 1)
        waiting = [child.until(Counters, Finished) for _ in range(5)]
        child.take()
        child.until(Finished)
        child.tell(Stop())
        status = child.end()

    assert [type(message) for message in waiting] == [Counters] * 5
    assert status == 0
    assert child.handed


def test_swaps_while_frames_run_miss_no_frame_and_a_broken_one_changes_nothing(
    write_agent: Callable[[str], Path], make_release: MakeRelease
) -> None:
    first, second, broken = make_release(1, task=False), make_release(2), make_release(3)
    task = broken.directory / "task.bin"
    task.write_bytes(task.read_bytes()[:-1] + b"!")

    with started(write_agent(LIVE)) as child:
        child.swap(first)
        swapped = [child.until(Swapped)]
        child.swap(broken)
        refused = child.until(SwapRefused)
        after = child.until(Counters)
        child.swap(second)
        swapped.append(child.until(Swapped))
        seen = swapped[-1].frame + 20
        last = child.until(Counters, where=lambda said: min(c.frame_number for c in said.cameras) > seen)
        child.tell(Stop())
        status = child.end()

    assert [message.release for message in swapped] == ["strip-0001", "strip-0002"]
    assert refused.release == "strip-0003"
    assert "task.bin" in refused.reason
    assert refused.blamed
    assert "\n" not in refused.reason
    assert (after.inspecting, status) == (True, 0)
    for camera in last.cameras:
        assert camera.frames + camera.frames_missed == camera.frame_number + 1
        assert camera.frames_bad == 0
    under = {codec.decode(handed.candidate, Candidate).release for handed in child.handed}
    assert "strip-0003" not in under


def test_a_line_without_a_camera_here_refuses_its_release(
    write_agent: Callable[[str], Path], make_release: MakeRelease, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()

    with started(write_agent(FOLDER)) as child:
        child.swap(make_release(1), line="elsewhere")
        refused = child.until(SwapRefused)
        counters = child.until(Counters)

    assert 'no camera of this node belongs to line "elsewhere"' in refused.reason
    assert counters.inspecting is False
    assert not refused.blamed


def test_a_line_toml_that_was_edited_is_not_blamed_on_the_release(
    write_agent: Callable[[str], Path], make_release: MakeRelease, tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    grid = PatchGrid(tile_px=128, patch_px=32, margin_px=16, cell_px=8)

    with started(write_agent(FOLDER)) as child:
        child.swap(make_release(1, grid=grid))
        refused = child.until(SwapRefused)

    assert "line.toml" in refused.reason
    assert not refused.blamed


@pytest.mark.parametrize(("word", "status"), [(b"", 0), (b"what?\n", 1)])
def test_it_ends_when_the_supervisor_is_gone_or_not_understood(
    write_agent: Callable[[str], Path], word: bytes, status: int
) -> None:
    with started(write_agent(LIVE)) as child:
        child.until(Counters)
        child.stdin.write(word)
        child.stdin.close()

        assert child.end() == status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_ctrl_c_and_the_stop_of_a_service_are_the_supervisors_business(
    write_agent: Callable[[str], Path], number: signal.Signals
) -> None:
    with started(write_agent(LIVE)) as child:
        before = child.until(Counters)
        child.process.send_signal(number)
        after = child.until(Counters, where=lambda said: said.cameras[0].frames > before.cameras[0].frames)
        child.tell(Stop())

        assert after.cameras[0].frames_bad == 0
        assert child.end() == 0


def test_a_configuration_that_cannot_be_ends_it_with_one_line(tmp_path: Path) -> None:
    agent_toml = tmp_path / "agent.toml"
    agent_toml.write_text('node = "press-03"\nsitte = "plant"\n', encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "edge_agent.inspection",
        str(agent_toml),
        "--node",
        "press-03",
        "--boot",
        "0123abcd",
    ]

    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=20)

    assert ended.returncode == os.EX_CONFIG
    assert len(ended.stderr.splitlines()) == 1
    assert "node press-03 inspection: " in ended.stderr
    assert '"sitte" is not a known key' in ended.stderr
    assert ended.stdout == ""
