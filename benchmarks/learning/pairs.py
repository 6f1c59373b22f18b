"""Two ways to do the same, in turns: the ratio of their times is the median over pairs."""

import time
from collections.abc import Callable
from statistics import median

import torch


def clock() -> float:
    """Read the time of what works: the processor's on a CPU, which other processes do not lengthen."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def seconds(work: Callable[[], object]) -> float:
    """Time one piece of work."""
    began = clock()
    work()
    return clock() - began


def in_turns(ours: Callable[[], object], bare: Callable[[], object], *, pairs: int) -> tuple[float, float, float]:
    """Return the median ratio of ours to bare, and both medians in seconds; who is first changes with each pair."""
    ours()
    bare()
    ratios, mine, theirs = [], [], []
    for number in range(pairs):
        if number % 2:
            second = seconds(bare)
            first = seconds(ours)
        else:
            first = seconds(ours)
            second = seconds(bare)
        ratios.append(first / second)
        mine.append(first)
        theirs.append(second)
    return median(ratios), median(mine), median(theirs)
