"""The numbers of a learning curve: area, labels needed, spread over seeds. Pure numpy.

A curve is the labels known after each round and the value (mIoU or accuracy, a fraction) measured there; between
rounds it is a straight line. The normalised forms are those of the Waterloo thesis: its tables 2.1 and 2.2 follow
from each other with the first cycle's mIoU as 0 and the fully supervised one as 1, areas over labelled images.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError

Floats: TypeAlias = NDArray[np.float64]

#: Shares of the supervised ceiling at which the labels needed are told.
CEILING_SHARES: Final = (0.90, 0.95, 0.98)
_DRAWS: Final = 10_000


def alc(labels: Sequence[float], values: Sequence[float]) -> float:
    """Return the area under a learning curve by trapezoids: labels times value (C4)."""
    x, y = _curve(labels, values)
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum())


def normalised(values: Sequence[float], *, start: float, ceiling: float) -> Floats:
    """Scale values so that ``start`` is 0 and ``ceiling`` is 1 (the thesis' figure 2.6)."""
    if not np.isfinite([start, ceiling]).all() or ceiling <= start:
        raise InputError(f"curve: starts at {start}, its supervised ceiling is {ceiling}; the ceiling must be higher")
    scaled: Floats = (np.asarray(values, dtype=np.float64) - start) / (ceiling - start)
    return scaled


def normalised_alc(
    labels: Sequence[float], values: Sequence[float], *, ceiling: float, start: float | None = None
) -> float:
    """Return the area under the normalised curve, in labels (the thesis' table 2.2).

    Args:
        labels: After each round, rising.
        values: Measured there.
        ceiling: The value with everything labelled; of crops, with every crop.
        start: The value of the first round that all rivals share; the curve's own by default.
    """
    _, y = _curve(labels, values)
    return alc(labels, list(normalised(values, start=float(y[0]) if start is None else start, ceiling=ceiling)))


def rising(values: Sequence[float]) -> Floats:
    """Return the nearest curve (least squares) that never falls: one lucky or unlucky round moves it little."""
    y = np.asarray(values, dtype=np.float64)
    n = len(y)
    fitted = [max(min(float(y[j : k + 1].mean()) for k in range(i, n)) for j in range(i + 1)) for i in range(n)]
    return np.array(fitted)


def labels_needed(labels: Sequence[float], values: Sequence[float], *, target: float) -> float | None:
    """Return where a curve first reaches a value, interpolated between rounds; None if it never does."""
    x, y = _curve(labels, values)
    reached = np.flatnonzero(y >= target)
    if not reached.size:
        return None
    after = int(reached[0])
    if after == 0:
        return float(x[0])
    share = (target - y[after - 1]) / (y[after] - y[after - 1])
    return float(x[after - 1] + share * (x[after] - x[after - 1]))


def labels_to_ceiling(labels: Sequence[float], values: Sequence[float], *, ceiling: float) -> dict[float, float | None]:
    """Return the labels needed to reach 90, 95 and 98 % of the supervised ceiling."""
    return {share: labels_needed(labels, values, target=share * ceiling) for share in CEILING_SHARES}


def labels_saved(needed: float | None, rival_needed: float | None) -> float | None:
    """Return which share of a rival's labels is saved at equal value; None where one never reached it."""
    return None if needed is None or rival_needed is None else 1 - needed / rival_needed


def mean_spread(values: Sequence[Sequence[float]]) -> tuple[Floats, Floats]:
    """Return the mean over seeds and the sample standard deviation, nan where one seed leaves it unknown.

    Args:
        values: ``(seeds, rounds)``, or ``(seeds, 1)`` for a single number.
    """
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2 or not table.size or not np.isfinite(table).all():
        raise InputError(f"curves: {table.shape} values, some unknown or none; expected finite (seeds, rounds)")
    spread: Floats = table.std(axis=0, ddof=1) if len(table) > 1 else np.full(table.shape[1], np.nan)
    return table.mean(axis=0), spread


def bootstrap(values: Sequence[float], rng: np.random.Generator, *, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean over seeds.

    For two methods give the differences seed by seed: their noise is shared. Few seeds give too narrow an interval;
    say how many there were.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or not sample.size or not np.isfinite(sample).all() or not 0 < level < 1:
        raise InputError(
            f"bootstrap: {sample.tolist()} at level {level}; expected finite values, a level inside 0 to 1"
        )
    means = sample[rng.integers(len(sample), size=(_DRAWS, len(sample)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _curve(labels: Sequence[float], values: Sequence[float]) -> tuple[Floats, Floats]:
    x, y = np.asarray(labels, dtype=np.float64), np.asarray(values, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or len(x) < 2:
        raise InputError(f"curve: {x.size} label counts and {y.size} values; expected as many of both, at least 2")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and (np.diff(x) > 0).all()):
        raise InputError(f"curve: labels {x.tolist()}, values {y.tolist()}; expected rising labels, finite values")
    return x, y
