"""The time of a graph: both in turns, the median, the first runs not counted."""

import threading

import numpy as np

from shared.clock import ManualClock
from trainer.release.latency import REPEATS, WARM_UP, Latency, measure

TILE = np.zeros((1, 32, 32, 1), dtype=np.uint8)


class Graph:
    """A graph that takes a known time for each run."""

    def __init__(self, clock: ManualClock, name: str, ran: list[str], times_ms: list[float]) -> None:
        self._clock, self._name, self._ran, self._times = clock, name, ran, iter(times_ms)

    def __call__(self, tile: object) -> None:
        assert tile is TILE
        self._ran.append(self._name)
        self._clock.wait(threading.Event(), next(self._times) / 1000)


def test_both_graphs_run_in_turns_and_the_median_after_the_warm_up_counts() -> None:
    clock, ran = ManualClock(), list[str]()
    # A first run that plans its memory, and one in which the machine did something else.
    new = Graph(clock, "new", ran, [900.0, 900.0, *[20.0] * (REPEATS - 1), 700.0])
    old = Graph(clock, "old", ran, [900.0, 900.0, *[30.0] * REPEATS])

    found = measure(new, old, TILE, clock=clock, provider="cpu", threads=2)

    assert ran == ["new", "old"] * (WARM_UP + REPEATS)
    assert (round(found.ms, 6), round(found.before_ms or 0, 6)) == (20.0, 30.0)
    assert str(found) == "a tile takes 20.0 ms on cpu with 2 threads, the release in service 30.0 ms"


def test_without_a_release_in_service_one_graph_runs_alone() -> None:
    clock, ran = ManualClock(), list[str]()

    found = measure(Graph(clock, "new", ran, [5.0] * 9), None, TILE, clock=clock, provider="cpu", threads=1, repeats=7)

    assert ran == ["new"] * 9
    assert found == Latency(found.ms, None, "cpu", 1)
    assert round(found.ms, 6) == 5.0
