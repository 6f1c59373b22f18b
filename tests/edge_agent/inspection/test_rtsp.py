"""Network cameras: a real RTSP conversation on loopback, with a camera that does what the test says."""

import subprocess
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from edge_agent.inspection.cameras.camera import Away, Frame, Seen
from edge_agent.inspection.cameras.rtsp import RtspCamera, address
from shared.clock import Clock, ManualClock, SystemClock
from shared.sources import RtspSource
from tests.conftest import MISSING
from tests.edge_agent.inspection.rtsp_server import RtspServer

SECRET = "p:w/ä@"  # noqa: S105  # the test's own camera asks for it
#: Debian's own, which has GStreamer's bindings.
SYSTEM_PYTHON = "/usr/bin/python3"
Serve = Callable[..., RtspServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    servers: list[RtspServer] = []

    def start(**options: object) -> RtspServer:
        servers.append(RtspServer(**options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def rtsp_camera(
    server: RtspServer,
    *,
    clock: Clock | None = None,
    username: str | None = None,
    password: str | None = None,
    channels: int = 1,
    timeout_s: float = 20.0,
    frames_per_s: float | None = None,
    until_done: bool = False,
) -> RtspCamera:
    return RtspCamera(
        RtspSource(url=server.url, username=username, timeout_s=timeout_s),
        password=password,
        frames_per_s=frames_per_s,
        channels=channels,
        clock=clock or ManualClock(),
        until_done=until_done,
    )


def grey(seen: Seen) -> float:
    assert isinstance(seen, Frame), seen
    return round(float(seen.image.mean()), -1)


def first_of(server: RtspServer, frames: Iterator[Seen], *, until: int) -> list[Frame]:
    """Take frames up to the one that shows this grey."""
    taken: list[Frame] = []
    while not taken or grey(taken[-1]) != until:
        seen = next(frames)
        assert isinstance(seen, Frame), (seen, server.asked)
        taken.append(seen)
    return taken


@pytest.mark.parametrize("channels", [1, 3])
def test_a_stream_gives_frames_in_the_lines_channels(serve: Serve, channels: int) -> None:
    server = serve()
    server.show(*[100] * 30)
    clock = ManualClock(start=77.0)
    camera = rtsp_camera(server, channels=channels, clock=clock)
    stop = threading.Event()

    frame = next(frames := camera.frames(stop))
    server.cut()

    assert isinstance(frame, Frame)
    assert frame.image.shape == (48, 64, channels)
    assert (grey(frame), frame.captured_at) == (100, 77.0)
    stop.set()
    assert list(frames) == []


def test_the_newest_frame_is_taken_and_those_that_went_by_are_counted(serve: Serve) -> None:
    server = serve()
    server.show(*[50] * 40, 200)
    frames = rtsp_camera(server, until_done=True).frames(threading.Event())
    taken = first_of(server, frames, until=200)

    # The node is busy while the camera goes on.
    server.show(*[60] * 25, 150)
    server.cut()
    rest = [seen for seen in frames if isinstance(seen, Frame)]

    both = taken + rest
    assert grey(both[-1]) == 150
    # Each picture of the camera was either taken or counted as gone by, and numbered as the camera would.
    assert len(both) + sum(frame.missed for frame in both) == 41 + 26 == both[-1].number + 1
    assert all(later.number == earlier.number + later.missed + 1 for earlier, later in pairwise(both))


class Waits(ManualClock):
    """Notes how long each wait is, and lets the camera come back after the fourth."""

    def __init__(self, back: Callable[[], object]) -> None:
        super().__init__()
        self.waited: list[float] = []
        self._back = back

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.waited.append(seconds)
        if len(self.waited) == 4:
            self._back()
        return super().wait(stop, seconds)


def test_a_camera_that_is_lost_is_looked_for_ever_less_often_until_it_is_back(serve: Serve) -> None:
    server = serve()
    server.show(*[100] * 30)
    server.cut()
    clock = Waits(lambda: server.show(*[180] * 40))
    for _ in range(3):
        # It answers and has nothing to give.
        server.cut()
    frames = rtsp_camera(server, clock=clock).frames(threading.Event())

    seen = [next(frames)]
    while grey_or_away(seen[-1]) != 180:
        seen.append(next(frames))

    away = [entry for entry in seen if isinstance(entry, Away)]
    assert len(away) == 4
    assert all(entry.reason.startswith(server.url) for entry in away)
    assert clock.waited == sorted(clock.waited)
    assert clock.waited == [pytest.approx(2.0**n, rel=0.26) for n in range(4)]
    numbers = [entry.number for entry in seen if isinstance(entry, Frame)]
    assert numbers == sorted(set(numbers))


def grey_or_away(seen: Seen) -> float | None:
    return grey(seen) if isinstance(seen, Frame) else None


def test_a_password_opens_the_camera_and_is_never_said(serve: Serve) -> None:
    server, other = serve(user="us er", password=SECRET), serve(user="us er", password=SECRET)
    server.show(*[100] * 30)
    server.cut()

    seen = next(rtsp_camera(server, username="us er", password=SECRET).frames(threading.Event()))
    refused = next(rtsp_camera(other, username="us er", password=SECRET + "x").frames(threading.Event()))

    assert grey(seen) == 100
    assert isinstance(refused, Away)
    assert refused.reason == f"{other.url}: server returned 401 Unauthorized (authorization failed)"


def test_a_camera_that_says_nothing_is_away_within_its_time(serve: Serve) -> None:
    server = serve(silent=True)

    seen = next(rtsp_camera(server, clock=SystemClock(), timeout_s=0.3).frames(threading.Event()))

    assert isinstance(seen, Away)
    assert seen.reason == f"{server.url}: no answer within 0.3 s"


def test_a_stream_that_falls_silent_is_away(serve: Serve) -> None:
    server = serve()
    server.show(*[100] * 30)
    frames = rtsp_camera(server, timeout_s=0.5).frames(threading.Event())

    seen = next(entry for entry in frames if not isinstance(entry, Frame))

    assert isinstance(seen, Away)
    assert seen.reason == f"{server.url}: no answer in time"


def test_nobody_at_the_address_is_away_with_the_reason() -> None:
    camera = RtspCamera(
        RtspSource(url="rtsp://127.0.0.1:1/x?user=admin&password=geheim", username="root"),
        password=SECRET,
        frames_per_s=None,
        channels=1,
        clock=ManualClock(),
        until_done=False,
    )

    seen = next(camera.frames(threading.Event()))

    assert seen == Away("rtsp://127.0.0.1:1/x?user=admin&password=***: connection refused")


@pytest.fixture
def gstreamer() -> Iterator[int]:
    """A server that is not of our making; its port."""
    program = Path(__file__).with_name("gst_server.py")
    probe = "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer"
    if subprocess.run(["/usr/bin/env", "-i", SYSTEM_PYTHON, "-c", probe], capture_output=True, check=False).returncode:
        pytest.skip(f"{MISSING}GStreamer's RTSP server (gir1.2-gst-rtsp-server-1.0, python3-gi)")
    words = [SYSTEM_PYTHON, str(program), "winnow", SECRET]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    port = process.stdout.readline().strip()
    try:
        if not port:
            pytest.skip(f"{MISSING}GStreamer's RTSP server with JPEG (gstreamer1.0-plugins-good)")
        yield int(port)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_a_server_that_is_not_ours_is_read_with_its_password(gstreamer: int, transport: str) -> None:
    url = f"rtsp://127.0.0.1:{gstreamer}/line"
    source = RtspSource(url=url, username="winnow", transport=transport, timeout_s=20.0)
    clock = SystemClock()
    camera = RtspCamera(source, password=SECRET, frames_per_s=None, channels=3, clock=clock, until_done=False)
    frames = camera.frames(threading.Event())

    seen = [next(frames) for _ in range(3)]
    frames.close()

    assert [entry.image.shape for entry in seen if isinstance(entry, Frame)] == [(240, 320, 3)] * 3


def test_credentials_stand_in_the_address_whatever_they_are_made_of() -> None:
    assert address("rtsp://cam:554/a", "a@b", "p:w/ ") == "rtsp://a%40b:p%3Aw%2F%20@cam:554/a"
    assert address("rtsp://cam/a", "root", None) == "rtsp://root@cam/a"
    assert address("rtsp://cam/a", None, None) == "rtsp://cam/a"
