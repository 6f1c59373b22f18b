"""The networks of the edge benchmark: trained for a minute, because random weights are unsure of nothing or of everything."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from shared.config import LearningTable
from shared.geometry import Image
from shared.steel_line import SteelLine
from trainer.learning.model import TaskModel, build_model

#: The reference network of the targets.
UNET: Final = LearningTable(architecture="unet", encoder="resnet34")
_CROP_PX: Final = 128


def trained(
    settings: LearningTable,
    line: SteelLine,
    *,
    steps: int,
    minibatch: int = 8,
    images: int = 48,
    seed: int = 0,
) -> TaskModel:
    """Train a network on frames of a line with a defect each; its classes are the line's and the background."""
    model = build_model(settings, classes=len(line.classes) + 1, channels=1, seed=seed).train()
    pixels, masks = planted(line, range(images), seed=seed)
    rng = np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    weights = torch.ones(model.classes)
    # Most of a frame is background, and a network that says so everywhere has learned nothing.
    weights[0] = 0.1
    for _ in range(steps):
        some = rng.integers(0, len(pixels), minibatch)
        tiles, truth = _cut(pixels[some], masks[some], rng)
        logits = model(torch.from_numpy(tiles).permute(0, 3, 1, 2))
        loss = functional.cross_entropy(logits, torch.from_numpy(truth).long(), weight=weights)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()


def planted(line: SteelLine, numbers: Sequence[int], *, seed: int) -> tuple[Image, NDArray[np.uint8]]:
    """Draw frames ``(n, h, w, 1)`` with a defect each, of any class, and what is there ``(n, h, w)``."""
    rng = np.random.default_rng(seed)
    frames = [line.planted(number, str(rng.choice(line.classes))) for number in numbers]
    return np.stack([frame.image[..., None] for frame in frames]), np.stack([frame.mask for frame in frames])


def _cut(pixels: Image, masks: NDArray[np.uint8], rng: np.random.Generator) -> tuple[Image, NDArray[np.uint8]]:
    """Cut a crop around a defect out of each frame, where there is one."""
    side = min(_CROP_PX, pixels.shape[1])
    tiles, truth = [], []
    for image, mask in zip(pixels, masks, strict=True):
        places = np.argwhere(mask)
        centre = places[rng.integers(len(places))] if len(places) else np.array(mask.shape) // 2
        corner = centre - side // 2 + rng.integers(-side // 4, side // 4 + 1, 2)
        y, x = np.clip(corner, 0, np.array(mask.shape) - side)
        tiles.append(image[y : y + side, x : x + side])
        truth.append(mask[y : y + side, x : x + side])
    return np.stack(tiles), np.stack(truth)
