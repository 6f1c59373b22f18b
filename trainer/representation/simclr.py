"""SimCLR (Chen et al. 2020) for grey images of one texture: two views of a patch belong together, all others apart.

Views differ by flips, a small crop, a little contrast, brightness and noise. Colour jitter, blur and strong crops
are left out: defects differ from each other by size and brightness, and a view must not turn one into another.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.config import SpaceTable
from shared.console import Step
from shared.errors import ConfigError
from shared.geometry import Image
from trainer.learning.data import minibatches
from trainer.learning.loop import rate
from trainer.learning.model import normalised

SMALLEST_CROP: Final = 0.7
CONTRAST: Final = 0.15
BRIGHTNESS: Final = 10.0
NOISE: Final = 2.0
PROJECTION: Final = 64
_CHECK_EVERY: Final = 20


@dataclass(frozen=True, slots=True)
class ContrastReport:
    """What a contrastive training did."""

    losses: tuple[float, ...]
    finished: bool


def nt_xent(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Return the normalised temperature-scaled cross-entropy of ``n`` pairs of rows, each the other's only positive."""
    n = len(first)
    rows = functional.normalize(torch.cat([first, second]), dim=1)
    likeness = rows @ rows.T / temperature
    likeness = likeness.masked_fill(torch.eye(2 * n, dtype=torch.bool, device=rows.device), -math.inf)
    partner = torch.arange(2 * n, device=rows.device).roll(n)
    return functional.cross_entropy(likeness, partner)


def view(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one view of each patch: ``(n, c, h, w)`` float, 0 to 255, to the same."""
    n = len(pixels)
    chance = torch.rand(8, n, generator=generator).to(pixels.device)
    side = SMALLEST_CROP + (1 - SMALLEST_CROP) * chance[0]
    flips = torch.where(chance[1:3] < 0.5, -1.0, 1.0)
    shift = (2 * chance[3:5] - 1) * (1 - side)
    theta = torch.zeros(n, 2, 3, device=pixels.device)
    theta[:, 0, 0], theta[:, 1, 1] = side * flips[0], side * flips[1]
    theta[:, 0, 2], theta[:, 1, 2] = shift[0], shift[1]
    places = functional.affine_grid(theta, list(pixels.shape), align_corners=False)
    cut = functional.grid_sample(pixels, places, padding_mode="reflection", align_corners=False)
    mean = cut.mean(dim=(1, 2, 3), keepdim=True)
    contrast = (1 + CONTRAST * (2 * chance[5] - 1))[:, None, None, None]
    brightness = (BRIGHTNESS * (2 * chance[6] - 1))[:, None, None, None]
    noise = torch.randn(cut.shape, generator=generator).to(pixels.device)
    return (cut - mean) * contrast + mean + brightness + NOISE * chance[7][:, None, None, None] * noise


def learn(
    encoder: nn.Module,
    patches: Image,
    settings: SpaceTable,
    *,
    width: int,
    seed: int,
    step: Step,
    stop: Callable[[], bool] | None,
) -> ContrastReport:
    """Train an encoder ``(n, c, h, w) -> (n, width)`` in place on patches ``(n, p, p, c)``; the projection head is thrown away."""
    device = next(encoder.parameters()).device
    head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, PROJECTION)).to(device)
    model = nn.Sequential(encoder, head).to(memory_format=torch.channels_last)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=1e-4)
    generator = torch.Generator().manual_seed(seed)
    size = min(settings.minibatch, len(patches))
    losses: list[float] = []
    batches = minibatches(len(patches), size=size, steps=settings.steps, generator=generator)
    for done, chosen in enumerate(batches):
        if done % _CHECK_EVERY == 0 and stop is not None and stop():
            return ContrastReport(tuple(losses), finished=False)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate(done, settings.steps)
        pixels = torch.from_numpy(patches[chosen.numpy()]).to(device).permute(0, 3, 1, 2).float()
        both = torch.cat([view(pixels, generator), view(pixels, generator)])
        projected = model(normalised(both).contiguous(memory_format=torch.channels_last)).float()
        loss = nt_xent(projected[:size], projected[size:], temperature=settings.temperature)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch's stub has no types here
        optimizer.step()
        if done % _CHECK_EVERY == 0:
            losses.append(float(loss.detach()))
            if not math.isfinite(losses[-1]):
                raise ConfigError(
                    f"space: the loss is {losses[-1]} after {done + 1} steps; lower space.learning_rate {settings.learning_rate}"
                )
        step(done + 1, settings.steps)
    model.eval()
    return ContrastReport(tuple(losses), finished=True)
