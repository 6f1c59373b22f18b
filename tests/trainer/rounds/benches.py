"""Workbenches on a line that held its rounds."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from shared.clock import ManualClock
from shared.console import Console
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pool
from trainer.rounds.workbench import Workbench


@contextmanager
def opened(
    site: Any, clock: ManualClock | None = None, stop: threading.Event | None = None, kind: type[Pool] = Pool
) -> Iterator[Workbench]:
    with kind.open(site.directory) as pool:
        yield Workbench(
            pool,
            site.line,
            TrainerPaths(site.directory),
            clock or ManualClock(),
            Console(as_json=True),
            stop or threading.Event(),
        )


def state(site: Any) -> tuple[object, ...]:
    with Pool.open(site.directory) as pool:
        return pool.counts("steel"), pool.rounds("steel"), pool.tasks("steel")
