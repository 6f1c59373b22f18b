"""Latency: how long a task graph takes for one tile, beside the graph in service.

Both run in turns on the same tile, so that whatever else the machine does slows both; medians, because it slows few runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final

from shared.clock import Clock
from shared.geometry import Image

#: The first run of a session plans its memory.
WARM_UP: Final = 2
REPEATS: Final = 15

#: One run of a graph.
Runner = Callable[[Image], object]


@dataclass(frozen=True, slots=True)
class Latency:
    """The median time for one tile, in milliseconds.

    Attributes:
        ms: Of the run that is judged.
        before_ms: Of the release in service, in the same minute; None without one.
        provider: What it ran on.
        threads: How many CPU threads.
    """

    ms: float
    before_ms: float | None
    provider: str
    threads: int

    def __str__(self) -> str:
        beside = "" if self.before_ms is None else f", the release in service {self.before_ms:.1f} ms"
        return f"a tile takes {self.ms:.1f} ms on {self.provider} with {self.threads} threads{beside}"


def measure(
    new: Runner, old: Runner | None, tile: Image, *, clock: Clock, provider: str, threads: int, repeats: int = REPEATS
) -> Latency:
    """Time both graphs in turns on one tile ``(1, tile, tile, c)``."""
    runners = [new] if old is None else [new, old]
    times: list[list[float]] = [[] for _ in runners]
    for number in range(WARM_UP + repeats):
        for runner, taken in zip(runners, times, strict=True):
            began = clock.monotonic()
            runner(tile)
            if number >= WARM_UP:
                taken.append(clock.monotonic() - began)
    of = [1000 * median(taken) for taken in times]
    return Latency(of[0], of[1] if old is not None else None, provider, threads)
