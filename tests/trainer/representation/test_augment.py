"""Augmentations: chance by the generator alone, the shares and ranges they promise, and a patch that stays a patch."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from shared.errors import ConfigError
from trainer.representation.augment import (
    COLOUR,
    GREY,
    Recipe,
    blurred,
    cropped,
    flipped,
    grey,
    jittered,
    recipe_for,
    turn_hue,
    view,
)

Transform = Callable[[Tensor, torch.Generator], Tensor]
TRANSFORMS: dict[str, Transform] = {
    "flipped": lambda pixels, generator: flipped(pixels, generator, side=-1),
    "cropped": lambda pixels, generator: cropped(pixels, COLOUR, generator),
    "blurred": lambda pixels, generator: blurred(pixels, replace(COLOUR, blur_px=(5.0, 20.0)), generator),
    "jittered": lambda pixels, generator: jittered(pixels, COLOUR, generator),
    "grey view": lambda pixels, generator: view(pixels, GREY, generator),
    "colour view": lambda pixels, generator: view(pixels, COLOUR, generator),
}
GEOMETRIC = ("flipped", "cropped", "blurred")


def seeded(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some(n: int, channels: int = 3, side: int = 24) -> Tensor:
    return torch.rand(n, channels, side, side, generator=seeded(99)) * 255


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_transform_follows_from_its_generator(name: str) -> None:
    pixels = some(6)
    before = pixels.clone()

    first, again = (TRANSFORMS[name](pixels, seeded(5)) for _ in range(2))
    other = TRANSFORMS[name](pixels, seeded(6))

    assert first.shape == pixels.shape
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(pixels, before)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_torch_s_own_generator_is_left_alone(name: str) -> None:
    before = torch.random.get_rng_state()

    TRANSFORMS[name](some(3), seeded())

    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", GEOMETRIC)
def test_a_plain_patch_stays_plain_under_geometry(name: str) -> None:
    plain = torch.full((32, 3, 20, 28), 137.0)

    seen = TRANSFORMS[name](plain, seeded())

    torch.testing.assert_close(seen, plain, atol=1e-3, rtol=0)


@pytest.mark.parametrize("side", [-1, -2])
def test_half_of_the_patches_are_mirrored_and_the_others_left(side: int) -> None:
    pixels = some(1, side=8).repeat(4000, 1, 1, 1)

    seen = flipped(pixels, seeded(), side=side)

    turned = (seen == pixels.flip(side)).flatten(1).all(dim=1)
    kept = (seen == pixels).flatten(1).all(dim=1)
    assert bool((turned ^ kept).all())
    # Four standard deviations of 4000 fair throws.
    assert abs(int(turned.sum()) - 2000) < 4 * math.sqrt(1000)


@pytest.mark.parametrize("recipe", [GREY, COLOUR], ids=["grey", "colour"])
def test_a_crop_shows_the_share_of_a_patch_that_the_recipe_allows(recipe: Recipe) -> None:
    """On a ramp the sides of a crop are read off its range: nothing but the crop scales it."""
    side = 64
    ramp = torch.arange(side).float()
    pixels = torch.stack([ramp.expand(side, side), ramp[:, None].expand(side, side)])[None].repeat(3000, 1, 1, 1)

    # The middle pixels, where no edge is reflected.
    seen = cropped(pixels, recipe, seeded())

    wide = seen[:, 0, 32, 40] - seen[:, 0, 32, 24]
    high = seen[:, 1, 40, 32] - seen[:, 1, 24, 32]
    areas = (wide * high / 256).numpy()
    assert areas.min() > recipe.smallest_area * 0.98
    assert areas.min() < recipe.smallest_area + 0.05
    assert 0.9 < areas.max() < 1.001
    ratios = (wide / high).numpy()
    assert ratios.max() <= recipe.longest_side * 1.001
    assert ratios.min() >= 0.999 / recipe.longest_side


def test_a_crop_never_leaves_its_patch() -> None:
    side = 32
    ramp = torch.arange(side).float().expand(1, 1, side, side).repeat(500, 1, 1, 1)

    seen = cropped(ramp, COLOUR, seeded())

    # A reflected border would turn the ramp around.
    assert bool((seen.diff(dim=3) >= -1e-4).all())


def test_contrast_and_brightness_stay_in_their_ranges() -> None:
    pixels = some(1, channels=1).repeat(2000, 1, 1, 1)

    seen = jittered(pixels, GREY, seeded())

    shift = (seen.mean(dim=(1, 2, 3)) - pixels.mean(dim=(1, 2, 3))).numpy()
    scale = (seen.std(dim=(1, 2, 3)) / pixels.std(dim=(1, 2, 3))).numpy()
    assert -GREY.brightness - 1e-2 < shift.min() < -0.95 * GREY.brightness
    assert 0.95 * GREY.brightness < shift.max() < GREY.brightness + 1e-2
    assert 1 - GREY.contrast - 1e-4 < scale.min() < 1 - 0.95 * GREY.contrast
    assert 1 + 0.95 * GREY.contrast < scale.max() < 1 + GREY.contrast + 1e-4


def test_colours_are_varied_and_taken_as_often_as_the_recipe_says() -> None:
    pixels = some(1, side=6).repeat(4000, 1, 1, 1)

    seen = jittered(pixels, COLOUR, seeded())

    kept = int((seen == pixels).flatten(1).all(dim=1).sum())
    lost = int(((seen - seen.mean(dim=1, keepdim=True)).abs().amax(dim=(1, 2, 3)) < 1e-3).sum())
    # Neither jittered nor made grey: 0.2 of 0.8. Four standard deviations each.
    assert abs(kept - 640) < 4 * math.sqrt(4000 * 0.16 * 0.84)
    assert abs(lost - 800) < 4 * math.sqrt(4000 * 0.2 * 0.8)


def test_a_third_of_a_turn_exchanges_the_colours() -> None:
    pixels = some(3)
    third = torch.tensor([0.0, 1 / 3, -1 / 3])

    seen = turn_hue(pixels, third)

    wanted = torch.stack([pixels[0], pixels[1].roll(1, 0), pixels[2].roll(-1, 0)])
    torch.testing.assert_close(seen, wanted, atol=1e-3, rtol=0)


def test_grey_pixels_have_no_hue_to_turn() -> None:
    pixels = grey(some(4))

    torch.testing.assert_close(turn_hue(pixels, torch.tensor([0.1, 0.2, 0.3, 0.4])), pixels, atol=1e-3, rtol=0)


def test_the_blur_is_scipy_s() -> None:
    pixels = some(1, channels=2, side=32)
    # One width for all: 2 px at this side.
    recipe = replace(GREY, blur_share=1.0, blur_px=(14.0, 14.0))

    seen = blurred(pixels, recipe, seeded())

    wanted = [ndimage.gaussian_filter(plane, 2.0, mode="mirror", radius=6) for plane in pixels[0].double().numpy()]
    np.testing.assert_allclose(seen[0].numpy(), np.stack(wanted), atol=1e-2)


def test_half_of_the_patches_are_blurred_and_the_others_left() -> None:
    pixels = some(1, channels=1, side=16).repeat(2000, 1, 1, 1)

    seen = blurred(pixels, replace(GREY, blur_px=(8.0, 16.0)), seeded())

    left = int((seen == pixels).flatten(1).all(dim=1).sum())
    assert abs(left - 1000) < 4 * math.sqrt(500)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_grey_recipe_keeps_the_channels_and_varies_them_together(channels: int) -> None:
    pixels = some(5, channels=1).expand(-1, channels, -1, -1)

    seen = view(pixels, replace(GREY, noise=0.0), seeded())

    assert seen.shape == pixels.shape
    torch.testing.assert_close(seen, seen[:, :1].expand_as(seen), atol=1e-3, rtol=0)


def test_the_recipe_follows_from_the_channels_unless_it_is_named() -> None:
    chosen = [recipe_for(channels) for channels in (1, 2, 3, 4)]

    assert chosen == [GREY, GREY, COLOUR, GREY]
    assert recipe_for(3, "grey") is GREY
    assert recipe_for(3, "colour") is COLOUR


def test_the_colour_recipe_is_refused_without_colours() -> None:
    with pytest.raises(ConfigError, match="images of 1 channels, it takes 3; use recipe grey"):
        recipe_for(1, "colour")


def test_an_unknown_recipe_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match='recipe is "sepia"; known recipes are colour, grey'):
        recipe_for(1, "sepia")


def test_two_views_of_a_patch_differ_and_stay_near_it() -> None:
    patches = some(8, channels=1, side=32) * 0.4 + 80
    generator = seeded(4)

    first, second = view(patches, GREY, generator), view(patches, GREY, generator)

    assert first.shape == patches.shape
    assert not torch.equal(first, second)
    # Brightness may move by ten grey levels, a small crop changes the mean of noise little.
    assert (first.mean(dim=(1, 2, 3)) - patches.mean(dim=(1, 2, 3))).abs().max() < 20


def test_a_bright_spot_is_in_nearly_every_view_of_its_patch() -> None:
    """A crop that loses the defect would teach that a defect is like no defect."""
    patches = torch.full((200, 1, 64, 64), 100.0)
    patches[:, :, 28:36, 28:36] = 250.0

    views = view(patches, GREY, seeded(6))

    assert (views.amax(dim=(1, 2, 3)) > 190).float().mean() > 0.99
