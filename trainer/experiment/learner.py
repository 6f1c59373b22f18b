"""What a study asks of a learner, whatever the data set's task is.

A study walks rounds: which units are labelled, fit, score the rest, choose, reveal, fit again. It knows units by
number only, from 0 to ``Ground.count - 1``, all of them of the training split: boxes of images for segmentation,
whole images for classification. What lies behind a number is the learner's affair, and so is the truth.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from shared.console import Step
from trainer.experiment.clicks import Filled
from trainer.experiment.datasets.dataset import Split
from trainer.experiment.recipe import Arm
from trainer.selection.numbers import Floats, Ints, Vectors

#: Asked now and then during long work; True ends it with a :class:`Stopped`.
Stop = Callable[[], bool]


class Stopped(Exception):  # noqa: N818  # nothing is wrong, somebody asked for it
    """A training was ended before it was done; what it learned is of no use."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """The units whose labels are known, in the order they were chosen, and in which round they are learned from."""

    units: Sequence[int]
    round: int


@dataclass(frozen=True, slots=True)
class Measured:
    """How good a model is on a split: the mean, and the value of each class.

    ``value`` is the mean IoU or the accuracy, a fraction. ``per_class`` follows the data set's classes: IoU, or the
    accuracy within the class; None for a class that does not occur.
    """

    value: float
    per_class: tuple[float | None, ...]


class Fitted(Protocol):
    """A model, or a committee, that has learned from some labels."""

    def scores(self, units: Sequence[int], *, step: Step) -> Floats:
        """Return ``(n,)`` in [0, 1]: how unsure the model is of each unit, in the order asked."""

    def mistakes(self, units: Sequence[int], *, step: Step) -> Floats:
        """Return ``(n,)`` in [0, 1]: how wrong the model is of each unit by its truth; for probes, which may look."""

    def measure(self, split: Split, *, step: Step) -> Measured:
        """Measure the model on a split; ``train`` is refused."""


class Learner(Protocol):
    """A way to learn from labelled units; always from scratch, so that a round can be held again."""

    def fit(
        self, labelled: Labelled, *, seed: int, step: Step, stop: Stop | None = None, keep: Path | None = None
    ) -> Fitted:
        """Learn from some units; the same units and seed give the same model on the same machine class.

        What is learned on the way is kept in the folder ``keep``, where the training can be gone on with.
        """


class Embedder(Protocol):
    """Where embeddings come from; they stay fixed over the rounds of a study."""

    @property
    def key(self) -> tuple[object, ...]:
        """All of its own that decides the rows, as JSON can tell it."""

    def embed(
        self, units: Sequence[int], *, start: tuple[int, ...], seed: int, step: Step, keep: Path | None = None
    ) -> Vectors:
        """Return unit rows ``(n, d)`` for some units, in the order asked; only labels of ``start`` may be seen.

        A long training is kept in the folder ``keep``, where it can be gone on with.
        """


class Clicked(Protocol):
    """Units that are labelled by clicks: a batch is filled to a budget of them, by lot or by score."""

    def start(self, clicks: int, rng: np.random.Generator) -> Filled:
        """Choose by lot, before there is a model."""

    def choose(
        self, arm: Arm, fitted: Fitted, known: Ints, clicks: int, *, rng: np.random.Generator, step: Step
    ) -> Filled:
        """Choose among the units that are not known, as the arm says."""


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What one seed of a study stands on.

    Attributes:
        classes: Their names, by value.
        count: How many units the training split has.
        measured: The split that results are told of.
        pixels: Says how many pixels labelling some units costs.
        learner: Makes the learner of an arm, by the arm's name.
        embedder: Makes the embedder of an arm, by the arm's name.
        truth: The hash of what is learned and measured: masks or classes, in their splits.
        clicked: Where a label is a click: what fills a batch. Elsewhere a batch is a count of units.
        begin: Where models begin with something that is learned first: learns it once, and keeps it in a folder on the way.
    """

    classes: tuple[str, ...]
    count: int
    measured: Split
    pixels: Callable[[Sequence[int]], int]
    learner: Callable[[str], Learner]
    embedder: Callable[[str], Embedder]
    truth: str
    clicked: Clicked | None = None
    begin: Callable[[Step, Path | None], None] | None = None


def part_of(step: Step, *, number: int, parts: int) -> Step:
    """Tell the progress of one of several equal pieces of work as that of the whole."""
    return lambda done, total: step(number * total + done, parts * total)
