"""The score gate and the floor lottery: which patches are looked at more closely, and which go in any case.

The gate ranks a score among the latest ones, so that it needs no threshold that a new model would move. The
lottery looks at nothing but the budget and the rate of patches, so that what it takes is a uniform sample of
what the camera sees.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_agent.stream.budget import Budget, Rate

Mask = NDArray[np.bool_]
Floats = NDArray[np.float64]

#: The latest scores or gains that a new one is ranked among.
WINDOW: Final = 2048


class Latest:
    """The latest values, and the level that a share of them reaches."""

    def __init__(self) -> None:
        self._values = np.zeros(WINDOW)
        self._next = 0
        self._size = 0

    @property
    def values(self) -> Floats:
        """What is kept, in no order."""
        return self._values[: self._size]

    def add(self, values: Floats) -> None:
        """Note values; the oldest make way."""
        fresh = values[-WINDOW:]
        at = (self._next + np.arange(len(fresh))) % WINDOW
        self._values[at] = fresh
        self._next = (self._next + len(fresh)) % WINDOW
        self._size = min(WINDOW, self._size + len(fresh))

    def level(self, share: float) -> float:
        """Return the lowest value within the top ``share``, at least the highest value there is."""
        kept = self.values
        rank = min(max(1, math.ceil(share * len(kept))), len(kept))
        return float(np.partition(kept, len(kept) - rank)[len(kept) - rank])


class ScoreGate:
    """Lets the top ``share`` of scores pass."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._latest = Latest()

    def passes(self, scores: Floats, rng: np.random.Generator) -> Mask:
        """Say which of a frame's scores pass; of those equal to the level, as many by lot as the share leaves."""
        self._latest.add(scores)
        kept = self._latest.values
        level = self._latest.level(self._share)
        above, equal = int((kept > level).sum()), int((kept == level).sum())
        luck = (self._share * len(kept) - above) / equal
        drawn: Mask = (scores > level) | ((scores == level) & (rng.random(len(scores)) < luck))
        return drawn


class FloorLottery:
    """Takes patches at random, each with the same chance, as many as its budgets allow."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._rate = Rate()

    def draw(self, now: float, count: int, budgets: Sequence[Budget]) -> Mask:
        """Say which of a frame's patches win, and spend what they cost."""
        self._rate.note(now, count)
        # The refill rate when half full, four times it when full: a burst is spread over many frames.
        chance = sum(budget.per_s * (2.0 * budget.fill) ** 2 for budget in budgets) / self._rate.per_s
        winners = np.flatnonzero(self._rng.random(count) < chance)
        affordable = sum(budget.affordable for budget in budgets)
        if len(winners) > affordable:
            # Taking the first ones would favour the frame's upper rows.
            winners = self._rng.choice(winners, affordable, replace=False)
        for _ in range(len(winners)):
            max(budgets, key=lambda budget: budget.affordable).spend()
        won = np.zeros(count, dtype=np.bool_)
        won[winners] = True
        return won
