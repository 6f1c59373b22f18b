"""The simulated line as a camera, and every source of the configuration as one."""

import threading
from pathlib import Path
from typing import get_args

import pytest

from edge_agent.inspection.cameras.build import build_camera, leaving_no_trace
from edge_agent.inspection.cameras.camera import Away, Camera, Frame
from edge_agent.inspection.cameras.pace import Pace
from edge_agent.inspection.cameras.steel_line import SteelLineCamera
from shared.clock import ManualClock
from shared.config import LineConfig, SimulatorTable
from shared.sources import CameraTable, FolderSource, PluginSource, RtspSource, Source, SteelLineSource, VideoSource
from shared.steel_line import DEFECTS, SteelLine
from tests.edge_agent.inspection.footage import write_video
from tests.edge_agent.inspection.pictures import greys, write_image


def steel_camera(clock: ManualClock, *, last_frame: int, frames_per_s: float | None, channels: int = 1) -> Camera:
    line = SteelLine(1, "strip/press-03/left", height_px=64, width_px=64, classes=[DEFECTS[0].name], scale=0.25)
    return SteelLineCamera(
        line,
        SteelLineSource(last_frame=last_frame),
        frames_per_s=frames_per_s,
        channels=channels,
        clock=clock,
    )


def test_a_camera_that_only_looks_moves_nothing(tmp_path: Path, line: LineConfig) -> None:
    write_image(tmp_path / "1.png", 1)
    source = FolderSource(path=".", processed="done", failed="failed")
    table = leaving_no_trace(CameraTable(name="left", line=line.line, source=source))

    camera = build_camera(table, line, node="press-03", base=tmp_path, clock=ManualClock(), until_done=True)

    assert greys(camera.frames(threading.Event())) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["1.png"]


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


def test_a_strip_goes_on_where_an_earlier_process_saw_it_last() -> None:
    line = SteelLine(1, "strip/press-03/left", height_px=64, width_px=64, classes=[DEFECTS[0].name], scale=0.25)
    source = SteelLineSource(first_frame=3, last_frame=9)

    def first_seen(after: int | None) -> int:
        camera = SteelLineCamera(line, source, frames_per_s=None, channels=1, clock=ManualClock(), after=after)
        return next(seen.number for seen in camera.frames(threading.Event()) if isinstance(seen, Frame))

    assert [first_seen(after) for after in (None, -1, 1, 5)] == [3, 3, 3, 6]


def test_every_source_of_the_configuration_becomes_a_camera(tmp_path: Path, line: LineConfig, acme: str) -> None:
    simulated = LineConfig(
        line=line.line,
        classes=line.classes,
        geometry=line.geometry,
        simulator=SimulatorTable(height_px=96, width_px=128, scale=0.25),
    )
    write_image(tmp_path / "1.png", 5)

    write_video(tmp_path / "clip.mp4", [5])
    sources = (
        FolderSource(path=".", pattern="*.png"),
        VideoSource(path="clip.mp4"),
        RtspSource(url="rtsp://127.0.0.1:1/x"),
        SteelLineSource(last_frame=0),
        PluginSource(plugin=acme, settings={"greys": "5"}),
    )
    found = []

    for source in sources:
        table = CameraTable(name="left", line=line.line, source=source)
        camera = build_camera(table, simulated, node="press-03", base=tmp_path, clock=ManualClock(), until_done=True)
        found.append(type(next(iter(camera.frames(threading.Event())))))

    assert {type(source) for source in sources} == {*get_args(Source)}
    assert found == [Frame, Frame, Away, Frame, Frame]
