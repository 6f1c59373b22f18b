"""One step of a training, and what it begins from: the optimizer, the order of samples, the device."""

from contextlib import nullcontext

import torch
from torch import Tensor

from shared.config import LearningTable
from shared.errors import ConfigError
from trainer.learning.crew import Crew
from trainer.learning.data import Order
from trainer.learning.model import TaskModel, best_device
from trainer.learning.objective import Objective, parameter_groups
from trainer.learning.samples import Samples
from trainer.learning.schedule import rate
from trainer.learning.state import Training


def begin(model: TaskModel, samples: Samples, settings: LearningTable, *, seed: int) -> Training:
    """Stand before the first step: the model on the device that it learns on, an optimizer, an order of samples."""
    device = best_device()
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stub knows them one at a time
    model.train()
    # A temperature is measured after a training; in it, it would be learned away.
    model.temperature = 1.0
    optimizer = torch.optim.AdamW(parameter_groups(model), lr=settings.learning_rate, fused=device.type == "cuda")
    generator = torch.Generator().manual_seed(seed)
    order = Order(len(samples.crops), size=settings.minibatch, generator=generator)
    return Training(model, optimizer, order, room=torch.zeros(settings.steps, device=device))


class Steps:
    """Takes the steps of a training, one after the other."""

    def __init__(self, training: Training, samples: Samples, settings: LearningTable, crew: Crew | None = None) -> None:
        """Take steps alone, or each with a crew."""
        self._training = training
        self._samples = samples
        self._settings = settings
        self._crew = crew or Crew()
        self._device = next(training.model.parameters()).device
        self._objective = self._crew.together(
            Objective(training.model, samples.window, samples.class_weights, self._crew)
        )

    def take(self) -> None:
        """Take one step."""
        training, settings = self._training, self._settings
        for group in training.optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate(training.done, settings.steps)
        training.done += 1
        minibatch = self._samples.minibatch(training.order, self._device, self._crew)
        if minibatch is None:
            training.skipped += 1
            return
        with _precision(self._device):
            loss, told = self._told(*minibatch)
        training.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stub has no types here
        training.optimizer.step()
        training.tell(told)

    def _told(self, pixels: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        try:
            loss, told = self._objective(pixels, truth)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise ConfigError(
                f"learning.minibatch is {len(pixels)} and crops are {pixels.shape[-1]} px: a norm of {self._settings.architecture} gets one value of each channel; take at least 2 or another architecture"
            ) from None
        return loss, told


def _precision(device: torch.device) -> torch.autocast | nullcontext[None]:
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()
