"""Judging: how good a training's weights are on its way, on labels it does not learn from, and when it has learned enough.

Judging changes no step. With a patience the training ends when no better weights were seen for a while, and the best
ones stay; without one it goes to its end and the last ones stay.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from shared.config import LearningTable
from shared.errors import ConfigError
from shared.geometry import Image
from trainer.learning.checkpoints import Judgement, fingerprint
from trainer.learning.evaluate import assess
from trainer.learning.model import TaskModel
from trainer.learning.state import Best, Training, copied


@dataclass(frozen=True, slots=True)
class Judging:
    """Judge the weights every ``every`` steps; with a patience, end after so many judgements in a row without better ones."""

    #: Tells mIoU, IoU by class and calibration error of a model.
    judge: Callable[[TaskModel], Judgement]
    every: int
    #: 0 never ends a training.
    patience: int = 0
    #: Names the labels that judge: with a patience they decide which weights stay.
    labels: str = ""

    def __post_init__(self) -> None:
        if self.every < 1 or self.patience < 0:
            raise ConfigError(
                f"judging: every {self.every} steps with a patience of {self.patience}; expected at least 1 and 0"
            )

    def due(self, done: int, *, steps: int) -> bool:
        """Say whether weights are judged after a step; the last ones always are."""
        return done % self.every == 0 or done == steps

    def goes_on(self, training: Training) -> bool:
        """Judge the weights, and say whether training goes on."""
        training.model.eval()
        with torch.inference_mode():
            judgement = self.judge(training.model)
        training.model.train()
        training.judged.append((training.done, judgement))
        if not self.patience:
            return True
        best = training.best
        # What is not a number is never better.
        if judgement.miou is not None and judgement.miou > (-math.inf if best is None else best.score):
            best = training.best = Best(judgement.miou, training.done, copied(training.model))
        return training.done - (0 if best is None else best.step) < self.every * self.patience


def judging(settings: LearningTable, crops: Image, masks: NDArray[np.uint8], *, classes: int) -> Judging | None:
    """Judge as often as the settings say on these labels; None where there are none.

    Args:
        settings: How often, and with what patience.
        crops: ``(n, h, w, c)``; never trained on.
        masks: ``(n, h, w)``, 255 where nothing is known.
        classes: How many.
    """
    if not len(crops):
        return None
    return Judging(
        lambda model: assess(model, crops, masks, classes=classes),
        max(1, math.ceil(settings.steps / settings.judgements)),
        settings.stop_patience,
        fingerprint(np.ascontiguousarray(crops).data, np.ascontiguousarray(masks).data),
    )
