"""SimCLR (Chen et al. 2020): two views of a patch belong together, all others apart.

All chance of a step follows from the seed and the step's number, so a training that goes on after a kill draws what
it would have drawn.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Final

import msgspec
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.config import SpaceTable
from shared.console import Step
from shared.errors import ConfigError
from shared.geometry import Image
from trainer.learning.checkpoints import CheckpointFolder, Checkpoints, fingerprint
from trainer.learning.data import minibatches
from trainer.learning.model import normalised
from trainer.learning.schedule import rate
from trainer.learning.weights import to_bytes
from trainer.representation.augment import Recipe, view
from trainer.representation.progress import Progress, Training

PROJECTION: Final = 64
WEIGHT_DECAY: Final = 1e-4
_CHECK_EVERY: Final = 20


@dataclass(frozen=True, slots=True)
class ContrastReport:
    """What a contrastive training did.

    Attributes:
        losses: Of every twentieth step.
        finished: False when it was stopped and its weights are of no use.
        resumed_at: The step it went on from; 0 for the start.
        damaged: What was wrong with checkpoints that could not be used.
    """

    losses: tuple[float, ...]
    finished: bool
    resumed_at: int = 0
    damaged: tuple[str, ...] = ()


def nt_xent(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of ``n`` pairs of rows, each the other's only positive."""
    n = len(first)
    rows = functional.normalize(torch.cat([first, second]), dim=1)
    likeness = rows @ rows.T / temperature
    likeness = likeness.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=rows.device), -math.inf)
    partner = torch.arange(2 * n, device=rows.device).roll(n)
    return functional.cross_entropy(likeness, partner)


def learn(
    encoder: nn.Module,
    patches: Image,
    settings: SpaceTable,
    *,
    recipe: Recipe,
    width: int,
    seed: int,
    step: Step,
    stop: Callable[[], bool] | None,
    checkpoints: Checkpoints | None = None,
) -> ContrastReport:
    """Train an encoder ``(n, c, h, w) -> (n, width)`` in place on patches ``(n, p, p, c)``; the projection head is thrown away.

    With checkpoints a training that was killed or stopped goes on where it was, and ends with the same weights.
    """
    device = next(encoder.parameters()).device
    head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTION)).to(device)
    model = nn.Sequential(encoder, head).to(memory_format=torch.channels_last)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=WEIGHT_DECAY)
    folder = None if checkpoints is None else _folder(checkpoints, model, patches, settings, recipe, seed=seed)
    progress = Progress(Training(model, optimizer), folder, done=0, losses=[])
    damaged = progress.resume()
    begin = progress.done

    size = min(settings.minibatch, len(patches))
    order = torch.Generator().manual_seed(seed)
    batches = minibatches(len(patches), size=size, steps=settings.steps, generator=order)
    for done, chosen in enumerate(islice(batches, begin, None), start=begin):
        stopped = done % _CHECK_EVERY == 0 and stop is not None and stop()
        if done > begin and (stopped or (checkpoints is not None and done % checkpoints.every == 0)):
            progress.save()
        if stopped:
            return ContrastReport(tuple(progress.losses), finished=False, resumed_at=begin, damaged=damaged)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate(done, settings.steps)
        generator = _chance(seed, done)
        pixels = torch.from_numpy(patches[chosen.numpy()]).to(device).permute(0, 3, 1, 2).float()
        both = torch.cat([view(pixels, recipe, generator), view(pixels, recipe, generator)])
        projected = model(normalised(both).contiguous(memory_format=torch.channels_last)).float()
        loss = nt_xent(projected[:size], projected[size:], temperature=settings.temperature)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stub has no types here
        optimizer.step()
        if done % _CHECK_EVERY == 0:
            progress.losses.append(_finite(float(loss.detach()), done, settings))
        progress.done = done + 1
        step(done + 1, settings.steps)
    if begin < settings.steps:
        progress.save()
    model.eval()
    return ContrastReport(tuple(progress.losses), finished=True, resumed_at=begin, damaged=damaged)


def _finite(loss: float, done: int, settings: SpaceTable) -> float:
    if not math.isfinite(loss):
        raise ConfigError(
            f"space: the loss is {loss} after {done + 1} steps; lower space.learning_rate {settings.learning_rate}"
        )
    return loss


def _chance(seed: int, done: int) -> torch.Generator:
    """Return the generator of one step, and set torch's own by it: an encoder may have dropout."""
    views, dropout = np.random.SeedSequence([seed, done]).generate_state(2, np.uint32)
    torch.manual_seed(int(dropout))
    return torch.Generator().manual_seed(int(views))


def _folder(
    checkpoints: Checkpoints, model: nn.Module, patches: Image, settings: SpaceTable, recipe: Recipe, *, seed: int
) -> CheckpointFolder:
    """Name a training's folder by all that decides its weights: the checkpoint of any other is none of its own."""
    device = str(next(model.parameters()).device)
    said = msgspec.json.encode(["space", settings, recipe, seed, device, patches.shape])
    return CheckpointFolder(
        checkpoints, training=fingerprint(said, to_bytes(model), np.ascontiguousarray(patches).data)
    )
