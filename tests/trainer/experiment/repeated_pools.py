"""A pool that is half one image, and a strategy that plays on it: what picks the image again has learned nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from trainer.selection.numbers import Floats, Ints
from trainer.selection.problem import Problem
from trainer.selection.strategies.strategy import Strategy


@dataclass(frozen=True, slots=True)
class RepeatedPool:
    """A pool in which one image stands many times: ``image_of`` ``(n,)`` names each unit's image, by number."""

    image_of: Ints
    repeated: int

    def copies(self, units: Ints) -> int:
        """Count the units that show the repeated image."""
        return int(np.count_nonzero(self.image_of[units] == self.repeated))

    def wasted(self, batches: Sequence[Ints]) -> int:
        """Count the labels that brought nothing: copies besides the first."""
        return max(0, sum(self.copies(batch) for batch in batches) - 1)

    def picked_again(self, batches: Sequence[Ints]) -> tuple[int, ...]:
        """Name the rounds that picked a copy after an earlier round had labelled one: entropy must have none.

        Copies within one batch are not counted here: a ranking cannot know of its own batch.
        """
        rounds = [number for number, batch in enumerate(batches) if self.copies(batch)]
        return tuple(rounds[1:])


class Model(Protocol):
    """What stands for a model: the scores ``(n,)`` of all units, once those of ``labelled`` have been learned."""

    def __call__(self, labelled: Ints) -> Floats: ...


def repeated_pool(images: int, *, repeated: int) -> RepeatedPool:
    """Add as many copies of one image as there are images: units from ``images`` on are copies (Chen, section 3.3.2)."""
    return RepeatedPool(np.concatenate([np.arange(images), np.full(images, repeated)]).astype(np.intp), repeated)


def play(
    strategy: Strategy, problem: Problem, model: Model, *, start: Ints, k: int, rounds: int, rng: np.random.Generator
) -> list[Ints]:
    """Let a strategy choose ``rounds`` batches of ``k`` from a pool that shrinks, the model learning between them.

    Args:
        strategy: What is probed.
        problem: All units; its scores and labelled ones are replaced round by round.
        model: What is asked for scores before each batch.
        start: Numbers of the units labelled beforehand.
        k: Units a batch.
        rounds: How many batches.
        rng: For the strategy.

    Returns:
        The batches in units' numbers; ``start`` comes first.
    """
    batches = [start]
    for _ in range(rounds):
        labelled = np.concatenate(batches)
        waiting = np.setdiff1d(np.arange(problem.n), labelled)
        pool = replace(
            problem,
            embeddings=problem.embeddings[waiting],
            scores=model(labelled)[waiting],
            labelled=problem.embeddings[labelled],
        )
        batches.append(waiting[strategy.choose(pool, k, rng).indices])
    return batches
