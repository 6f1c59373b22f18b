"""What every stage works with: the pool, the line, a voice, a way to stop, and randomness that can be repeated."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from shared.clock import Clock
from shared.config import LineConfig
from shared.console import Console, Step
from shared.identity import sha256_hex
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pool
from trainer.rounds.wish import open_wish

#: How often a stage that waits looks at the pool.
POLL_S: Final = 0.5


class StoppedError(Exception):
    """The worker was told to end; what is not committed is done again at the next start."""


class AskedError(Exception):
    """A person asked for what comes before the stage that waits; the stage is begun again after it."""


@dataclass(frozen=True, slots=True)
class Workbench:
    """One line's stages share it; one thread uses it."""

    pool: Pool
    line: LineConfig
    paths: TrainerPaths
    clock: Clock
    console: Console
    stop: threading.Event

    @property
    def space_folder(self) -> Path:
        """Where the line's space lies."""
        return self.paths.spaces / self.line.line

    def seed(self, number: int, purpose: str) -> int:
        """Return the seed of one piece of work: the same after every restart, another one for every purpose."""
        words = f"{self.line.rounds.seed}/{self.line.line}/{number}/{purpose}"
        return int(sha256_hex(words.encode())[:15], 16)

    def rng(self, number: int, purpose: str) -> np.random.Generator:
        """Return the random generator of one piece of work."""
        return np.random.default_rng(self.seed(number, purpose))

    def event(self, name: str, text: str, **fields: object) -> None:
        """Tell one event of the line."""
        self.console.event(name, text, line=self.line.line, **fields)

    @contextmanager
    def progress(self, work: str, number: int) -> Iterator[Step]:
        """Show long work that ends in the middle when the worker is told to stop."""
        with self.console.progress(work, line=self.line.line, round=number) as step:

            def watched(done: int, total: int) -> None:
                self.check()
                step(done, total)

            yield watched

    def check(self) -> None:
        """Leave the stage if the worker was told to stop."""
        if self.stop.is_set():
            raise StoppedError

    def wait(self) -> None:
        """Let a moment pass before looking at the pool again."""
        if self.clock.wait(self.stop, POLL_S):
            raise StoppedError
        if open_wish(self.pool, self.line.line) is not None:
            raise AskedError
