"""Classifiers: what a name builds, and what is refused."""

import numpy as np
import pytest
import torch

from shared.errors import ConfigError
from tests.trainer.learning.classification.pictures import quadrants, quiet, small
from trainer.learning.classification.nets import SMALL_PX
from trainer.learning.classification.predicting import features_of, logits_of


def test_a_dense_net_is_two_matrices_and_a_rectifier() -> None:
    images, _ = quadrants(5, 1, side=6, channels=3)
    model = small("dense-7", side=6, channels=3)
    first, last = model.body.get_submodule("1"), model.last
    flat = images.transpose(0, 3, 1, 2).reshape(5, -1)

    logits = logits_of(model, images, np.arange(5), threads_used=1, step=quiet).numpy()

    w, b, v, c = (t.detach().double().numpy() for t in (first.weight, first.bias, last.weight, last.bias))
    hidden = np.maximum((flat - 127.5) / 64 @ w.T + b, 0)
    np.testing.assert_allclose(logits, hidden @ v.T + c, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("network", ["dense-16", "resnet18"])
def test_logits_are_the_last_layer_of_the_features(network: str) -> None:
    images, _ = quadrants(9, 1, side=16)
    model = small(network, side=16)
    chosen = np.array([7, 0, 3])

    features = features_of(model, images, chosen, threads_used=1, step=quiet)
    logits = logits_of(model, images, chosen, threads_used=1, step=quiet)

    assert features.shape == (3, model.dim)
    torch.testing.assert_close(model.last(features).detach(), logits, rtol=1e-4, atol=1e-5)


def test_first_weights_follow_from_the_seed_alone() -> None:
    first = small(seed=3)
    torch.rand(17)
    again, other = small(seed=3), small(seed=4)

    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.last.weight, other.last.weight)


def test_building_leaves_the_process_s_chance_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)

    small()

    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize(("side", "kept"), [(32, 4), (SMALL_PX, 8), (SMALL_PX + 32, 3)])
def test_a_resnet_keeps_the_resolution_of_small_images(side: int, kept: int) -> None:
    """Three halvings are left of the five: 32 px become 4, where the stem of large images would leave 1."""
    model = small("resnet18", side=side)
    seen: list[tuple[int, ...]] = []
    model.body.get_submodule("layer4").register_forward_hook(lambda _module, _args, out: seen.append(tuple(out.shape)))

    model.eval()(torch.zeros(1, 1, side, side))

    assert seen == [(1, 512, kept, kept)]


@pytest.mark.parametrize("network", ["dense", "dense-0", "dense-016", "dense-100000", "resnet19", "vit_tiny", ""])
def test_an_unknown_network_is_refused_with_the_known_ones(network: str) -> None:
    with pytest.raises(ConfigError, match=f'network "{network}": not known; known are dense-<width>, resnet18'):
        small(network)


def test_a_single_class_is_refused() -> None:
    with pytest.raises(ConfigError, match='network "dense-16": 1 class; a classifier tells at least 2 apart'):
        small(classes=1)
