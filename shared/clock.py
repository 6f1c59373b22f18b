"""The clock seam: the only place that reads time or sleeps.

Decisions take ``now`` as a number; loops at the edges take a ``Clock``.
"""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time in seconds since the epoch, and waiting."""

    def now(self) -> float:
        """Read the wall clock."""

    def monotonic(self) -> float:
        """Read the clock that never steps back."""

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        """Wait until ``stop`` is set or ``seconds`` have gone, and say whether it was set."""


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        return stop.wait(seconds)


class ManualClock:
    """A clock that moves when told to; waiting moves it and returns at once."""

    def __init__(self, start: float = 1_000_000.0) -> None:
        self._now = start

    def advance(self, seconds: float) -> None:
        """Move time forward."""
        self._now += seconds

    def now(self) -> float:
        return self._now

    def monotonic(self) -> float:
        return self._now

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self._now += seconds
        return stop.is_set()
