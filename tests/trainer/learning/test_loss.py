"""The loss sees supervised pixels and nothing else."""

import numpy as np
import pytest
import torch

from shared.errors import InputError
from trainer.learning.loss import MOST, class_weights, supervised_loss

WEIGHTS = torch.tensor([1.0, 3.0, 0.5])


def sample() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 3, 6, 6, generator=generator)
    masks = torch.randint(0, 3, (2, 6, 6), generator=generator).to(torch.uint8)
    masks[:, :2] = 255
    return logits, masks


def test_the_loss_is_the_weighted_mean_by_hand() -> None:
    logits, masks = sample()

    found = float(supervised_loss(logits, masks, WEIGHTS))

    total = weight_sum = 0.0
    for n, y, x in np.ndindex(2, 6, 6):
        value = int(masks[n, y, x])
        if value != 255:
            z = logits[n, :, y, x].double().numpy()
            weight = float(WEIGHTS[value])
            total += weight * (np.log(np.exp(z).sum()) - z[value])
            weight_sum += weight
    assert found == pytest.approx(total / weight_sum, rel=1e-5)


def test_logits_outside_labelled_patches_change_nothing_and_get_no_gradient() -> None:
    logits, masks = sample()
    other = logits.clone()
    other[:, :, :2] = 1000 * torch.randn(2, 3, 2, 6)
    other.requires_grad_()

    loss = supervised_loss(other, masks, WEIGHTS)
    loss.backward()

    assert float(loss.detach()) == pytest.approx(float(supervised_loss(logits, masks, WEIGHTS)))
    assert other.grad is not None
    assert not other.grad[:, :, :2].any()
    assert other.grad[:, :, 2:].any()


def test_a_minibatch_without_a_label_teaches_nothing_and_is_not_nan() -> None:
    logits, masks = sample()
    logits.requires_grad_()

    loss = supervised_loss(logits, torch.full_like(masks, 255), WEIGHTS)
    loss.backward()

    assert float(loss.detach()) == 0.0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_classes_weigh_by_the_inverse_root_of_their_frequency() -> None:
    masks = np.zeros((1, 10, 10), dtype=np.uint8)
    masks[0, 0, :4] = 1
    masks[0, 9] = 255

    weights = class_weights(masks, classes=3)

    np.testing.assert_allclose(weights, [1.0, np.sqrt(86 / 4), 0.0], rtol=1e-6)


def test_no_class_weighs_more_than_the_limit() -> None:
    masks = np.zeros((1, 100, 100), dtype=np.uint8)
    masks[0, 0, 0] = 1

    assert class_weights(masks, classes=2).tolist() == [1.0, MOST]


def test_masks_without_a_label_are_refused() -> None:
    with pytest.raises(InputError, match="no supervised pixel"):
        class_weights(np.full((1, 4, 4), 255, dtype=np.uint8), classes=2)


def test_a_value_no_class_has_is_refused() -> None:
    with pytest.raises(InputError, match="value 9, expected classes 0 to 1"):
        class_weights(np.full((1, 4, 4), 9, dtype=np.uint8), classes=2)
