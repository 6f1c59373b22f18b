"""The log of a training, for machines: JSON lines of loss, learning rate, and what was judged, by step.

It is written whole from where the training stands, so one that was killed and went on has one log without a gap. A log
that cannot be written ends no training.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from shared.config import LearningTable
from shared.errors import InputError
from shared.files import read_bounded, write_durably
from trainer.learning.checkpoints import Judgement
from trainer.learning.schedule import rate
from trainer.learning.state import Training

LOG_NAME: Final = "training.jsonl"
#: How many losses a log has at most, each the mean of as many steps.
POINTS: Final = 200
_LIMIT: Final = 64 << 20


class Line(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line: a mean loss up to a step, or a judgement after it."""

    step: int
    loss: float | None = None
    learning_rate: float | None = None
    judged: Judgement | None = None


class TrainingLog:
    """Where a training writes its log; without a path it writes none."""

    def __init__(self, path: Path | None, settings: LearningTable) -> None:
        self.warnings: tuple[str, ...] = ()
        self._path = path
        self._settings = settings

    def write(self, training: Training) -> None:
        """Write the log up to where the training stands."""
        if self._path is None:
            return
        lines = sorted([*_losses(training, self._settings), *_judged(training)], key=lambda line: line.step)
        try:
            write_durably(self._path, b"".join(msgspec.json.encode(line) + b"\n" for line in lines))
        except OSError as error:
            self.warnings = (f"{self._path}: {error.strerror}; the training goes on, its log is not complete",)


def read_log(path: Path) -> list[Line]:
    """Read a log."""
    try:
        return [msgspec.json.decode(line, type=Line) for line in read_bounded(path, limit=_LIMIT).splitlines()]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; it is not the log of a training") from None


def _losses(training: Training, settings: LearningTable) -> Iterator[Line]:
    if not training.steps:
        return
    values = training.losses.cpu().numpy()
    steps = np.array(training.steps)
    # Steps that were skipped have no loss; a span of skipped ones has no line.
    spans = (steps - 1) // -(-settings.steps // POINTS)
    for inside in (spans == number for number in np.unique(spans)):
        last = int(steps[inside][-1])
        yield Line(
            step=last,
            loss=float(values[inside].mean()),
            learning_rate=settings.learning_rate * rate(last - 1, settings.steps),
        )


def _judged(training: Training) -> Iterator[Line]:
    return (Line(step=step, judged=judgement) for step, judgement in training.judged)
