"""The entropy of pixels: right, bounded, and never nan for finite or -inf logits."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy

from trainer.acquisition.entropy import PixelEntropy


@pytest.mark.parametrize("classes", [2, 7, 19])
def test_entropy_agrees_with_scipy(classes: int) -> None:
    logits = np.random.default_rng(classes).normal(scale=4.0, size=(3, classes, 5, 6)).astype(np.float32)

    found = PixelEntropy(classes)(torch.from_numpy(logits)).numpy()[:, 0]

    np.testing.assert_allclose(found, entropy(softmax(logits.astype(np.float64), axis=1), axis=1), atol=2e-6)


def test_equal_logits_have_the_entropy_of_a_fair_die() -> None:
    found = PixelEntropy(6)(torch.full((1, 6, 1, 1), 123.0))

    assert float(found) == pytest.approx(np.log(6), abs=1e-6)


@pytest.mark.parametrize("scale", [1e3, 1e4, 1e30])
def test_extreme_logits_are_certain_not_nan(scale: float) -> None:
    logits = torch.tensor([scale, -scale, 0.0, -scale]).reshape(1, 4, 1, 1)

    assert float(PixelEntropy(4)(logits)) == pytest.approx(0.0, abs=1e-30)


def test_a_class_of_minus_infinity_counts_as_impossible() -> None:
    logits = torch.tensor([1.0, 1.0, -torch.inf]).reshape(1, 3, 1, 1)

    assert float(PixelEntropy(3)(logits)) == pytest.approx(np.log(2), abs=1e-6)


def test_half_precision_logits_are_measured_in_full_precision() -> None:
    logits = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 5, 4, 4))).half()

    found = PixelEntropy(5)(logits)

    assert found.dtype == torch.float32
    torch.testing.assert_close(found, PixelEntropy(5)(logits.float()))


def test_a_broken_model_shows_as_nan_rather_than_as_certain() -> None:
    logits = torch.tensor([torch.nan, 0.0, 1.0]).reshape(1, 3, 1, 1)

    assert torch.isnan(PixelEntropy(3)(logits)).all()
