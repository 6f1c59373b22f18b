"""The training loop: one model, one snapshot, a fixed number of steps.

The same seed, model and snapshot give the same weights on the same machine class. A short training gains most
from a warm-up and a cosine fall of the learning rate.
"""

import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from shared.clock import SystemClock
from shared.config import LearningTable
from shared.console import Step
from shared.errors import ConfigError, InputError
from shared.geometry import Image
from trainer.learning.data import minibatches, supervised_window, varied
from trainer.learning.loss import class_weights, supervised_loss
from trainer.learning.model import TaskModel, best_device, threads

WARM_UP: Final = 0.2
WEIGHT_DECAY: Final = 0.01
#: How many points a recorded loss curve has at most.
CURVE_POINTS: Final = 100
_CHECK_EVERY: Final = 20


@dataclass(frozen=True, slots=True)
class TrainReport:
    """What a training did; ``finished`` is False when it was stopped and its weights are of no use."""

    losses: tuple[float, ...]
    seconds: float
    steps: int
    finished: bool


def train(
    model: TaskModel,
    crops: Image,
    masks: NDArray[np.uint8],
    settings: LearningTable,
    *,
    classes: int,
    seed: int,
    step: Step,
    stop: Callable[[], bool] | None = None,
) -> TrainReport:
    """Train a model in place, from the weights it has.

    Args:
        model: Moved to the device it learns on.
        crops: ``(n, h, w, c)``.
        masks: ``(n, h, w)``, 255 where nothing is supervised.
        settings: Steps, minibatch, learning rate, threads.
        classes: How many.
        seed: Of the order and variation of samples.
        step: Told the progress.
        stop: Asked every few steps; True ends the training unfinished.
    """
    if len(crops) != len(masks) or not len(crops):
        raise InputError(f"training: {len(crops)} crops and {len(masks)} masks; label patches first")
    device = best_device()
    with threads(settings.threads), _deterministic(seed):
        return _train(model.to(device), crops, masks, settings, classes=classes, seed=seed, step=step, stop=stop)


def _train(
    model: TaskModel,
    crops: Image,
    masks: NDArray[np.uint8],
    settings: LearningTable,
    *,
    classes: int,
    seed: int,
    step: Step,
    stop: Callable[[], bool] | None,
) -> TrainReport:
    clock = SystemClock()
    began = clock.monotonic()
    device = next(model.parameters()).device
    # Channels last makes the small convolutions of short trainings two to three times faster on CPUs as well.
    model.to(memory_format=torch.channels_last)
    model.train()
    weights = torch.from_numpy(class_weights(masks, classes=classes)).to(device)
    window = supervised_window(masks)
    top, bottom, left, right = window
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY, fused=device.type == "cuda"
    )
    generator = torch.Generator().manual_seed(seed)
    losses: list[torch.Tensor] = []
    batches = minibatches(len(crops), size=settings.minibatch, steps=settings.steps, generator=generator)
    for done, chosen in enumerate(batches):
        if done % _CHECK_EVERY == 0 and stop is not None and stop():
            return TrainReport(_curve(losses), clock.monotonic() - began, done, finished=False)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate(done, settings.steps)
        pixels = torch.from_numpy(crops[chosen.numpy()]).to(device).permute(0, 3, 1, 2).float()
        truth = torch.from_numpy(masks[chosen.numpy()]).to(device)
        pixels, truth = varied(pixels, truth, generator)
        with _precision(device):
            logits = model(pixels.contiguous(memory_format=torch.channels_last), window)
        loss = supervised_loss(logits, truth[:, top:bottom, left:right], weights)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stub has no types here
        optimizer.step()
        losses.append(loss.detach())
        if done % _CHECK_EVERY == 0 and not math.isfinite(float(loss.detach())):
            raise ConfigError(
                f"training: the loss is {float(loss.detach())} after {done + 1} steps; lower learning.learning_rate {settings.learning_rate}"
            )
        step(done + 1, settings.steps)
    model.eval()
    return TrainReport(_curve(losses), clock.monotonic() - began, settings.steps, finished=True)


def rate(done: int, steps: int) -> float:
    """Return the share of the full learning rate at a step: a linear warm-up from a tenth, then a cosine to a hundredth."""
    warm = max(1, round(WARM_UP * steps))
    if done < warm:
        return 0.1 + 0.9 * done / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - warm) / max(1, steps - warm)))


def _curve(losses: list[torch.Tensor]) -> tuple[float, ...]:
    if not losses:
        return ()
    values = torch.stack(losses).float().cpu().numpy()
    return tuple(float(part.mean()) for part in np.array_split(values, min(CURVE_POINTS, len(values))))


def _precision(device: torch.device) -> torch.autocast | nullcontext[None]:
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.autocast("cuda", dtype=torch.bfloat16)
    return nullcontext()


class _deterministic:  # noqa: N801  # reads as a with-statement
    """Fix what torch draws by itself (dropout) inside, and leave the process's generator as it was."""

    def __init__(self, seed: int) -> None:
        self._fork = torch.random.fork_rng(devices=[])
        self._seed = seed

    def __enter__(self) -> None:
        self._fork.__enter__()
        torch.manual_seed(self._seed)

    def __exit__(self, *error: object) -> None:
        self._fork.__exit__(None, None, None)
