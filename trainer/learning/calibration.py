"""Whether probabilities mean what they say: the expected calibration error, and the temperature that mends it. Pure numpy.

Of pixels predicted with 80 % confidence, 80 % should be right. Pixels of 255 count for nothing. A temperature divides all
logits alike, so no prediction changes, only how sure it is (Guo et al. 2017).

How well a temperature does is told by pixels that it was not fitted on: the images are cut into folds, and those of each
are judged under a temperature fitted on the others.
"""

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from shared.errors import StateError
from trainer.labelling.masks import IGNORE

BINS: Final = 15
#: Where a temperature is looked for. A model that is right everywhere would like zero, and be unsure of nothing: no
#: patch would be worth more than another.
COLDEST: Final = 0.25
HOTTEST: Final = 20.0
FOLDS: Final = 5

Floats = NDArray[np.float32] | NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Pixels by confidence: how many, how sure, how many right. Adds up, so pixels may come a few images at a time."""

    counts: NDArray[np.int64]
    right: NDArray[np.int64]
    #: Sums of confidences.
    confidence: NDArray[np.float64]

    @classmethod
    def of(cls, probabilities: Floats, truth: NDArray[np.uint8], *, bins: int = BINS) -> Self:
        """Count supervised pixels.

        Args:
            probabilities: ``(n, k, h, w)``.
            truth: ``(n, h, w)`` class values, 255 where nothing is known.
            bins: Equal shares of 0 to 1; the last holds 1 itself.
        """
        supervised = truth != IGNORE
        sure = probabilities.max(axis=1)[supervised].astype(np.float64)
        if not np.isfinite(sure).all():
            raise StateError(
                f"calibration: {int((~np.isfinite(sure)).sum())} probabilities are no numbers; none is counted"
            )
        hits = probabilities.argmax(axis=1)[supervised] == truth[supervised]
        index = np.minimum((sure * bins).astype(np.int64), bins - 1)
        return cls(
            np.bincount(index, minlength=bins),
            np.bincount(index[hits], minlength=bins),
            np.bincount(index, weights=sure, minlength=bins).astype(np.float64),
        )

    @classmethod
    def none(cls, *, bins: int = BINS) -> Self:
        """Count no pixel: where a sum begins."""
        return cls(np.zeros(bins, np.int64), np.zeros(bins, np.int64), np.zeros(bins))

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(self.counts + other.counts, self.right + other.right, self.confidence + other.confidence)

    @property
    def ece(self) -> float:
        """The expected calibration error: how far confidence is from accuracy, by bin, weighed by pixels; nan without any."""
        total = int(self.counts.sum())
        return float(np.abs(self.right - self.confidence).sum() / total) if total else math.nan


@dataclass(frozen=True, slots=True)
class Calibration:
    """A temperature, and how far confidence is from accuracy on pixels that it was not fitted on."""

    temperature: float
    #: The expected calibration error under a temperature of 1, and under those of the folds; None without a pixel.
    ece_before: float | None
    ece: float | None
    pixels: int
    #: Why the temperature is 1; None where one was fitted.
    why: str | None = None


def cross_fitted(logits: Floats, truth: NDArray[np.uint8], folds: NDArray[np.intp]) -> Calibration:
    """Fit a temperature on all pixels, and tell how well such temperatures do on pixels they were not fitted on.

    It is taken only where they make the true classes likelier there: a few patches can lead a fit astray.

    Args:
        logits: ``(n, k)`` of supervised pixels, before any temperature.
        truth: ``(n,)``.
        folds: ``(n,)``, which fold each pixel is in; pixels of one image are in one.
    """
    before = _reliability(logits, truth).ece if len(truth) else None
    known = np.unique(folds)
    if len(known) < 2:
        return Calibration(
            1.0,
            before,
            before,
            len(truth),
            f"{len(known)} reference patches with labels, a temperature needs 2; it stays 1",
        )
    scaled = np.empty(logits.shape)
    for fold in known:
        inside = folds == fold
        scaled[inside] = logits[inside] / best_temperature(logits[~inside], truth[~inside])
    if negative_log_likelihood(scaled, truth, temperature=1.0) >= negative_log_likelihood(
        logits, truth, temperature=1.0
    ):
        return Calibration(
            1.0,
            before,
            before,
            len(truth),
            "no temperature makes labels likelier that it was not fitted on; it stays 1",
        )
    return Calibration(best_temperature(logits, truth), before, _reliability(scaled, truth).ece, len(truth))


def _reliability(logits: Floats, truth: NDArray[np.uint8]) -> Reliability:
    """Count pixels ``(n, k)`` by how sure their softmax is."""
    shares = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    shares /= shares.sum(axis=1, keepdims=True)
    return Reliability.of(shares[:, :, None, None], truth[:, None, None])


def negative_log_likelihood(logits: Floats, truth: NDArray[np.uint8], *, temperature: float) -> float:
    """Return the mean over pixels of ``-log p`` of the true class: logits ``(n, k)``, classes ``(n,)``."""
    scaled = _above_true(logits, truth) / temperature
    return float(np.logaddexp.reduce(scaled, axis=1).mean())


def best_temperature(logits: Floats, truth: NDArray[np.uint8]) -> float:
    """Return the temperature under which the true classes are likeliest, within ``COLDEST`` and ``HOTTEST``.

    In ``s = 1 / T`` the likelihood's logarithm is concave: its slope falls through zero once.

    Args:
        logits: ``(n, k)`` of supervised pixels, before any temperature.
        truth: ``(n,)``.
    """
    if not len(truth):
        raise StateError("calibration: no supervised pixel to fit a temperature on; label reference patches first")
    if not np.isfinite(logits).all():
        raise StateError("calibration: logits that are no numbers; the temperature stays as it was")
    above = _above_true(logits, truth)

    def slope(sharpness: float) -> float:
        scaled = above * sharpness
        weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return float(((weights * above).sum(axis=1) / weights.sum(axis=1)).mean())

    if slope(1 / COLDEST) <= 0:
        return COLDEST
    if slope(1 / HOTTEST) >= 0:
        return HOTTEST
    return 1.0 / float(brentq(slope, 1 / HOTTEST, 1 / COLDEST, xtol=1e-9))


def _above_true(logits: Floats, truth: NDArray[np.uint8]) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    difference: NDArray[np.float64] = wide - wide[np.arange(len(truth)), truth][:, None]
    return difference
