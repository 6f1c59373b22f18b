"""What the few reference patches allow to say: measures on resampled reference sets. Pure.

Patches are resampled, not pixels: pixels of one patch are no independent witnesses. Everything is a sum over patches, so a
product with the counts of a draw measures it.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from trainer.learning.calibration import Reliability
from trainer.learning.metrics import Confusion, iou
from trainer.release.bounds import ClassBounds

RESAMPLES: Final = 1000
#: How often a bound may lie on the wrong side of what it bounds.
WRONG: Final = 0.05
#: Below this many patches the percentiles that are needed lie outside of what is drawn.
FEWEST: Final = 4

Draws = NDArray[np.int64]


def draw(n: int, rng: np.random.Generator) -> Draws:
    """Draw how often each of ``n`` patches stands in each of ``RESAMPLES`` resampled sets: ``(RESAMPLES, n)``."""
    return rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) if n else np.zeros((RESAMPLES, 0), dtype=np.int64)


def worse_share(new: Confusion, old: Confusion, draws: Draws) -> float:
    """Return the share of resampled reference sets on which ``new`` has the lower mIoU.

    Paired: both are measured on the same resampled patches. A tie counts half.
    """
    if not len(new):
        return 0.5
    values = []
    for counts in (new, old):
        per_class = iou((draws @ counts.reshape(len(counts), -1)).reshape(len(draws), *counts.shape[1:]))
        known = ~np.isnan(per_class)
        present = known.sum(axis=1)
        total = np.where(known, per_class, 0.0).sum(axis=1)
        values.append(np.divide(total, present, out=np.zeros(len(draws)), where=present > 0))
    return float((values[0] < values[1]).mean() + 0.5 * (values[0] == values[1]).mean())


def class_bounds(counts: Confusion, draws: Draws) -> tuple[ClassBounds, ...]:
    """Bound every class's IoU, from confusion matrices ``(n, k, k)``.

    The percentiles are those of Hesterberg's expanded interval (The American Statistician 69, 2015): those of
    the plain one are as narrow as if the spread of few patches were known, and refuse too often.
    """
    hits = np.diagonal(counts, axis1=1, axis2=2)
    union = counts.sum(axis=2) + counts.sum(axis=1) - hits
    values = iou(counts.sum(axis=0))
    held = (counts.sum(axis=2) > 0).sum(axis=0)
    found = []
    for index, (patches, value) in enumerate(zip(held.tolist(), values.tolist(), strict=True)):
        known = None if np.isnan(value) else float(value)
        if known is None or patches < FEWEST:
            found.append(ClassBounds(patches, known))
            continue
        below = (draws @ union[:, index]).astype(np.float64)
        seen = below > 0
        shares = (draws @ hits[:, index])[seen] / below[seen]
        low, high = np.quantile(shares, [expanded(patches), 1 - expanded(patches)])
        if low == high:
            # Patches that are all alike have no spread to resample. Of a class that is found or missed whole, so many
            # alike in a row still allow this much of the other.
            low, high = min(low, WRONG ** (1 / patches)), max(high, 1 - WRONG ** (1 / patches))
        # The value lies between its bounds, however lopsided a draw is.
        found.append(ClassBounds(patches, known, min(float(low), known), max(float(high), known)))
    return tuple(found)


def expanded(patches: int) -> float:
    """Return the percentile to take of so many patches' resampled values for a bound that is wrong ``WRONG`` of the time."""
    t = stats.t.ppf(WRONG, patches - 1) * np.sqrt(patches / (patches - 1))
    return float(stats.norm.cdf(t))


def surest_error(by_patch: tuple[Reliability, ...], draws: Draws) -> float:
    """Return what the calibration error is at least, but for a chance of ``WRONG``; 0 for fewer than ``FEWEST`` patches.

    The error is a sum of distances, so noise only ever adds to it: a calibrated model has one as well. By the triangle
    inequality the true one is at least the one found less how far resampled bins lie from those found.
    """
    pixels = np.array([one.counts.sum() for one in by_patch], dtype=np.float64)
    patches = int((pixels > 0).sum())
    if patches < FEWEST:
        return 0.0
    off = np.stack([one.right - one.confidence for one in by_patch])
    found = off.sum(axis=0) / pixels.sum()
    drawn = draws @ pixels
    resampled = (draws @ off)[drawn > 0] / drawn[drawn > 0, None]
    away = np.abs(resampled - found).sum(axis=1)
    return max(0.0, float(np.abs(found).sum() - np.quantile(away, 1 - expanded(patches))))
