"""The guard of a training: its weights are numbers, or they go back to the last ones that were."""

import math
from typing import Final

import torch

from shared.errors import ConfigError
from trainer.learning.state import Training, copied

#: Every how many steps a training is looked at; looking waits for the device.
CHECK_EVERY: Final = 20


class Guard:
    """Keep the last sound weights of a training."""

    def __init__(self, training: Training, *, learning_rate: float) -> None:
        self._training = training
        self._learning_rate = learning_rate
        self._step = training.done
        self._weights = copied(training.model)
        self._looked_at = len(training.steps)

    def look(self) -> None:
        """Keep the weights where they and every loss since the last look are numbers; else put the kept ones back and refuse."""
        training = self._training
        values = training.losses[self._looked_at :].tolist()
        bad = [value for value in values if not math.isfinite(value)]
        if not bad and not _finite(training):
            bad = [math.nan]
        if bad:
            training.model.load_state_dict(self._weights)
            raise ConfigError(
                f"training: the loss is {bad[0]} within {training.done} steps; the weights of step {self._step} stay, lower learning.learning_rate {self._learning_rate}"
            )
        self._step, self._weights, self._looked_at = training.done, copied(training.model), len(training.steps)


def _finite(training: Training) -> bool:
    found = [value.isfinite().all() for value in training.model.state_dict().values() if value.is_floating_point()]
    return bool(torch.stack(found).all())
