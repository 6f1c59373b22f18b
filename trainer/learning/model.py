"""The task model: uint8 pixels in, logits out.

Normalisation stands inside, so that training, re-scoring and the exported graph cannot differ in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch
from torch import Tensor, nn

from shared.config import LearningTable
from shared.errors import ConfigError
from trainer.learning.compact import Window
from trainer.learning.heads import HeadedNetwork
from trainer.learning.networks import build_network
from trainer.learning.regulariser import BETA_SEGMENTATION
from trainer.learning.windowed import every_second, logits_within

#: Images that a model looks at together, and pixels, whichever is less.
_IMAGES: Final = 32
_PIXELS: Final = _IMAGES * 256 * 256


def normalised(pixels: Tensor) -> Tensor:
    """Bring pixels from 0 to 255 to about -2 to 2."""
    return (pixels.float() - 127.5) / 64.0


class TaskModel(nn.Module):
    """A network behind its normalisation, its logits divided by a temperature (1 until it is calibrated)."""

    def __init__(self, network: nn.Module, *, classes: int, channels: int, temperature: float = 1.0) -> None:
        super().__init__()
        self.network = network
        self.classes = classes
        self.channels = channels
        self.temperature = temperature

    def forward(self, pixels: Tensor, window: Window | None = None) -> Tensor:
        """Return float32 logits ``(n, classes, h, w)`` for pixels ``(n, channels, h, w)`` of 0 to 255.

        With a window only the logits inside it are returned, and where the network can, computed.
        """
        if window is None:
            return self._warmed(self.network(normalised(pixels)))
        if isinstance(self.network, HeadedNetwork):
            return self._warmed(self.network(normalised(pixels), window))
        return self._warmed(logits_within(self.network, normalised(pixels), window))

    def every_second(self, pixels: Tensor, window: Window) -> Tensor:
        """Return the logits of every second row and column inside a window that begins at even ones."""
        if isinstance(self.network, HeadedNetwork):
            return self.forward(pixels, window)[:, :, ::2, ::2]
        return self._warmed(every_second(self.network, normalised(pixels), window))

    def _warmed(self, logits: Tensor) -> Tensor:
        return logits.float() if self.temperature == 1.0 else logits.float() / self.temperature


class EveryHead(nn.Module):
    """What each head of a task model says, not their mean: a committee out of one model."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        if not isinstance(model.network, HeadedNetwork):
            raise ConfigError(f"heads: {type(model.network).__name__} has one; build the model with several heads")
        self.model = model
        self.classes = model.classes

    def forward(self, pixels: Tensor, window: Window | None = None) -> Tensor:
        """Return float32 logits ``(m, n, classes, h, w)`` for pixels ``(n, channels, h, w)`` of 0 to 255."""
        network = self.model.network
        assert isinstance(network, HeadedNetwork)
        logits = network.stacked(normalised(pixels), window)
        return logits if self.model.temperature == 1.0 else logits / self.model.temperature


def build_model(
    settings: LearningTable,
    *,
    classes: int,
    channels: int,
    seed: int,
    heads: int = 0,
    beta: float = BETA_SEGMENTATION,
) -> TaskModel:
    """Build a task model whose first weights follow from the seed alone.

    Args:
        settings: Architecture and encoder.
        classes: How many.
        channels: 1 or 3.
        seed: Of the first weights.
        heads: Light heads over the network's trunk; 0 leaves it its own.
        beta: The weight of the KL regulariser over the heads; 0 makes them an L2 ensemble.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(settings, classes=classes, channels=channels)
        if heads:
            network = HeadedNetwork(network, classes=classes, members=heads, beta=beta)
    return TaskModel(network, classes=classes, channels=channels)


def best_device() -> torch.device:
    """Name the device to learn on: the GPU where torch sees one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def at_once(height_px: int, width_px: int) -> int:
    """Say how many images a model looks at together: what it makes of them on its way has to fit into memory."""
    return max(1, min(_IMAGES, _PIXELS // (height_px * width_px)))


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Use this many CPU threads inside; 0 leaves torch's own number."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
