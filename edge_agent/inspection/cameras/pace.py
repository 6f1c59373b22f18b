"""Frame rates: when the next frame is due, and how many have gone by."""

import threading

from shared.clock import Clock


class Pace:
    """Keeps a frame rate; without one, every frame is due at once."""

    def __init__(self, clock: Clock, frames_per_s: float | None) -> None:
        self._clock = clock
        self._period_s = None if frames_per_s is None else 1.0 / frames_per_s
        self._due: float | None = None

    def wait(self, stop: threading.Event) -> int:
        """Wait until a frame is due and return how many periods have gone by meanwhile.

        Lateness of up to one period is caught up silently; what is later than that has gone by.
        """
        if self._period_s is None:
            return 0
        now = self._clock.monotonic()
        due = now if self._due is None else self._due
        if now < due:
            self._clock.wait(stop, due - now)
        gone = int(max(0.0, now - due) // self._period_s)
        self._due = due + (gone + 1) * self._period_s
        return gone

    def hold(self, stop: threading.Event) -> None:
        """Wait until a frame is due when the source itself waits for us: nothing goes by."""
        if self._period_s is None:
            return
        now = self._clock.monotonic()
        if self._due is not None and now < self._due:
            self._clock.wait(stop, self._due - now)
        self._due = max(now, self._due or now) + self._period_s
