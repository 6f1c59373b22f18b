"""How far repeats of one training differ: differences between curves below that are no differences.

The labelled set is drawn once by lot for each number of labels; the repeats differ in their first weights and in the order
and variation of samples alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from shared.console import Step
from shared.errors import ConfigError
from trainer.experiment.draws import fit_seed
from trainer.experiment.learner import Ground, Labelled
from trainer.experiment.walk import start_by_lot

#: The name under which the recipe's own settings are looked up: every recipe has this arm.
_ARM = "random"


@dataclass(frozen=True, slots=True)
class Noise:
    """The values of one labelled set, trained on again and again."""

    labels: int
    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Their mean."""
        return float(np.mean(self.values))

    @property
    def sd(self) -> float:
        """Their sample standard deviation."""
        return float(np.std(self.values, ddof=1))


def measure_noise(ground: Ground, labels: Sequence[int], *, repeats: int, seed: int, step: Step) -> Iterator[Noise]:
    """Train ``repeats`` times on each number of labels, and tell the values as each number is done."""
    if repeats < 2:
        raise ConfigError(f"repeats: {repeats}; at least 2 are needed to differ")
    # What clicks come to is known once they are made.
    if wrong := [count for count in labels if count < 1 or (ground.clicked is None and count > ground.count)]:
        raise ConfigError(f"labels: {wrong[0]}; the set has 1 to {ground.count} units to learn from")
    done, learner = 0, ground.learner(_ARM)
    for count in labels:
        units = start_by_lot(ground, count, seed=seed).units
        values = []
        for repeat in range(repeats):
            # A repeat is a round of its own: the seeds of trainings follow from it.
            fitted = learner.fit(Labelled(units, repeat), seed=fit_seed(seed, repeat), step=_quiet)
            values.append(fitted.measure(ground.measured, step=_quiet).value)
            done += 1
            step(done, len(labels) * repeats)
        yield Noise(count, tuple(values))


def _quiet(done: int, total: int) -> None:  # a Step
    """Tell nothing: the whole tells of itself."""
