"""The benchmark of re-scores: a network that looks at single pixels must not care how it is cut."""

from argparse import Namespace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.rescore import agreement, line_of, scored
from shared.config import ClassTable
from shared.geometry import Image
from trainer.learning.model import TaskModel


def frames() -> list[Image]:
    """Frames of nine flat patches each, every one of another grey."""
    greys = np.random.default_rng(3).permutation(54).reshape(6, 3, 3) * 2 + 140
    return [grey.astype(np.uint8).repeat(32, axis=0).repeat(32, axis=1)[..., None] for grey in greys]


def test_a_network_of_single_pixels_ranks_alike_on_tiles_crops_and_bare_patches() -> None:
    network = nn.Conv2d(1, 3, 1)
    with torch.no_grad():
        # The lighter a pixel, the surer.
        network.weight.copy_(torch.tensor([1.0, 0.0, -1.0]).reshape(3, 1, 1, 1))
        network.bias.zero_()
    model = TaskModel(network, classes=3, channels=1).eval()
    named = Namespace(classes=("steel", "scratch", "dent"))
    options = Namespace(architecture="compact", encoder="compact-8", steps=1)
    line = line_of(named, options)

    node, crops, bare = scored(model, line, iter(frames()))

    assert line.classes == tuple(ClassTable(name=name) for name in named.classes)
    assert len(node) == len(crops) == len(bare) == 6 * 9
    assert agreement(node, crops)["rank"] > 0.98
    assert agreement(node, bare)["rank"] > 0.98


def test_rankings_are_compared_by_their_order_and_their_tops() -> None:
    node = np.arange(20.0)

    assert agreement(node, np.exp(node)) == {"rank": pytest.approx(1.0), "top_tenth": 1.0}
    assert agreement(node, -node) == {"rank": pytest.approx(-1.0), "top_tenth": 0.0}
    assert agreement(node, np.where(node == 19, -1.0, node))["top_tenth"] == 0.5
