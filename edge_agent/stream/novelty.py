"""The novelty memory: how much of a patch is not explained by what was sent before.

Novelty is the posterior variance ``v = 1 - k^T (K + noise I)^-1 k`` of a Gaussian process whose points are
the embeddings in memory and whose kernel is the selection's own, ``exp((S - 1) / tau)``: 1 for a patch unlike
everything sent, about ``noise`` for an exact repeat.

The inverse itself is kept, because numpy has no triangular solve and a node has no scipy: points come in by
bordering it and leave by its Schur complement. One column of it is checked at each change; when it no longer
inverts its row, or after ``REFACTOR_EVERY`` changes, it is computed afresh.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Embeddings = NDArray[np.float32]

REFACTOR_EVERY: Final = 1000
_DRIFT: Final = 1e-6
_LEARNT_AT_ONCE: Final = 64


class NoveltyMemory:
    """The last embeddings that were sent in one space, oldest first.

    At ``capacity`` the oldest sixteenth leaves together: taking points out one by one would cost a pass
    over the whole inverse for each.
    """

    def __init__(self, *, dim: int, tau: float, noise: float, capacity: int) -> None:
        self.refactors = 0
        self._tau = tau
        self._noise = noise
        # In double precision: single-precision cosines, amplified by 1 / (tau noise), would pass for drift.
        self._points = np.zeros((capacity, dim))
        self._inverse = np.zeros((capacity, capacity))
        self._size = 0
        self._changes = 0

    def __len__(self) -> int:
        return self._size

    @property
    def rows(self) -> Embeddings:
        """A copy of what is remembered, oldest first: ``(n, d)``."""
        return self._points[: self._size].astype(np.float32)

    def learn(self, embeddings: Embeddings) -> None:
        """Remember those of some embeddings that are not explained yet: more of the known would push out the sent."""
        for start in range(0, len(embeddings), _LEARNT_AT_ONCE):
            some = embeddings[start : start + _LEARNT_AT_ONCE]
            self.add(some[self.covariance(some).diagonal() > 2.0 * self._noise])

    def covariance(self, embeddings: Embeddings) -> Floats:
        """Return what the memory leaves unexplained of some patches and of their likeness to each other.

        Args:
            embeddings: ``(m, d)``, rows of length one.

        Returns:
            ``(m, m)``; the diagonal is each patch's novelty in [0, 1].
        """
        # A damaged inverse gives what is found to be unsound below; numpy need not warn of it.
        with np.errstate(invalid="ignore", over="ignore"):
            found = self._posterior(embeddings)
        if not _is_sound(found):
            self._refactor()
            found = self._posterior(embeddings)
        np.fill_diagonal(found, np.clip(found.diagonal(), 0.0, 1.0))
        return found

    def add(self, embeddings: Embeddings) -> None:
        """Remember embeddings, in this order; of more than fit, the last."""
        capacity = len(self._points)
        fresh = embeddings[-capacity:]
        over = self._size + len(fresh) - capacity
        if over > 0:
            self._forget(min(self._size, max(over, capacity // 16)))
        start, stop = self._size, self._size + len(fresh)
        if start == stop:
            return
        self._points[start:stop] = fresh
        self._size = stop
        self._changes += 1
        if self._changes >= REFACTOR_EVERY:
            self._refactor()
            return
        self._border(start, stop)
        self._check(self._changes % stop)

    def _posterior(self, embeddings: Embeddings) -> Floats:
        size = self._size
        points = embeddings.astype(np.float64)
        prior = self._kernel(points, points)
        if size == 0:
            return prior
        likeness = self._kernel(self._points[:size], points)
        return prior - likeness.T @ (self._inverse[:size, :size] @ likeness)

    def _border(self, start: int, stop: int) -> None:
        """Extend the inverse by the points between ``start`` and ``stop``."""
        fresh = self._points[start:stop]
        rest = self._kernel(fresh, fresh) + self._noise * np.eye(stop - start)
        if start == 0:
            self._inverse[:stop, :stop] = np.linalg.inv(rest)
            return
        likeness = self._kernel(self._points[:start], fresh)
        weights = self._inverse[:start, :start] @ likeness
        corner = np.linalg.inv(rest - likeness.T @ weights)
        side = weights @ corner
        self._inverse[:start, :start] += side @ weights.T
        self._inverse[:start, start:stop] = -side
        self._inverse[start:stop, :start] = -side.T
        self._inverse[start:stop, start:stop] = corner

    def _forget(self, count: int) -> None:
        """Take the oldest points out."""
        size = self._size
        side = self._inverse[count:size, :count]
        rest = self._inverse[count:size, count:size] - side @ np.linalg.solve(self._inverse[:count, :count], side.T)
        self._size = size - count
        self._inverse[: self._size, : self._size] = rest
        self._points[: self._size] = self._points[count:size].copy()

    def _check(self, row: int) -> None:
        """Compute the inverse afresh when it no longer inverts this row."""
        size = self._size
        likeness = self._kernel(self._points[row : row + 1], self._points[:size])[0]
        likeness[row] += self._noise
        # Written so that a NaN counts as drift.
        if not abs(float(likeness @ self._inverse[:size, row]) - 1.0) < _DRIFT:
            self._refactor()

    def _refactor(self) -> None:
        points = self._points[: self._size]
        self._inverse[: self._size, : self._size] = np.linalg.inv(
            self._kernel(points, points) + self._noise * np.eye(self._size)
        )
        self._changes = 0
        self.refactors += 1

    def _kernel(self, left: Floats, right: Floats) -> Floats:
        # Rounding can lift a cosine above one, and a kernel value above the diagonal is no kernel.
        kernel: Floats = np.exp((np.minimum(left @ right.T, 1.0) - 1.0) / self._tau)
        return kernel


def _is_sound(covariance: Floats) -> bool:
    variances = covariance.diagonal()
    return bool(np.isfinite(covariance).all() and (variances > -_DRIFT).all() and (variances < 1.0 + _DRIFT).all())
