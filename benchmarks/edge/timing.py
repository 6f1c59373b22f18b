"""Processor time of one thread, in turns, so that whatever else the machine does slows all alike."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import numpy as np

from edge_agent.inspection.runtime import Graph
from shared.config import RuntimeTable
from shared.geometry import Image

ONE_THREAD = RuntimeTable(provider="cpu", threads=1)


def open_on_cpu(data: bytes, what: str) -> Graph:
    """Open a graph as a node does, on one thread."""
    return Graph(data, ONE_THREAD, what=what)


def paired(runs: Mapping[str, Callable[[], object]], *, repeats: int) -> dict[str, list[float]]:
    """Run each in turn and return their processor times, once they are warm."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(repeats + 1):
        for name, run in runs.items():
            began = time.process_time()
            run()
            if number:
                taken[name].append(time.process_time() - began)
    return taken


def ratio(taken: Mapping[str, list[float]], above: str, below: str) -> float:
    """Return the median of the ratios of neighbouring runs."""
    return median(a / b for a, b in zip(taken[above], taken[below], strict=True))


def all_outputs(graph: Graph, tile: Image) -> list[np.ndarray[Any, Any]]:
    """Run a tile through a session and take everything that leaves it."""
    found: list[np.ndarray[Any, Any]] = graph._session.run(None, {"tiles": tile})  # noqa: SLF001  # timed bare
    return found
