"""What a training minimises: the supervised loss, and for heads the sum of theirs and their regulariser (Eq. 8)."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from trainer.learning.compact import Window
from trainer.learning.crew import Crew
from trainer.learning.heads import HeadedNetwork
from trainer.learning.loss import supervised_loss, supervised_weight
from trainer.learning.model import EveryHead, TaskModel

WEIGHT_DECAY: Final = 0.01


class Objective(nn.Module):
    """What a training minimises, and the mean loss of a member, which is told; both of the whole crew's minibatch.

    A process of a crew sees a share of the minibatch; the mean of the crew's gradients is the gradient of the whole.
    """

    def __init__(
        self, model: TaskModel, window: Window, class_weights: NDArray[np.float32], crew: Crew | None = None
    ) -> None:
        """Take one network, or one with several heads.

        Args:
            model: What learns.
            window: Rows and columns that hold every label.
            class_weights: ``(k,)``.
            crew: Who trains together.
        """
        super().__init__()
        self.model = model
        self.window = window
        self.class_weights = class_weights
        self.crew = crew or Crew()

    def forward(self, pixels: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Return both for pixels ``(n, channels, h, w)`` of 0 to 255 and masks ``(n, h, w)``, 255 where nothing is known."""
        model, crew = self.model, self.crew
        weights = torch.from_numpy(self.class_weights).to(pixels.device)
        top, bottom, left, right = self.window
        truth = truth[:, top:bottom, left:right]
        weight = crew.summed(supervised_weight(truth, weights))
        if not isinstance(model.network, HeadedNetwork):
            loss = supervised_loss(model(pixels, self.window), truth, weights, weight=weight)
            return self._whole(loss), crew.summed(loss.detach().clone())
        members = [
            supervised_loss(logits, truth, weights, weight=weight)
            for logits in EveryHead(model)(pixels, self.window).unbind(0)
        ]
        total = torch.stack(members).sum()
        told = crew.summed((total / len(members)).detach())
        total = self._whole(total)
        if model.network.beta:
            total = total + model.network.beta * model.network.penalty()
        return total, told

    def _whole(self, loss: Tensor) -> Tensor:
        """Weigh a share's loss so that the crew's mean is the whole's."""
        return loss if self.crew.size == 1 else loss * self.crew.size


def parameter_groups(model: nn.Module) -> list[dict[str, object]]:
    """Group a model's parameters for an optimizer: all shrink by weight decay but heads that the regulariser holds."""
    network = model.network if isinstance(model, TaskModel) else None
    held = list(network.heads.parameters()) if isinstance(network, HeadedNetwork) and network.beta else []
    names = {id(parameter) for parameter in held}
    free: list[Tensor] = [parameter for parameter in model.parameters() if id(parameter) not in names]
    groups: list[dict[str, object]] = [{"params": free, "weight_decay": WEIGHT_DECAY}]
    if held:
        groups.append({"params": held, "weight_decay": 0.0})
    return groups
