"""Uniform choice: what every other strategy must beat."""

import numpy as np

from trainer.selection.strategies.strategy import Choice, Problem


class Random:
    """Every patch of the pool is as likely as any other."""

    name = "random"

    def choose(self, problem: Problem, k: int, rng: np.random.Generator) -> Choice:
        n = len(problem.embeddings)
        size = min(k, n)
        notes = (f"the pool holds {n} patches, {k} were asked for; all are taken",) if n < k else ()
        return Choice(rng.permutation(n)[:size], np.full(size, size / n if n else 0.0), notes)
