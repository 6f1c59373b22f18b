"""Pixels as units: drawn among the most uncertain or kept apart, and masks that know only them."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from shared.errors import ConfigError, InputError
from trainer.experiment.pixelpick import NOTHING, PIXELPICK, Among, Apart, pick, pixel_mask
from trainer.selection.problem import SelectionError


def test_every_pair_of_the_top_share_is_as_likely_as_any_other() -> None:
    uncertainty = np.random.default_rng(0).permutation(20.0 + np.arange(20)).reshape(4, 5)
    rng = np.random.default_rng(1)
    top = [tuple(place) for place in np.argwhere(uncertainty >= 35.0).tolist()]

    drawn = Counter(
        frozenset(map(tuple, pick(Among(0.25), uncertainty, 2, known=NOTHING, rng=rng).tolist())) for _ in range(5_000)
    )

    pairs = [frozenset(pair) for pair in combinations(top, 2)]
    assert set(drawn) == set(pairs)
    assert chisquare([drawn[pair] for pair in pairs]).pvalue > 1e-4


def test_a_share_of_all_draws_from_all() -> None:
    uncertainty = np.arange(6.0).reshape(2, 3)
    rng = np.random.default_rng(2)

    drawn = Counter(tuple(pick(Among(1.0), uncertainty, 1, known=NOTHING, rng=rng)[0].tolist()) for _ in range(3_000))

    assert len(drawn) == 6
    assert chisquare(list(drawn.values())).pvalue > 1e-4


def test_a_share_too_small_for_the_pixels_asked_for_takes_the_top_ones() -> None:
    uncertainty = np.arange(40.0).reshape(5, 8)

    found = pick(PIXELPICK, uncertainty, 4, known=NOTHING, rng=np.random.default_rng(3))

    assert sorted(uncertainty[tuple(found.T)].tolist()) == [36.0, 37.0, 38.0, 39.0]


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 3.5))
def test_pixels_apart_are_the_greedy_walk_down_the_ranking(seed: int, distance: float) -> None:
    rng = np.random.default_rng(seed)
    uncertainty = rng.permutation(42).reshape(6, 7).astype(np.float64)
    known = np.array([[2, 3], [5, 6]])
    expected: list[tuple[int, int]] = []
    for value in range(41, -1, -1):
        y, x = (int(at) for at in np.argwhere(uncertainty == value)[0])
        blocked = [*map(tuple, known.tolist()), *expected]
        if (y, x) not in blocked and all(np.hypot(y - v, x - u) >= distance for v, u in blocked):
            expected.append((y, x))

    found = pick(Apart(distance), uncertainty, len(expected), known=known, rng=rng)

    assert list(map(tuple, found.tolist())) == expected
    with pytest.raises(SelectionError) as refused:
        pick(Apart(distance), uncertainty, len(expected) + 1, known=known, rng=rng)
    assert refused.value.possible == len(expected)


def test_equal_uncertainties_are_picked_by_lot() -> None:
    flat = np.zeros((3, 4))
    rng = np.random.default_rng(4)

    drawn = Counter(tuple(pick(Apart(1.0), flat, 1, known=NOTHING, rng=rng)[0].tolist()) for _ in range(4_000))
    twice = [pick(Apart(1.0), flat, 5, known=NOTHING, rng=np.random.default_rng(5)).tolist() for _ in range(2)]

    assert len(drawn) == 12
    assert chisquare(list(drawn.values())).pvalue > 1e-4
    assert twice[0] == twice[1]


@pytest.mark.parametrize("rule", [Among(1.0), Apart(0.0)])
def test_no_pixel_is_picked_twice_or_where_none_may_be(rule: Among | Apart) -> None:
    uncertainty = np.random.default_rng(6).random((4, 4))
    known = np.array([[0, 0], [3, 3]])
    allowed = np.ones((4, 4), dtype=np.bool_)
    allowed[1] = False

    found = pick(rule, uncertainty, 10, known=known, allowed=allowed, rng=np.random.default_rng(7)).tolist()

    assert len(set(map(tuple, found))) == 10
    assert all(y != 1 and [y, x] not in known.tolist() for y, x in found)
    assert allowed.sum() == 12
    with pytest.raises(SelectionError, match="pixels: 11 asked for, the image has 10 to pick") as refused:
        pick(rule, uncertainty, 11, known=known, allowed=allowed, rng=np.random.default_rng(7))
    assert refused.value.possible == 10


def test_a_mask_of_pixels_knows_nothing_else() -> None:
    mask = np.random.default_rng(8).integers(0, 3, (5, 6), dtype=np.uint8)
    pixels = np.array([[0, 5], [4, 0], [2, 2]])

    only = pixel_mask(mask, pixels)

    for y, x in np.ndindex(5, 6):
        assert only[y, x] == (mask[y, x] if [y, x] in pixels.tolist() else 255)


@pytest.mark.parametrize("pixel", [(-1, 0), (0, -1), (5, 0), (0, 6)])
def test_a_pixel_outside_its_image_is_refused(pixel: tuple[int, int]) -> None:
    mask = np.zeros((5, 6), dtype=np.uint8)

    with pytest.raises(InputError, match=rf"pixel {pixel[0]}, {pixel[1]}: the mask is 5 x 6"):
        pixel_mask(mask, np.array([(1, 1), pixel]))


def test_rules_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="top_share 0; expected above 0 and at most 1"):
        Among(0.0)
    with pytest.raises(ConfigError, match="top_share nan"):
        Among(float("nan"))
    with pytest.raises(ConfigError, match="distance_px -1; expected a number from 0"):
        Apart(-1.0)
    with pytest.raises(ConfigError, match="distance_px nan"):
        Apart(float("nan"))
    with pytest.raises(SelectionError, match="pixels: 0 asked for"):
        pick(PIXELPICK, np.zeros((2, 2)), 0, known=NOTHING, rng=np.random.default_rng(0))
    with pytest.raises(SelectionError, match="an uncertainty is not a number"):
        pick(PIXELPICK, np.full((2, 2), np.nan), 1, known=NOTHING, rng=np.random.default_rng(0))
