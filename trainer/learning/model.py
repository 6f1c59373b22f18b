"""The task model: uint8 pixels in, logits out.

Normalisation stands inside, so that training, re-scoring and the exported graph cannot differ in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from shared.config import LearningTable
from trainer.learning.compact import CompactNet, Window
from trainer.learning.networks import build_network


def normalised(pixels: Tensor) -> Tensor:
    """Bring pixels from 0 to 255 to about -2 to 2."""
    return (pixels.float() - 127.5) / 64.0


class TaskModel(nn.Module):
    """A network behind its normalisation."""

    def __init__(self, network: nn.Module, *, classes: int, channels: int) -> None:
        super().__init__()
        self.network = network
        self.classes = classes
        self.channels = channels

    def forward(self, pixels: Tensor, window: Window | None = None) -> Tensor:
        """Return float32 logits ``(n, classes, h, w)`` for pixels ``(n, channels, h, w)`` of 0 to 255.

        With a window only the logits inside it are returned, and where the network can, computed.
        """
        if isinstance(self.network, CompactNet):
            logits: Tensor = self.network(normalised(pixels), window)
            return logits.float()
        logits = self.network(normalised(pixels))
        if window is not None:
            top, bottom, left, right = window
            logits = logits[:, :, top:bottom, left:right]
        return logits.float()


def build_model(settings: LearningTable, *, classes: int, channels: int, seed: int) -> TaskModel:
    """Build a task model whose first weights follow from the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(settings, classes=classes, channels=channels)
    return TaskModel(network, classes=classes, channels=channels)


def best_device() -> torch.device:
    """Name the device to learn on: the GPU where torch sees one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


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
