"""The uncertainty-weighted k-DPP: uncertain patches, unlike each other and unlike what is labelled.

The draw is exact for its kernel up to ``DENSE_LIMIT`` patches. From a larger pool half the places go to the best
scores and half to the rest by lot, and the choice says so.
"""

from typing import Final

import numpy as np

from trainer.selection.kernels import Floats, Ints, quality, quality_kernel
from trainer.selection.pinned import one_thread
from trainer.selection.samplers.dense import DenseKdpp
from trainer.selection.strategies.strategy import Choice, Problem

#: One eigendecomposition of this size takes about a minute and 2 GB on one core.
DENSE_LIMIT: Final = 8_000


class Kdpp:
    """A draw from ``L_ij = q_i exp((S_ij - 1) / tau) q_j`` given what is labelled, ``q = (u + 0.001)^(a / b)``."""

    name = "kdpp"

    def __init__(self, *, a: float, b: float, limit: int = DENSE_LIMIT) -> None:
        self._a = a
        self._b = b
        self._limit = limit

    def choose(self, problem: Problem, k: int, rng: np.random.Generator) -> Choice:
        n = len(problem.embeddings)
        if n == 0:
            return Choice(np.empty(0, dtype=np.intp), np.empty(0), (f"the pool is empty, {k} were asked for",))
        scores = np.ones(n) if problem.scores is None else problem.scores
        kept, notes = _thinned(scores, self._limit, rng)
        known, told = _sampled(problem.labelled, self._limit, rng)
        with one_thread():
            weights = quality(scores[kept], a=self._a, b=self._b)
            kernel = quality_kernel(problem.embeddings[kept], weights, tau=problem.tau, labelled=known)
        sampler = DenseKdpp.of(kernel)
        size = min(k, sampler.rank)
        if size < k:
            notes += (f"only {size} of {n} patches can be told apart, {k} were asked for; the batch holds {size}",)
        if size == 0:
            return Choice(np.empty(0, dtype=np.intp), np.empty(0), notes + told)
        law = sampler.sized(size)
        marginals = law.inclusion()
        drawn = law.draw(rng)
        return Choice(kept[drawn], marginals[drawn], notes + told)


def _thinned(scores: Floats, limit: int, rng: np.random.Generator) -> tuple[Ints, tuple[str, ...]]:
    """Keep at most ``limit`` patches: half by score, half by lot, in the pool's order."""
    n = len(scores)
    if n <= limit:
        return np.arange(n), ()
    # Equal scores are ordered by lot, so that a pool without scores is thinned uniformly.
    order = np.lexsort((rng.random(n), -scores))
    best, rest = order[: limit // 2], order[limit // 2 :]
    kept = np.sort(np.concatenate([best, rng.permutation(rest)[: limit - len(best)]]))
    return kept, (
        f"{n} patches in the pool, the exact draw takes {limit}: the best {len(best)} by score and {limit - len(best)} of the others by lot",
    )


def _sampled(labelled: Floats, limit: int, rng: np.random.Generator) -> tuple[Floats, tuple[str, ...]]:
    """Keep at most ``limit`` labelled patches to condition on."""
    if len(labelled) <= limit:
        return labelled, ()
    return labelled[np.sort(rng.permutation(len(labelled))[:limit])], (
        f"{len(labelled)} labelled patches, the draw is conditioned on {limit} of them by lot",
    )
