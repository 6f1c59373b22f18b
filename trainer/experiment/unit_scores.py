"""From the pixels of a unit to its score. Pure numpy.

The modules of ``acquisition/aggregation.py`` score the square patches of a node's tile; a unit of an experiment may be
a rectangle of any size. Where both apply they agree.
"""

import numpy as np

from shared.errors import ConfigError
from shared.ways import Aggregation
from trainer.selection.numbers import Floats


def aggregate(
    pixels: Floats,
    aggregation: Aggregation,
    *,
    most: float,
    largest: int,
    cell_px: int,
    top_share: float,
    threshold: float | None,
) -> float:
    """Score one unit from 0 to 1.

    Args:
        pixels: ``(h, w)``, each from 0 to ``most``.
        aggregation: How.
        most: What a pixel's measure reaches.
        largest: The pixels of the largest unit: what ``sum`` is told as a share of.
        cell_px: ``top``'s.
        top_share: ``top``'s.
        threshold: ``count``'s.
    """
    match aggregation:
        case "mean":
            score = float(pixels.mean()) / most
        case "sum":
            score = float(pixels.sum()) / (most * largest)
        case "count":
            if threshold is None:
                raise ConfigError(
                    'acquisition.aggregation "count": no paper counts this measure; set acquisition.threshold'
                )
            if threshold >= most:
                raise ConfigError(
                    f"acquisition.threshold {threshold:.4g}: the measure reaches {most:.4g}, no pixel lies over it; set a lower one"
                )
            score = float((pixels > threshold).mean())
        case "top":
            cells = cell_means(pixels, cell_px).ravel()
            kept = max(1, round(top_share * len(cells)))
            score = float(np.sort(cells)[-kept:].mean()) / most
    # Rounding may leave a hair beyond the ends; nan stays nan and is refused where scores are used.
    return min(max(score, 0.0), 1.0) if score == score else score  # noqa: PLR0124  # nan is not itself


def cell_means(pixels: Floats, cell_px: int) -> Floats:
    """Return the means of a unit's cells, as near to ``cell_px`` a side as equal cells come: a sliver would be all noise."""
    rows, cols = (_edges(side, cell_px) for side in pixels.shape)
    sums = np.add.reduceat(np.add.reduceat(pixels, rows[:-1], axis=0), cols[:-1], axis=1)
    means: Floats = sums / np.outer(np.diff(rows), np.diff(cols))
    return means


def _edges(side_px: int, cell_px: int) -> list[int]:
    cells = max(1, round(side_px / cell_px))
    return [cell * side_px // cells for cell in range(cells + 1)]
