"""``quality``, the weighting we ship: ``L_ij = q_i exp((S_ij - 1) / tau) q_j`` with ``q = (u + 0.001)^(a / b)``.

Without scores every ``q`` is one: that is the weighting ``diversity``. Given what is labelled the kernel is a Schur
complement in which the weights of the labelled cancel, so their scores are not asked for.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trainer.selection.kernels.kernel import Explaining
from trainer.selection.kernels.similarity import Known, similarity_kernel
from trainer.selection.numbers import Floats, Ints, Vectors

#: Keeps the dullest patch drawable (DESIGN section 4).
QUALITY_FLOOR: Final = 1e-3
_ROWS_AT_ONCE: Final = 4_096
#: Embeddings are hashed in pieces of so many numbers: 32 MB of them.
_HASHED_AT_ONCE: Final = 4_000_000


def quality(scores: Floats, *, a: float, b: float) -> Floats:
    """Weigh scores in [0, 1] as ``(u + 0.001)^(a / b)``: ``a : b`` keeps the paper's meaning, uncertainty against diversity."""
    return (scores + QUALITY_FLOOR) ** (a / b)


@dataclass(frozen=True, slots=True)
class QualityKernel:
    """Similarity weighed by quality.

    Attributes:
        embeddings: ``(n, d)``, rows of length one.
        weights: ``(n,)``, above zero. Only their ratios matter to a draw of fixed size.
        tau: Above zero. A small one makes only near-duplicates repel each other, a large one spreads the batch.
        labelled: ``(m, d)``, rows of length one.
    """

    embeddings: Vectors
    weights: Floats
    tau: float
    labelled: Vectors

    def diagonal(self) -> Floats:
        return self.weights**2

    def among(self, items: Ints) -> Floats:
        return self.across(items, items)

    def across(self, rows: Ints, columns: Ints) -> Floats:
        kernel = similarity_kernel(self.embeddings[rows], self.embeddings[columns], tau=self.tau)
        kernel *= self.weights[rows][:, None]
        kernel *= self.weights[columns][None, :]
        return kernel

    def explained(self, items: Ints, known: Ints) -> Floats:
        return self.explaining(known)(items)

    def explaining(self, known: Ints) -> Explaining:
        apart = Known.of(self.labelled[known], tau=self.tau)

        def explained(items: Ints) -> Floats:
            part = np.empty((len(items), len(known)))
            for start in range(0, len(items), _ROWS_AT_ONCE):
                rows = items[start : start + _ROWS_AT_ONCE]
                part[start : start + len(rows)] = apart.explained(self.embeddings[rows])
            part *= self.weights[items][:, None]
            return part

        return explained

    def rank_bound(self) -> int:
        """Count the different embeddings: twins are one to a determinant."""
        return count_distinct(self.embeddings)


def count_distinct(vectors: Vectors) -> int:
    """Count rows that differ, by hashes of their bytes: sorting a million rows would take minutes.

    Two different rows share a hash with probability ``2^-64``: of ``n`` rows one too few is counted with about
    ``n^2 / 2^65``, which for a million is 3e-8.
    """
    n, d = vectors.shape
    rng = np.random.default_rng(0)
    # Of a sum of products the upper half alone is spread evenly, whatever the rows: two of them make a hash.
    factors = rng.integers(0, 2**64, (d, 2), dtype=np.uint64)
    offsets = rng.integers(0, 2**64, 2, dtype=np.uint64)
    half = np.uint64(32)
    hashes = np.empty(n, dtype=np.uint64)
    step = max(1, _HASHED_AT_ONCE // d)
    for start in range(0, n, step):
        # Added to zero, both zeros are one number.
        words = np.ascontiguousarray(vectors[start : start + step] + np.float32(0.0)).view(np.uint32)
        sums = (words @ factors + offsets) >> half
        hashes[start : start + step] = sums[:, 0] << half | sums[:, 1]
    return len(np.unique(hashes))
