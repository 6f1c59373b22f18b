"""What a camera may still send, and how fast things pass.

Time comes in as an argument: the same calls always give the same answers. A clock that steps back mints
nothing.
"""

import math
from typing import Final, Self

from shared.config import BudgetTable

_HOUR_S: Final = 3600.0
#: A rate is what was seen lately: older counts weigh less by 1/e per minute.
_MEMORY_S: Final = 60.0
#: A rate's first reading has no elapsed time to divide by.
_FIRST_S: Final = 0.1


class Bucket:
    """A token bucket that starts full and may be overdrawn by what is only known afterwards."""

    def __init__(self, *, per_hour: float, burst: float) -> None:
        self.burst = burst
        self.tokens = burst
        self.per_s = per_hour / _HOUR_S
        self._seen_at: float | None = None

    def refill(self, now: float) -> None:
        """Add what has come in since the last call, up to the burst."""
        if self._seen_at is not None:
            self.tokens = min(self.burst, self.tokens + max(0.0, now - self._seen_at) * self.per_s)
        self._seen_at = now

    def recall(self, tokens: float, elapsed_s: float) -> None:
        """Go on with what was left some seconds ago."""
        self.tokens = min(self.burst, tokens + elapsed_s * self.per_s)

    @property
    def fill(self) -> float:
        """How full it is, in [0, 1]."""
        return max(0.0, self.tokens / self.burst)


class Budget:
    """Patches, and where the line asks for it bytes, that may still be sent.

    A patch's bytes are known after it was accepted, so bytes are charged afterwards and the next patch waits
    until the debt is paid.
    """

    def __init__(self, *, patches_per_hour: float, burst: float, bytes_per_hour: float | None = None) -> None:
        self._patches = Bucket(per_hour=patches_per_hour, burst=burst)
        self._bytes: Bucket | None = None
        self._mean_bytes = 1.0
        if bytes_per_hour is not None:
            self._mean_bytes = bytes_per_hour / patches_per_hour
            self._bytes = Bucket(per_hour=bytes_per_hour, burst=burst * self._mean_bytes)

    @classmethod
    def share(cls, table: BudgetTable, share: float) -> Self | None:
        """Cut a part out of a line's budget; None when nothing is left of it."""
        if share <= 0.0:
            return None
        return cls(
            patches_per_hour=table.patches_per_hour * share,
            burst=max(1.0, table.burst * share),
            bytes_per_hour=None if table.bytes_per_hour is None else table.bytes_per_hour * share,
        )

    @property
    def tokens(self) -> tuple[float, float]:
        """What is left, in patches and bytes, for a later start to go on from."""
        return self._patches.tokens, 0.0 if self._bytes is None else self._bytes.tokens

    def recall(self, tokens: tuple[float, float], elapsed_s: float) -> None:
        """Go on with what an earlier start had left: a start mints nothing."""
        self._patches.recall(tokens[0], elapsed_s)
        if self._bytes is not None:
            self._bytes.recall(tokens[1], elapsed_s)

    def refill(self, now: float) -> None:
        """Add what has come in since the last call."""
        self._patches.refill(now)
        if self._bytes is not None:
            self._bytes.refill(now)

    @property
    def affordable(self) -> int:
        """How many patches may be sent now."""
        if self._bytes is None:
            return max(0, math.floor(self._patches.tokens))
        by_bytes = math.ceil(self._bytes.tokens / self._mean_bytes)
        return max(0, min(math.floor(self._patches.tokens), by_bytes))

    @property
    def fill(self) -> float:
        """How full the emptier bucket is, in [0, 1]."""
        return self._patches.fill if self._bytes is None else min(self._patches.fill, self._bytes.fill)

    @property
    def per_s(self) -> float:
        """How many patches a second come in."""
        pace = self._patches.per_s
        return pace if self._bytes is None else min(pace, self._bytes.per_s / self._mean_bytes)

    def spend(self) -> None:
        """Take one patch."""
        self._patches.tokens -= 1.0

    def charge(self, size: int) -> None:
        """Take the bytes of a patch that was sent."""
        if self._bytes is not None:
            self._bytes.tokens -= size
            self._mean_bytes += 0.05 * (size - self._mean_bytes)


class Rate:
    """How many things a second come by, lately."""

    def __init__(self) -> None:
        self._count = 0.0
        self._seconds = 0.0
        self._seen_at: float | None = None

    def note(self, now: float, count: int) -> None:
        """Count what came by since the last call."""
        elapsed = 0.0 if self._seen_at is None else max(0.0, now - self._seen_at)
        decay = math.exp(-elapsed / _MEMORY_S)
        self._count = self._count * decay + count
        self._seconds = self._seconds * decay + _MEMORY_S * (1.0 - decay)
        self._seen_at = now

    @property
    def per_s(self) -> float:
        """The rate; high rather than low while little is known."""
        return self._count / max(self._seconds, _FIRST_S)
