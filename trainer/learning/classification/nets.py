"""Classifiers by name: the one door to timm's own models.

``dense-<width>`` is the Waterloo thesis' net of two layers, ``resnet18`` and its kin are timm's. Nothing is
downloaded: all weights start at random.
"""

import re
from typing import Final

import timm
import torch
from timm.models import ResNet
from torch import Tensor, nn

from shared.errors import ConfigError
from trainer.learning.model import normalised

#: Up to this side a ResNet's stem keeps the resolution: of 32 px its own would leave a quarter before the first block.
SMALL_PX: Final = 64
#: Channels that a ResNet's first block takes.
_STEM: Final = 64
_DENSE: Final = re.compile(r"dense-([1-9][0-9]{0,4})")
_RESNET: Final = re.compile(r"resnet(18|26|34|50)")


class Classifier(nn.Module):
    """A body and a last layer, behind the normalisation.

    ``features`` is what the last layer sees of an image: the penultimate features, ``dim`` numbers.
    """

    def __init__(
        self,
        body: nn.Module,
        *,
        dim: int,
        classes: int,
        channels: int,
        size_px: tuple[int, int],
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.body = body
        self.dropout = nn.Dropout(dropout)
        self.last = nn.Linear(dim, classes)
        self.dim = dim
        self.classes = classes
        self.channels = channels
        self.size_px = size_px

    def features(self, pixels: Tensor) -> Tensor:
        """Return ``(n, dim)`` for pixels ``(n, channels, h, w)`` of 0 to 255."""
        seen: Tensor = self.body(normalised(pixels))
        return seen

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float32 logits ``(n, classes)`` for pixels ``(n, channels, h, w)`` of 0 to 255."""
        logits: Tensor = self.last(self.dropout(self.features(pixels)))
        return logits.float()


def build_classifier(
    network: str, *, classes: int, channels: int, size_px: tuple[int, int], seed: int, dropout: float = 0.0
) -> Classifier:
    """Build a classifier whose first weights follow from the seed alone.

    Args:
        network: By name.
        classes: How many.
        channels: Of every image.
        size_px: Every image's ``(h, w)``.
        seed: Of the first weights.
        dropout: The share of the features that the last layer does without, while it learns.
    """
    if classes < 2:
        raise ConfigError(f'network "{network[:60]}": {classes} class; a classifier tells at least 2 apart')
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        body, dim = _body(network, channels=channels, size_px=size_px)
        return Classifier(body, dim=dim, classes=classes, channels=channels, size_px=size_px, dropout=dropout)


def _body(network: str, *, channels: int, size_px: tuple[int, int]) -> tuple[nn.Module, int]:
    dense = _DENSE.fullmatch(network)
    if dense is not None:
        width = int(dense[1])
        return nn.Sequential(nn.Flatten(), nn.Linear(channels * size_px[0] * size_px[1], width), nn.ReLU()), width
    if _RESNET.fullmatch(network) is None:
        raise ConfigError(
            f'network "{network[:60]}": not known; known are dense-<width>, resnet18, resnet26, resnet34 and resnet50'
        )
    body = timm.create_model(network, pretrained=False, in_chans=channels, num_classes=0)
    assert isinstance(body, ResNet)
    if max(size_px) <= SMALL_PX:
        body.add_module("conv1", nn.Conv2d(channels, _STEM, 3, padding=1, bias=False))
        body.add_module("maxpool", nn.Identity())
    return body, int(body.num_features)
