"""Video files as cameras."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av.error
import pytest

from edge_agent.inspection.cameras.camera import Away, Frame, Seen
from edge_agent.inspection.cameras.footage import Footage
from edge_agent.inspection.cameras.video import VideoCamera
from shared.clock import ManualClock
from shared.errors import LinkError
from shared.sources import VideoSource
from tests.edge_agent.inspection.footage import write_video


def video_camera(
    path: Path,
    *,
    clock: ManualClock | None = None,
    loop: bool = False,
    until_done: bool = True,
    channels: int = 1,
    frames_per_s: float | None = None,
) -> VideoCamera:
    source = VideoSource(path=str(path), loop=loop)
    clock = clock or ManualClock()
    return VideoCamera(path, source, frames_per_s=frames_per_s, channels=channels, clock=clock, until_done=until_done)


def greys(seen: Iterator[Seen]) -> list[int | str]:
    return [round(float(s.image.mean()), -1) if isinstance(s, Frame) else type(s).__name__ for s in seen]


def test_a_pipe_where_a_clip_should_be_is_away_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "clip.mp4")

    seen = list(video_camera(tmp_path / "clip.mp4").frames(threading.Event()))

    assert seen == [Away(f"{tmp_path}/clip.mp4: not a regular file")]


@pytest.mark.parametrize("codec", ["mpeg4", "libx264", "mjpeg"])
def test_a_clip_gives_each_of_its_frames_once_and_in_order(tmp_path: Path, codec: str) -> None:
    path = tmp_path / "clip.mkv"
    write_video(path, [20, 90, 40, 200], codec=codec)
    os.utime(path, (5000.0, 5000.0))

    frames = list(video_camera(path).frames(threading.Event()))

    assert greys(iter(frames)) == [20, 90, 40, 200]
    assert [frame.number for frame in frames if isinstance(frame, Frame)] == [0, 1, 2, 3]
    assert [frame.captured_at for frame in frames if isinstance(frame, Frame)] == pytest.approx(
        [5000, 5000.1, 5000.2, 5000.3]
    )


def test_a_clip_comes_in_the_lines_channels(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", [50])

    shapes = [next(video_camera(tmp_path / "clip.mp4", channels=n).frames(threading.Event())) for n in (1, 3)]

    assert [seen.image.shape for seen in shapes if isinstance(seen, Frame)] == [(48, 64, 1), (48, 64, 3)]


def test_a_clip_is_played_again_and_numbered_on_when_it_loops(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", [20, 90])
    frames = video_camera(tmp_path / "clip.mp4", loop=True).frames(threading.Event())

    seen = [next(frames) for _ in range(5)]

    assert greys(iter(seen)) == [20, 90, 20, 90, 20]
    assert [frame.number for frame in seen if isinstance(frame, Frame)] == [0, 1, 2, 3, 4]


def test_a_clip_is_slowed_to_the_pace_and_loses_nothing(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", [20] * 5)
    clock = ManualClock()
    start = clock.monotonic()

    frames = list(video_camera(tmp_path / "clip.mp4", clock=clock, frames_per_s=2.0).frames(threading.Event()))

    assert len(frames) == 5
    assert clock.monotonic() - start == pytest.approx(2.0)


@pytest.mark.parametrize("content", [None, b"", b"nonsense" * 50])
def test_a_clip_that_cannot_be_opened_is_away_with_its_reason(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "clip.mp4"
    if content is not None:
        path.write_bytes(content)

    seen = list(video_camera(path).frames(threading.Event()))

    assert [type(entry) for entry in seen] == [Away]
    assert str(seen[0].reason).startswith(f"{path}: ")
    assert "\n" not in seen[0].reason


def test_a_clip_that_is_cut_off_is_played_as_far_as_it_goes(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.mkv", tmp_path / "cut.mkv"
    write_video(whole, range(0, 250, 5), codec="mjpeg")
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])

    seen = list(video_camera(cut).frames(threading.Event()))

    frames = [entry for entry in seen if isinstance(entry, Frame)]
    assert 10 <= len(frames) < 50


def test_a_running_node_waits_for_a_clip_that_is_not_there_yet(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"

    class Arrival(ManualClock):
        def wait(self, stop: threading.Event, seconds: float) -> bool:
            write_video(path, [70])
            return super().wait(stop, seconds)

    seen = list(video_camera(path, clock=Arrival(), until_done=False).frames(threading.Event()))

    assert greys(iter(seen)) == ["Away", 70]


def test_a_playlist_cannot_send_the_node_into_the_network(tmp_path: Path) -> None:
    path = tmp_path / "clip.m3u8"
    path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n")

    seen = list(video_camera(path).frames(threading.Event()))

    assert [type(entry) for entry in seen] == [Away]


def test_a_stopped_clip_gives_no_more_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", [20, 90])
    stop = threading.Event()
    frames = video_camera(tmp_path / "clip.mp4", loop=True, until_done=False).frames(stop)
    next(frames)

    stop.set()

    assert list(frames) == []


@pytest.mark.parametrize("fault", [av.error.ExternalError(1, "cannot convert"), ValueError("no such format")])
def test_a_picture_that_cannot_be_converted_is_the_source_breaking_off(fault: Exception) -> None:
    class Torn:
        time, width, height = 0.0, 8, 8

        def to_ndarray(self, **_: str) -> None:
            raise fault

    packet = SimpleNamespace(decode=lambda: [Torn()])
    container: Any = SimpleNamespace(streams=SimpleNamespace(video=["the stream"]), demux=lambda _: iter([packet]))

    with pytest.raises(LinkError, match="clip: "):
        next(Footage(container, what="clip", channels=1).pictures())
