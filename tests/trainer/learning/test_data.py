"""Minibatches and variations: complete, deterministic, image and mask together."""

import numpy as np
import pytest
import torch

from trainer.learning.data import minibatches, supervised_window, varied


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_every_sample_comes_once_before_any_comes_again() -> None:
    drawn = torch.cat(list(minibatches(10, size=4, steps=5, generator=generator(1)))).tolist()

    assert sorted(drawn[:10]) == sorted(drawn[10:20]) == list(range(10))


def test_minibatches_are_full_when_samples_are_few() -> None:
    batches = list(minibatches(3, size=16, steps=2, generator=generator(1)))

    assert [len(batch) for batch in batches] == [16, 16]
    assert set(batches[0].tolist()) == {0, 1, 2}


def test_the_mask_turns_with_its_image() -> None:
    masks = torch.arange(3 * 8 * 8).reshape(3, 8, 8).remainder(200).to(torch.uint8)
    pixels = masks[:, None].float()

    turned, with_it = varied(pixels, masks, generator(3))

    # Contrast and brightness keep the order of pixels; so equal values stay equal and larger stay larger.
    for image, mask in zip(turned[:, 0], with_it, strict=True):
        by_mask = image.flatten()[mask.flatten().argsort(stable=True)]
        assert (by_mask.diff() >= -1e-3).all()
    assert not torch.equal(with_it, masks)


def test_the_same_generator_varies_alike() -> None:
    pixels = torch.rand(4, 1, 8, 8) * 255
    masks = torch.zeros(4, 8, 8, dtype=torch.uint8)

    first, second = (varied(pixels, masks, generator(9))[0] for _ in range(2))

    assert torch.equal(first, second)
    assert not torch.equal(first, varied(pixels, masks, generator(10))[0])


@pytest.mark.parametrize(
    ("rows", "cols"), [(slice(18, 50), slice(40, 80)), (slice(46, 78), slice(16, 56))], ids=["high", "low"]
)
def test_the_window_holds_every_label_however_it_is_flipped(rows: slice, cols: slice) -> None:
    masks = np.full((2, 96, 96), 255, dtype=np.uint8)
    masks[0, rows, cols] = 0

    top, bottom, left, right = supervised_window(masks)

    for side in (masks, masks[:, ::-1], masks[:, :, ::-1]):
        outside = np.ones((96, 96), dtype=bool)
        outside[top:bottom, left:right] = False
        assert (side[:, outside] == 255).all()
    assert (top, bottom, left, right) == (16, 80, 16, 80)
    assert all(edge % 4 == 0 for edge in (top, bottom, left, right))


def test_fully_labelled_images_need_every_logit() -> None:
    assert supervised_window(np.zeros((1, 64, 96), dtype=np.uint8)) == (0, 64, 0, 96)
