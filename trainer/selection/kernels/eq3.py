"""``eq3-distance``, the paper's Eq. 3 read as the distance it is argued to be, and a diagnosis of Eq. 3 as it is written.

The paper wants uncertain patches further apart, so that more of them are drawn, and writes ``a max(u_i, u_j) + b S_ij``
where the draw takes a similarity. As a distance it is ``D_ij = a max(u_i, u_j) + b (1 - S_ij)``, ``D_ii = 0``, and

    ``L = 1 - D = (1 - a - b) + a min(1 - u_i, 1 - u_j) + b S_ij + a u_i [i = j]``

is a sum of positive semi-definite parts for ``u`` in [0, 1] and ``a + b <= 1``. Uncertain twins count as far apart: this
weighting does not keep them from being drawn together.
"""

from dataclasses import dataclass
from typing import Final, NoReturn, Self

import numpy as np

from trainer.selection.kernels.kernel import Explaining
from trainer.selection.kernels.similarity import unit
from trainer.selection.numbers import Floats, Ints, Vectors
from trainer.selection.pinned import one_thread
from trainer.selection.problem import SelectionError

#: Each level of certainty costs a column; 32 leave a fifteenth of the scores' range, and of the pool, between two of them.
LEVELS: Final = 32
_DIAGNOSED: Final = 2_000
_ROUNDING: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Eq3DistanceKernel:
    """``1 - D``, piece by piece.

    Attributes:
        embeddings: ``(n, d)``, rows of length one.
        scores: ``(n,)`` in [0, 1].
        a: What uncertainty weighs; ``a + b`` is at most one.
        b: What unlikeness weighs.
    """

    embeddings: Vectors
    scores: Floats
    a: float
    b: float

    def __post_init__(self) -> None:
        _check_weights(a=self.a, b=self.b)
        _check_scores(self.scores)

    @property
    def labelled(self) -> Vectors:
        """None: given labelled patches this kernel is not of the same form, ``quality`` is the one to condition."""
        return self.embeddings[:0]

    def diagonal(self) -> Floats:
        return np.ones(len(self.scores))

    def among(self, items: Ints) -> Floats:
        return self.across(items, items)

    def across(self, rows: Ints, columns: Ints) -> Floats:
        kernel: Floats = unit(self.embeddings[rows]) @ unit(self.embeddings[columns]).T
        kernel *= self.b
        certain = np.minimum(1.0 - self.scores[rows][:, None], 1.0 - self.scores[columns][None, :])
        certain *= self.a
        kernel += certain
        kernel += max(0.0, 1.0 - self.a - self.b)
        # A patch is at no distance from itself, whatever its score.
        kernel[rows[:, None] == columns[None, :]] = 1.0
        return kernel

    def explained(self, items: Ints, known: Ints) -> Floats:
        return self.explaining(known)(items)

    def explaining(self, known: Ints) -> Explaining:
        del known
        return lambda items: np.empty((len(items), 0))

    def rank_bound(self) -> int:
        """Count the uncertain patches, and of the certain ones as many as their features can tell apart."""
        uncertain = int(np.count_nonzero(self.a * self.scores))
        columns = (self.embeddings.shape[1] if self.b > 0 else 0) + 1
        return uncertain + min(len(self.scores) - uncertain, columns)


@dataclass(frozen=True, slots=True)
class Eq3DistanceForm:
    """The same kernel with few columns: certainties ``1 - u`` rounded down to levels, what that takes off in the nuggets.

    The diagonal is the kernel's; off it no entry is above the kernel's, nor below it by more than a fifteenth of ``a``.
    With no more different scores than levels it is the kernel.

    Attributes:
        embeddings: ``(n, d)``, rows of length one.
        reached: ``(n,)``, how many levels each patch's certainty reaches.
        heights: ``(l,)``, the squared weight of each level's column; the constant part of the kernel is in the first.
        extra: ``(n,)``, the nuggets.
        b: What unlikeness weighs.
    """

    embeddings: Vectors
    reached: Ints
    heights: Floats
    extra: Floats
    b: float

    @classmethod
    def of(cls, embeddings: Vectors, scores: Floats, *, a: float, b: float) -> Self:
        """Round certainties down to at most ``LEVELS`` of them, the pool's lowest and highest included."""
        _check_weights(a=a, b=b)
        _check_scores(scores)
        certain = 1.0 - scores
        steps, counts = np.unique(certain, return_counts=True)
        if len(steps) > LEVELS:
            steps = _spaced(steps, counts)
        reached = np.searchsorted(steps, certain, side="right")
        heights = a * np.diff(steps, prepend=0.0)
        heights[0] += max(0.0, 1.0 - a - b)
        extra = a * scores + a * (certain - steps[reached - 1])
        return cls(embeddings, reached, heights, extra, b)

    @property
    def rank(self) -> int:
        return int(self.embeddings.shape[1]) + len(self.heights)

    def features(self, items: Ints | slice) -> Floats:
        return self._columns(self.embeddings[items], self.reached[items])

    def nuggets(self) -> Floats:
        return self.extra

    def certain(self, vectors: Vectors) -> Floats:
        """Return the rows of ``B`` that labelled patches would have, ``(m, rank)``: nothing is more certain than a label."""
        return self._columns(vectors, np.full(len(vectors), len(self.heights)))

    def _columns(self, vectors: Vectors, reached: Ints) -> Floats:
        rows = np.empty((len(vectors), self.rank))
        d = vectors.shape[1]
        np.multiply(unit(vectors), np.sqrt(self.b), out=rows[:, :d])
        np.multiply(reached[:, None] > np.arange(len(self.heights)), np.sqrt(self.heights), out=rows[:, d:])
        return rows


