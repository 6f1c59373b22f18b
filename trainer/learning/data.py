"""Minibatches: which samples come when, and how each is varied. All chance comes from one generator."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from trainer.labelling.masks import IGNORE
from trainer.learning.compact import STRIDE, Window

#: Contrast is varied by this share, brightness by this many grey levels: defects differ by both, so only a little.
CONTRAST: Final = 0.1
BRIGHTNESS: Final = 10.0


class Order:
    """Which samples come when: every sample comes once before any comes again, and minibatches are full."""

    def __init__(self, samples: int, *, size: int, generator: torch.Generator, left: Tensor | None = None) -> None:
        """Begin an order, or go on in one of which ``left`` was still to come."""
        self.generator = generator
        self.left = torch.empty(0, dtype=torch.long) if left is None else left
        self._samples = samples
        self._size = size

    def take(self) -> Tensor:
        """Return the next minibatch's indices."""
        while len(self.left) < self._size:
            self.left = torch.cat([self.left, torch.randperm(self._samples, generator=self.generator)])
        chosen, self.left = self.left[: self._size], self.left[self._size :]
        return chosen


def minibatches(samples: int, *, size: int, steps: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Walk ``steps`` minibatches of an order."""
    order = Order(samples, size=size, generator=generator)
    for _ in range(steps):
        yield order.take()


def varied(
    pixels: Tensor, masks: Tensor, generator: torch.Generator, *, share: slice = slice(None), of: int | None = None
) -> tuple[Tensor, Tensor]:
    """Flip each sample at random, and vary its contrast and brightness a little.

    Args:
        pixels: ``(n, c, h, w)`` float, 0 to 255.
        masks: ``(n, h, w)``.
        generator: On the CPU.
        share: Which samples of a minibatch these are, where they are not all: each is varied as it would be in the whole.
        of: How many the whole minibatch has.
    """
    count, device = len(pixels) if of is None else of, pixels.device
    turns = [(torch.rand(count, generator=generator) < 0.5)[share].to(device) for _ in range(2)]
    chance = (torch.rand(2, count, 1, 1, 1, generator=generator) * 2 - 1)[:, share].to(device)
    for side, turn in zip((-1, -2), turns, strict=True):
        pixels = torch.where(turn[:, None, None, None], pixels.flip(side), pixels)
        masks = torch.where(turn[:, None, None], masks.flip(side), masks)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return (pixels - mean) * (1 + CONTRAST * chance[0]) + mean + BRIGHTNESS * chance[1], masks


def supervised_window(masks: NDArray[np.uint8]) -> Window:
    """Return the rows and columns that hold every supervised pixel, also flipped, widened to the network's stride.

    Outside it no logit is needed: a crop's margin is context alone.
    """
    height, width = masks.shape[1:]
    known = (masks != IGNORE).any(axis=0)
    rows, cols = np.flatnonzero(known.any(axis=1)), np.flatnonzero(known.any(axis=0))
    top = min(int(rows[0]), height - 1 - int(rows[-1])) // STRIDE * STRIDE
    left = min(int(cols[0]), width - 1 - int(cols[-1])) // STRIDE * STRIDE
    return top, height - top, left, width - left
