import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_agent.inspection.cameras.build import build_camera
from edge_agent.inspection.cameras.camera import BadFrame, Camera, Frame
from edge_agent.inspection.cameras.folder import FolderCamera
from edge_agent.inspection.cameras.pace import Pace
from edge_agent.inspection.cameras.steel_line import SteelLineCamera
from shared.clock import ManualClock
from shared.config import LineConfig, SimulatorTable
from shared.errors import ConfigError
from shared.images import encode_image
from shared.sources import CameraTable, FolderSource, SteelLineSource
from shared.steel_line import DEFECTS, SteelLine


def write_image(path: Path, grey: int, *, shape: tuple[int, ...] = (20, 30)) -> None:
    path.write_bytes(encode_image(np.full(shape, grey, dtype=np.uint8)))


def folder_camera(
    directory: Path, *, loop: bool = False, until_done: bool = True, channels: int = 1, pattern: str = "*"
) -> FolderCamera:
    source = FolderSource(path=str(directory), loop=loop, pattern=pattern)
    return FolderCamera(
        directory, source, frames_per_s=None, channels=channels, clock=ManualClock(), until_done=until_done
    )


def greys(frames: Iterator[Frame | BadFrame]) -> list[int | str]:
    return [int(frame.image[0, 0, 0]) if isinstance(frame, Frame) else "bad" for frame in frames]


def steel_camera(clock: ManualClock, *, last_frame: int, frames_per_s: float | None, channels: int = 1) -> Camera:
    line = SteelLine(1, "strip/press-03/left", height_px=64, width_px=64, classes=[DEFECTS[0].name], scale=0.25)
    return SteelLineCamera(
        line,
        SteelLineSource(last_frame=last_frame),
        frames_per_s=frames_per_s,
        channels=channels,
        clock=clock,
    )


def test_a_folder_is_read_in_natural_order_and_numbered(tmp_path: Path) -> None:
    for number in (10, 9, 2, 1):
        write_image(tmp_path / f"frame{number}.png", number)

    frames = list(folder_camera(tmp_path).frames(threading.Event()))

    assert greys(iter(frames)) == [1, 2, 9, 10]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]


class Writer(ManualClock):
    """A clock whose every wait lets another program write on."""

    def __init__(self, steps: list[Callable[[], object]]) -> None:
        super().__init__()
        self.steps = steps

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        if self.steps:
            self.steps.pop(0)()
        return super().wait(stop, seconds)


def test_a_file_that_is_still_written_is_left_alone(tmp_path: Path) -> None:
    growing = tmp_path / "b.png"
    writer = Writer([lambda part=part: growing.write_bytes(b"part" * part) for part in range(1, 6)])
    writer.steps.append(lambda: write_image(growing, 2))
    camera = FolderCamera(
        tmp_path, FolderSource(path="."), frames_per_s=None, channels=1, clock=writer, until_done=False
    )

    first = next(camera.frames(threading.Event()))

    assert greys(iter([first])) == [2]
    assert writer.steps == []


