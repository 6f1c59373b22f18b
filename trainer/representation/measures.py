"""Measures of embeddings: how many directions they use, and whether neighbours belong together. Pure numpy.

Rows are vectors ``(n, d)``; the neighbour measures take rows of length one and go by cosine.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
#: Rows compared at once: the comparison is never n x n.
_AT_ONCE: Final = 1024


def effective_rank(embeddings: Floats) -> float:
    """Return exp of the entropy of the normalised singular values of centred embeddings (Roy & Vetterli 2007)."""
    values = _singular_values(embeddings)
    shares = values[values > 1e-12] / max(float(values.sum()), 1e-12)
    return float(np.exp(-(shares * np.log(shares)).sum()))


def participation_ratio(embeddings: Floats) -> float:
    """Return ``(sum v)^2 / sum v^2`` of the variances ``v`` along the main directions; 0 when nothing varies."""
    variances = _singular_values(embeddings) ** 2
    return float(variances.sum() ** 2 / max(float((variances**2).sum()), 1e-300))


def twin_share(embeddings: Floats, twins: Floats) -> float:
    """Return the share of rows of ``twins`` whose nearest row of ``embeddings`` is the one with their own index."""
    nearest = [(part @ embeddings.T).argmax(axis=1) for part in _parts(twins)]
    return float((np.concatenate(nearest) == np.arange(len(embeddings))).mean())


def nearest_neighbours(embeddings: Floats) -> NDArray[np.intp]:
    """Return for each row the index of the nearest other row."""
    return neighbours(embeddings, 1)[0][:, 0]


def neighbours(embeddings: Floats, count: int) -> tuple[NDArray[np.intp], Floats]:
    """Return for each row the ``count`` nearest other rows, the nearest first, and their cosines."""
    found, cosines = [], []
    for place, part in enumerate(_parts(embeddings)):
        likeness = part @ embeddings.T
        own = np.arange(len(part))
        likeness[own, place * _AT_ONCE + own] = -np.inf
        # A stable order: of equal ones the first.
        nearest = np.argsort(-likeness, axis=1, kind="stable")[:, :count]
        found.append(nearest)
        cosines.append(np.take_along_axis(likeness, nearest, axis=1))
    return np.concatenate(found), np.concatenate(cosines)


def class_share(embeddings: Floats, classes: NDArray[np.intp]) -> float:
    """Return the share of rows whose nearest other row is of their class."""
    return float((classes[nearest_neighbours(embeddings)] == classes).mean())


def class_chance(classes: NDArray[np.intp]) -> float:
    """Return what :func:`class_share` is on average for neighbours by lot: ``sum n_c (n_c - 1) / (n (n - 1))``."""
    counts = np.unique(classes, return_counts=True)[1].astype(np.float64)
    n = len(classes)
    return float((counts * (counts - 1)).sum() / (n * (n - 1)))


def _singular_values(embeddings: Floats) -> NDArray[np.float64]:
    centred = embeddings - embeddings.mean(axis=0)
    return np.linalg.svd(centred, compute_uv=False).astype(np.float64)


def _parts(rows: Floats) -> list[Floats]:
    return [rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE)]
