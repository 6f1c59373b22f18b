"""The probes (C7): choices whose outcome is known beforehand, to test the loop with.

Inverse entropy must do worse than random; the most incorrect and an expert's most uncertain show how far truth itself
would lead (Chen, section 3.2: not far). A repeated image, the fourth probe, is a data set's.
"""

from collections.abc import Iterable

import numpy as np

from trainer.labelling.masks import Mask
from trainer.learning.metrics import confusion, miou
from trainer.selection.numbers import Floats
from trainer.selection.problem import Choice, Problem
from trainer.selection.strategies.ranking import ranked


class Inverse:
    """The ``k`` lowest scores: what a good strategy would leave to the last."""

    name = "inverse"

    def choose(self, problem: Problem, k: int, rng: np.random.Generator) -> Choice:
        problem.check_size(k)
        return Choice(ranked(-problem.varied_scores(), rng)[:k])


def incorrectness(pairs: Iterable[tuple[Mask, Mask]], *, classes: int) -> Floats:
    """Score units by one minus the mIoU of their (truth, prediction): with ``top``, the most incorrect come first.

    A unit without supervised pixels scores 0: nobody can say that it is wrong.
    """
    means = np.array([miou(confusion(truth, predicted, classes=classes)) for truth, predicted in pairs])
    return np.asarray(1.0 - np.where(np.isnan(means), 1.0, means), dtype=np.float64)