def test_a_file_that_is_written_to_again_is_taken_once_when_it_is_whole(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", 1)
    write_image(tmp_path / "b.png", 2)
    frames = folder_camera(tmp_path).frames(threading.Event())
    first = next(frames)

    write_image(tmp_path / "b.png", 3, shape=(40, 40))

    assert greys(iter([first, *frames])) == [1, 3]


def test_a_broken_file_is_one_bad_frame_and_no_more(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    (tmp_path / "2.png").write_bytes(b"not an image")
    whole = encode_image(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    write_image(tmp_path / "4.png", 4)

    frames = list(folder_camera(tmp_path).frames(threading.Event()))

    assert greys(iter(frames)) == [1, "bad", "bad", 4]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert isinstance(frames[1], BadFrame)
    assert "2.png" in frames[1].reason


def test_a_file_that_vanishes_before_it_is_read_is_a_bad_frame(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    write_image(tmp_path / "2.png", 2)
    frames = folder_camera(tmp_path).frames(threading.Event())
    next(frames)

    (tmp_path / "2.png").unlink()

    assert greys(frames) == ["bad"]


def test_a_file_written_anew_is_a_new_frame_and_an_old_one_is_not(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    write_image(tmp_path / "2.png", 2)
    frames = folder_camera(tmp_path, until_done=False).frames(threading.Event())
    before = [next(frames), next(frames)]

    write_image(tmp_path / "1.png", 7)
    os.utime(tmp_path / "1.png", ns=(1, 1))

    assert greys(iter([*before, next(frames)])) == [1, 2, 7]


def test_a_loop_begins_again_and_takes_what_came_meanwhile(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    frames = folder_camera(tmp_path, loop=True).frames(threading.Event())
    first = [next(frames), next(frames)]

    write_image(tmp_path / "2.png", 2)
    later = greys(iter([next(frames) for _ in range(8)]))

    assert greys(iter(first)) == [1, 1]
    assert later.count(2) >= 3


def test_pictures_come_in_the_lines_channels(tmp_path: Path) -> None:
    write_image(tmp_path / "colour.png", 9, shape=(20, 30, 3))
    write_image(tmp_path / "grey.png", 9, shape=(10, 11))

    shapes = {
        channels: [
            frame.image.shape
            for frame in folder_camera(tmp_path, channels=channels).frames(threading.Event())
            if isinstance(frame, Frame)
        ]
        for channels in (1, 3)
    }

    assert shapes == {1: [(20, 30, 1), (10, 11, 1)], 3: [(20, 30, 3), (10, 11, 3)]}


def test_hidden_files_folders_and_other_patterns_are_not_frames(tmp_path: Path) -> None:
    write_image(tmp_path / ".part.png", 1)
    write_image(tmp_path / "a.png", 2)
    (tmp_path / "b.png").mkdir()
    (tmp_path / "notes.txt").write_text("lunch", encoding="utf-8")

    assert greys(folder_camera(tmp_path, pattern="*.png").frames(threading.Event())) == [2]


@pytest.mark.parametrize("pattern", ["", "/etc/*"])
def test_a_pattern_outside_the_folder_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ConfigError, match="pattern"):
        folder_camera(tmp_path, pattern=pattern)


def test_a_folder_that_is_away_for_a_while_is_not_read_twice(tmp_path: Path) -> None:
    images, away = tmp_path / "images", tmp_path / "unmounted"
    images.mkdir()
    write_image(images / "1.png", 1)

    def mounted() -> None:
        away.rename(images)
        write_image(images / "2.png", 2)

    writer = Writer([])
    camera = FolderCamera(
        images, FolderSource(path="images"), frames_per_s=None, channels=1, clock=writer, until_done=False
    )
    frames = camera.frames(threading.Event())
    first = next(frames)

    writer.steps = [lambda: images.rename(away), lambda: None, mounted]
    second = next(frames)

    assert greys(iter([first, second])) == [1, 2]
    assert writer.steps == []


def test_a_missing_folder_ends_a_run_until_done(tmp_path: Path) -> None:
    assert list(folder_camera(tmp_path / "nowhere").frames(threading.Event())) == []


def test_a_stopped_camera_gives_no_more_frames(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    write_image(tmp_path / "2.png", 2)
    stop = threading.Event()
    frames = folder_camera(tmp_path, until_done=False).frames(stop)
    next(frames)

    stop.set()

    assert list(frames) == []


def test_the_simulated_line_is_what_the_oracle_sees() -> None:
    camera = steel_camera(ManualClock(), last_frame=2, frames_per_s=None)
    line = SteelLine(1, "strip/press-03/left", height_px=64, width_px=64, classes=[DEFECTS[0].name], scale=0.25)

    frames = [frame for frame in camera.frames(threading.Event()) if isinstance(frame, Frame)]

    assert [frame.number for frame in frames] == [0, 1, 2]
    assert all((frame.image[..., 0] == line.frame(frame.number).image).all() for frame in frames)


def test_grey_strips_are_given_to_a_colour_line_in_three_channels() -> None:
    camera = steel_camera(ManualClock(), last_frame=0, frames_per_s=None, channels=3)

    (frame,) = camera.frames(threading.Event())

    assert isinstance(frame, Frame)
    assert frame.image.shape == (64, 64, 3)


def test_a_live_line_goes_on_while_the_node_is_busy() -> None:
    clock = ManualClock()
    camera = steel_camera(clock, last_frame=9, frames_per_s=10.0)
    seen = []

    for frame in camera.frames(threading.Event()):
        assert isinstance(frame, Frame)
        seen.append((frame.number, frame.missed))
        if frame.number == 2:
            clock.advance(0.35)
        if frame.number == 7:
            clock.advance(60.0)

    assert seen == [(0, 0), (1, 0), (2, 0), (5, 2), (6, 0), (7, 0), (9, 1)]
    assert len(seen) + sum(missed for _, missed in seen) == 10


def test_a_paced_line_takes_its_time() -> None:
    clock = ManualClock()
    start = clock.monotonic()

    frames = list(steel_camera(clock, last_frame=20, frames_per_s=10.0).frames(threading.Event()))

    assert len(frames) == 21
    assert clock.monotonic() - start == pytest.approx(2.0)


def test_a_source_that_waits_for_us_is_slowed_and_loses_nothing() -> None:
    clock = ManualClock()
    pace = Pace(clock, 10.0)
    start = clock.monotonic()

    for _ in range(5):
        pace.hold(threading.Event())
    clock.advance(10.0)
    pace.hold(threading.Event())
    pace.hold(threading.Event())

    assert clock.monotonic() - start == pytest.approx(0.4 + 10.0 + 0.1)


def test_every_source_of_the_configuration_becomes_a_camera(tmp_path: Path, line: LineConfig) -> None:
    simulated = LineConfig(
        line=line.line,
        classes=line.classes,
        geometry=line.geometry,
        simulator=SimulatorTable(height_px=96, width_px=128, scale=0.25),
    )
    write_image(tmp_path / "1.png", 5)

    for source in (FolderSource(path="."), SteelLineSource(last_frame=0)):
        table = CameraTable(name="left", line=line.line, source=source)
        camera = build_camera(table, simulated, node="press-03", base=tmp_path, clock=ManualClock(), until_done=True)

        assert len(list(camera.frames(threading.Event()))) == 1
