"""Kernels over embeddings: which patches repel each other, and how strongly.

``S`` is the cosine similarity of unit vectors. A linear cosine kernel has at most the rank of the embedding and
cannot carry a batch larger than that; ``exp((S - 1) / tau)`` has full rank.
"""

from typing import Final, TypeAlias

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.intp]

#: Keeps the dullest patch drawable (DESIGN section 4).
QUALITY_FLOOR: Final = 1e-3
#: Twins among the labelled would make their kernel singular.
NUGGET: Final = 1e-6
_TAU_RANGE: Final = (1e-3, 10.0)
_PAIRS: Final = 200_000
_ROWS_AT_ONCE: Final = 1024


def similarity_kernel(rows: Floats, columns: Floats, *, tau: float) -> Floats:
    """Turn cosines into ``exp((S - 1) / tau)``, ``(n, m)`` from ``(n, d)`` and ``(m, d)``."""
    kernel = rows @ columns.T
    kernel -= 1.0
    kernel /= tau
    return np.exp(kernel, out=kernel)


def quality(scores: Floats, *, a: float, b: float) -> Floats:
    """Weigh scores in [0, 1] as ``(u + 0.001)^(a / b)``: ``a : b`` keeps the paper's meaning, uncertainty against diversity."""
    return (scores + QUALITY_FLOOR) ** (a / b)


def quality_kernel(embeddings: Floats, weights: Floats, *, tau: float, labelled: Floats | None = None) -> Floats:
    """Weigh similarity by quality, ``L_ij = q_i exp((S_ij - 1) / tau) q_j``, conditioned on what is labelled.

    A draw given that all of ``labelled`` were drawn before follows the Schur complement of the joint kernel. The
    weights of the labelled cancel in it, so none are asked for.

    Args:
        embeddings: ``(n, d)``, rows of length one.
        weights: ``(n,)``, above zero.
        tau: Above zero.
        labelled: ``(m, d)``, rows of length one.

    Returns:
        ``(n, n)``, symmetric, positive semi-definite.
    """
    kernel = similarity_kernel(embeddings, embeddings, tau=tau)
    if labelled is not None and len(labelled):
        root = _whitened(embeddings, labelled, tau=tau)
        kernel -= root @ root.T
    # Only ratios of weights matter to a draw of fixed size: the largest becomes 1 so that no product overflows.
    weights = weights / weights.max()
    kernel *= weights[:, None]
    kernel *= weights[None, :]
    return kernel


def novelty(embeddings: Floats, labelled: Floats, *, tau: float) -> Floats:
    """Say how little of each patch the labelled ones explain: ``1 - k^T K^-1 k``, ``(n,)`` in [0, 1]."""
    if not len(labelled):
        return np.ones(len(embeddings))
    parts = [
        _whitened(embeddings[start : start + _ROWS_AT_ONCE], labelled, tau=tau)
        for start in range(0, len(embeddings), _ROWS_AT_ONCE)
    ]
    explained = np.concatenate([np.einsum("ij,ij->i", part, part) for part in parts])
    return np.clip(1.0 - explained, 0.0, 1.0)


def participation_rank(cosines: Floats, n: int, *, tau: float) -> float:
    """Estimate ``(tr K)^2 / |K|_F^2``, how many patches the kernel can tell apart, from the cosines of random pairs."""
    off_diagonal = float(np.mean(np.exp(2.0 * (cosines - 1.0) / tau)))
    return n / (1.0 + (n - 1) * off_diagonal)


def choose_tau(embeddings: Floats, k: int, rng: np.random.Generator) -> float:
    """Choose the temperature at which the kernel tells about ``min(2k, n / 2)`` of the patches apart.

    There a batch of ``k`` spreads best (research: numerical rank about 2k); smaller and only twins repel each other.
    """
    n = len(embeddings)
    if n < 3:
        return _TAU_RANGE[1]
    first = rng.integers(0, n, _PAIRS)
    second = (first + rng.integers(1, n, _PAIRS)) % n
    cosines = np.concatenate(
        [
            np.einsum("ij,ij->i", embeddings[first[start : start + 10_000]], embeddings[second[start : start + 10_000]])
            for start in range(0, _PAIRS, 10_000)
        ]
    ).astype(np.float64)
    wanted = min(2.0 * k, n / 2)
    low, high = np.log(_TAU_RANGE[0]), np.log(_TAU_RANGE[1])
    for _ in range(50):
        middle = (low + high) / 2
        if participation_rank(cosines, n, tau=float(np.exp(middle))) > wanted:
            low = middle
        else:
            high = middle
    return float(np.exp((low + high) / 2))


def _whitened(embeddings: Floats, labelled: Floats, *, tau: float) -> Floats:
    """Return ``W`` of ``(n, m)`` with ``W W^T`` = what the labelled explain of the patches' kernel."""
    among = similarity_kernel(labelled, labelled, tau=tau)
    among[np.diag_indices_from(among)] += NUGGET
    factor = scipy.linalg.cholesky(among, lower=True, overwrite_a=True, check_finite=False)
    across = similarity_kernel(labelled, embeddings, tau=tau)
    solved: Floats = scipy.linalg.solve_triangular(factor, across, lower=True, overwrite_b=True, check_finite=False)
    return solved.T