@dataclass(frozen=True, slots=True)
class LiteralReport:
    """What Eq. 3 as written is on some patches: a kernel to draw from has no negative eigenvalue."""

    patches: int
    negative: int
    smallest: float
    largest: float


def literal(embeddings: Vectors | Floats, scores: Floats, *, a: float, b: float) -> Floats:
    """Write Eq. 3 out as it stands, ``a max(u_i, u_j) + b S_ij``, ``(n, n)``."""
    exact = unit(embeddings)
    return a * np.maximum(scores[:, None], scores[None, :]) + b * (exact @ exact.T)


def diagnose_literal(
    embeddings: Vectors, scores: Floats, *, a: float, b: float, rng: np.random.Generator
) -> LiteralReport:
    """Count the negative eigenvalues of Eq. 3 as written, on at most 2,000 patches taken by lot."""
    n = len(scores)
    chosen = np.arange(n) if n <= _DIAGNOSED else np.sort(rng.choice(n, _DIAGNOSED, replace=False))
    with one_thread():
        values = np.linalg.eigvalsh(literal(embeddings[chosen], scores[chosen], a=a, b=b))
    noise = len(values) * np.finfo(np.float64).eps * float(np.abs(values).max())
    return LiteralReport(
        patches=len(chosen),
        negative=int(np.count_nonzero(values < -noise)),
        smallest=float(values[0]),
        largest=float(values[-1]),
    )


def refuse_literal(report: LiteralReport) -> NoReturn:
    """Say why nothing is drawn from Eq. 3 as written."""
    raise SelectionError(
        f"eq3-literal: {report.negative} of {report.patches} eigenvalues are below zero "
        f"(from {report.smallest:.3g} to {report.largest:.3g}), a draw needs none; "
        'nothing was chosen, weighting = "eq3-distance" is what the paper means'
    )


def _spaced(steps: Floats, counts: Ints) -> Floats:
    """Choose levels from different certainties in ascending order, of which so many patches each have one.

    Levels stand at equal distances in the mean of share of the pool and share of the range. Quantiles alone would round
    a few certain patches among many uncertain ones down to these.
    """
    below = np.cumsum(counts) - counts
    places = (below / below[-1] + (steps - steps[0]) / (steps[-1] - steps[0])) / 2.0
    # The lowest is always chosen, so that every patch reaches a level.
    chosen = np.searchsorted(places, np.linspace(0.0, 1.0, LEVELS))
    order = np.arange(LEVELS)
    # Where several fall on one certainty, those next to it are levels too.
    chosen = np.maximum.accumulate(chosen - order) + order
    return steps[np.minimum(chosen, len(steps) - LEVELS + order)]


def _check_weights(*, a: float, b: float) -> None:
    if not (a >= 0.0 and b >= 0.0 and a + b <= 1.0 + _ROUNDING and a + b > 0.0):
        raise SelectionError(
            f"eq3-distance: a = {a:g} and b = {b:g}, none below 0 and a sum above 0 and at most 1 were expected; "
            "nothing was chosen"
        )


def _check_scores(scores: Floats) -> None:
    bad = np.flatnonzero(~((scores >= 0.0) & (scores <= 1.0)))
    if len(bad):
        raise SelectionError(
            f"eq3-distance: patch {bad[0]} has score {scores[bad[0]]:g}, a number from 0 to 1 was expected; "
            "nothing was chosen"
        )
