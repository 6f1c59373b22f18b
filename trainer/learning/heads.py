"""Several light heads over one trunk: a committee for the price of one encoder (Chitta et al. 2018, section 6).

A head is a 1x1 convolution to 64 and another to the classes. Trained with the KL regulariser over the heads it is a deep
probabilistic ensemble; with ``beta`` 0 and weight decay instead, the L2 ensemble it is compared with.
"""

import math
from typing import Final

import torch
from torch import Tensor, nn

from shared.errors import ConfigError
from trainer.learning.compact import CompactNet, Window
from trainer.learning.regulariser import BETA_SEGMENTATION, FEWEST, draw_from_prior, regulariser
from trainer.learning.windowed import logits_within

#: What the paper takes.
MEMBERS: Final = 8
HIDDEN: Final = 64


class Branches(nn.Module):
    """Heads side by side: features ``(n, d, h, w)`` to ``(n, m * outputs, h, w)``, member after member."""

    def __init__(self, *, width: int, outputs: int, members: int) -> None:
        super().__init__()
        self.members = nn.ModuleList([_head(width, outputs) for _ in range(members)])

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([head(features) for head in self.members], dim=1)


class HeadedNetwork(nn.Module):
    """A network whose last layer is :class:`Branches`; what it says is the log of the members' mean probabilities."""

    def __init__(self, network: nn.Module, *, classes: int, members: int, beta: float = BETA_SEGMENTATION) -> None:
        """Take a network whose logits come from one layer, and put heads in that layer's place.

        Args:
            network: A :class:`CompactNet` or one of segmentation-models-pytorch.
            classes: How many.
            members: How many heads.
            beta: The weight of the KL regulariser; 0 trains without it.
        """
        super().__init__()
        fewest = FEWEST if beta else 2
        if members < fewest or not (0 <= beta < math.inf):
            raise ConfigError(
                f"heads: {members} members with beta {beta:g}; expected at least {fewest} members and beta from 0 ({FEWEST} members for the KL regulariser, 2 without it)"
            )
        self.network = branch_out(network, members)
        self.classes = classes
        self.beta = beta

    @property
    def heads(self) -> nn.ModuleList:
        """The members."""
        return next(part.members for part in self.network.modules() if isinstance(part, Branches))

    def forward(self, pixels: Tensor, window: Window | None = None) -> Tensor:
        """Return ``log mean p`` of the members, ``(n, k, h, w)``: its softmax is their mean."""
        return mean_logits(self.stacked(pixels, window))

    def stacked(self, pixels: Tensor, window: Window | None = None) -> Tensor:
        """Return every member's float32 logits, ``(m, n, k, h, w)``, for normalised pixels."""
        logits = self.network(pixels) if window is None else logits_within(self.network, pixels, window)
        return torch.stack(logits.float().split(self.classes, dim=1))

    def penalty(self) -> Tensor:
        """Return Ω over the heads; the trunk carries none."""
        return regulariser(list(self.heads))


def branch_out(network: nn.Module, members: int) -> nn.Module:
    """Put heads in the place of the convolution that writes a network's logits."""
    holder, name = (
        (network, "head") if isinstance(network, CompactNet) else (network.get_submodule("segmentation_head"), "0")
    )
    last = holder.get_submodule(name)
    assert isinstance(last, nn.Conv2d)
    # The compact network writes the 16 pixels of each place: as many outputs as the layer it replaces.
    setattr(holder, name, Branches(width=last.in_channels, outputs=last.out_channels, members=members))
    return network


def mean_logits(stacked: Tensor) -> Tensor:
    """Return the log of the members' mean probabilities: ``(m, n, k, h, w)`` to ``(n, k, h, w)``."""
    return torch.logsumexp(torch.log_softmax(stacked, dim=2), dim=0) - math.log(len(stacked))


def _head(width: int, outputs: int) -> nn.Sequential:
    head = nn.Sequential(nn.Conv2d(width, HIDDEN, 1), nn.ReLU(inplace=True), nn.Conv2d(HIDDEN, outputs, 1))
    draw_from_prior(head)
    return head
