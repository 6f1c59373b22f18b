"""Opening the workbench of a line: one holder per line, and no more threads than the line allows."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import torch

from shared.clock import Clock, SystemClock
from shared.console import Console
from trainer.acquisition.line import check_acquisition
from trainer.paths import load, pick_line
from trainer.pool.pool import Pool
from trainer.rounds.workbench import Workbench


@contextmanager
def open_workbench(
    site: Path, line: str | None, *, clock: Clock, console: Console, stop: threading.Event
) -> Iterator[Workbench]:
    """Claim a line's rounds and open what their stages work with."""
    _, lines, paths = load(site)
    chosen = pick_line(lines, line)
    paths.make()
    check_acquisition(chosen)
    if chosen.learning.threads:
        torch.set_num_threads(chosen.learning.threads)
    with paths.claim(f"rounds-{chosen.line}"), Pool.open(paths.directory, clock=clock) as pool:
        yield Workbench(pool, chosen, paths, clock, console, stop)


def working(site: Path, line: str | None, console: Console) -> AbstractContextManager[Workbench]:
    """Open the workbench of a command in the foreground; Ctrl-C ends it anywhere, the next one goes on."""
    return open_workbench(site, line, clock=SystemClock(), console=console, stop=threading.Event())
