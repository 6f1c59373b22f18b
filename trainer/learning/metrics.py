"""How well a mask is predicted: confusion counts, intersection over union. Pure numpy.

Pixels of 255 are not supervised and count for nothing. A class that neither the truth nor the prediction
holds has no IoU (nan) and stays out of the mean.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.errors import StateError
from trainer.labelling.masks import IGNORE

Confusion: TypeAlias = NDArray[np.int64]


def confusion(truth: NDArray[np.uint8], predicted: NDArray[np.uint8], *, classes: int) -> Confusion:
    """Count supervised pixels by true class (rows) and predicted class (columns)."""
    supervised = truth != IGNORE
    rows = truth[supervised].astype(np.int64)
    if rows.size and int(rows.max()) >= classes:
        raise StateError(f"mask: value {int(rows.max())}, the line has classes 0 to {classes - 1} and 255")
    counts = np.bincount(rows * classes + predicted[supervised], minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def iou(counts: Confusion) -> NDArray[np.float64]:
    """Return intersection over union by class from ``(k, k)`` or ``(..., k, k)`` counts; nan for absent classes."""
    hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
    union = counts.sum(axis=-1) + counts.sum(axis=-2) - hits
    shares: NDArray[np.float64] = np.divide(hits, union, out=np.full(hits.shape, np.nan), where=union > 0)
    return shares


def miou(counts: Confusion) -> float:
    """Return the mean IoU over the classes that occur; nan when nothing is supervised."""
    per_class = iou(counts)
    present = per_class[~np.isnan(per_class)]
    return float(present.mean()) if present.size else float("nan")
