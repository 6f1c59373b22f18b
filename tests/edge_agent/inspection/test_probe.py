"""A look through one camera."""

import threading
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from edge_agent.inspection.cameras.camera import Away, BadFrame, Frame, Seen
from edge_agent.inspection.cameras.probe import probe
from shared.clock import ManualClock, SystemClock
from shared.errors import ConfigError


class Watched(ManualClock):
    """A clock whose watchdog waits for the real end: nothing runs out unless the test lets it."""

    def wait(self, stop: threading.Event, seconds: float) -> bool:  # noqa: ARG002  # the clock's own words
        return stop.wait(20.0)


class Reel:
    """Gives what it was given, a fifth of a second apart, and notes that it was let go."""

    def __init__(self, seen: Sequence[Seen], clock: ManualClock) -> None:
        self._seen = seen
        self._clock = clock
        self.closed = False

    def frames(self, stop: threading.Event) -> Iterator[Seen]:  # noqa: ARG002  # the camera's own words
        try:
            for entry in self._seen:
                self._clock.advance(0.2)
                yield entry
        finally:
            self.closed = True


class Silent:
    """Gives nothing until it is told to stop."""

    def frames(self, stop: threading.Event) -> Iterator[Seen]:
        stop.wait(20.0)
        yield from ()


class Stuck:
    """Blocks in its source, whatever it is told."""

    def __init__(self) -> None:
        self.source = threading.Event()
        self.went_on = False

    def frames(self, stop: threading.Event) -> Iterator[Seen]:  # noqa: ARG002  # the camera's own words
        self.source.wait(5.0)
        self.went_on = True
        yield from ()


class Broken:
    """Raises what is nobody's source being away."""

    def frames(self, stop: threading.Event) -> Iterator[Seen]:  # noqa: ARG002  # the camera's own words
        yield from ()
        raise ConfigError("agent.toml: cannot be")


def frame(number: int) -> Frame:
    return Frame(number, 0.0, np.zeros((30, 40, 1), dtype=np.uint8), ids={"lot": "7"})


def test_a_camera_that_answers_says_its_size_and_rate() -> None:
    clock = Watched()
    reel = Reel([frame(n) for n in range(50)], clock)

    found = probe(reel, clock, frames=11, within_s=5.0)

    assert (found.reachable, found.frames, found.bad, found.size) == (True, 11, 0, (30, 40))
    assert found.frames_per_s is not None
    assert abs(found.frames_per_s - 5.0) < 1e-6
    assert found.ids == (("lot", "7"),)
    assert reel.closed


def test_a_camera_that_gives_nothing_says_why() -> None:
    clock = Watched()

    away = probe(Reel([Away("rtsp://cam: connection refused")], clock), clock, frames=5, within_s=5.0)
    bad = probe(Reel([BadFrame(0, "1.png: not an image")] * 9, clock), clock, frames=5, within_s=5.0)

    assert (away.reachable, away.reason) == (False, "rtsp://cam: connection refused")
    assert (bad.reachable, bad.bad, bad.reason) == (False, 5, "1.png: not an image")


def test_a_camera_that_says_nothing_is_left_after_its_time() -> None:
    found = probe(Silent(), SystemClock(), frames=5, within_s=0.05)

    assert (found.reachable, found.reason) == (False, "no frame within 0.05 s")


def test_a_camera_that_blocks_in_its_source_is_left_behind() -> None:
    stuck = Stuck()

    found = probe(stuck, ManualClock(), frames=5, within_s=3.0)

    assert (found.reachable, found.reason) == (False, "no frame within 3 s")
    assert not stuck.went_on
    stuck.source.set()


def test_an_error_of_a_camera_reaches_who_looks_through_it() -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        probe(Broken(), Watched(), frames=5, within_s=3.0)


def test_frames_that_were_ready_do_not_count_for_the_rate() -> None:
    """Ten frames at once, then five a second."""
    clock = Watched()

    class Buffered(Reel):
        def frames(self, stop: threading.Event) -> Iterator[Seen]:  # noqa: ARG002  # the camera's own words
            for number, entry in enumerate(self._seen):
                if number >= 10:
                    self._clock.advance(0.2)
                yield entry

    found = probe(Buffered([frame(n) for n in range(50)], clock), clock, frames=40, within_s=5.0)

    assert found.frames_per_s is not None
    assert abs(found.frames_per_s - 5.0) < 1e-6
