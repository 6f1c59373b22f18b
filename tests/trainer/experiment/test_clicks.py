"""Clicks: what a region costs by its outline, and batches that spend a budget of them."""

from collections import Counter
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.stats import chisquare

from shared.errors import ConfigError
from trainer.experiment.clicks import OneLabel, Outline, fill, polygons, region_costs, simplified
from trainer.experiment.superpixels import Regions, connect, pieces
from trainer.selection.problem import SelectionError

SHAPES = arrays.arrays(np.bool_, st.tuples(st.integers(1, 8), st.integers(1, 8)))


def corners(shape: np.ndarray) -> int:
    """Count a shape's corners by the 2 x 2 windows: one where one or three pixels are set, two where two touch at a point."""
    padded = np.pad(shape, 1)
    count = 0
    for y, x in product(range(padded.shape[0] - 1), range(padded.shape[1] - 1)):
        window = padded[y : y + 2, x : x + 2]
        count += int(window.sum() in {1, 3}) + 2 * int(window.sum() == 2 and window[0, 0] == window[1, 1])
    return count


def area(rings: list[list[tuple[int, int]]]) -> float:
    """Sum the areas that rings enclose, holes negative, by the shoelace formula."""
    return sum(
        (here[1] * after[0] - after[1] * here[0]) / 2
        for ring in rings
        for here, after in zip(ring, [*ring[1:], ring[0]], strict=True)
    )


@given(SHAPES)
def test_polygons_turn_at_every_corner_and_enclose_the_shape(shape: np.ndarray) -> None:
    rings = polygons(shape)

    assert sum(map(len, rings)) == corners(shape)
    assert area(rings) == shape.sum()


@given(SHAPES)
def test_every_part_has_one_rim(shape: np.ndarray) -> None:
    part, count = pieces(shape.astype(np.int8))
    parts = sum(bool(shape[part == number].all()) for number in range(count))

    rings = polygons(shape)

    assert sum(area([ring]) > 0 for ring in rings) == parts


def test_a_square_with_a_hole_is_two_rings_of_four() -> None:
    shape = np.ones((5, 6), dtype=np.bool_)
    shape[2, 2:4] = False

    rings = polygons(shape)

    assert sorted(sorted(ring) for ring in rings) == [
        [(0, 0), (0, 6), (5, 0), (5, 6)],
        [(2, 2), (2, 4), (3, 2), (3, 4)],
    ]


@given(SHAPES, st.floats(0.0, 3.0))
def test_a_spared_corner_lies_within_the_tolerance_of_the_outline(shape: np.ndarray, tolerance: float) -> None:
    for ring in polygons(shape):
        kept = simplified(ring, tolerance_px=tolerance)

        assert 3 <= len(kept) <= len(ring)
        if len(kept) == 3 or len(set(ring)) < len(ring):
            continue
        places = [ring.index(corner) for corner in kept]
        assert places == sorted(places)
        for first, last in pairwise([*places, len(ring)]):
            for corner in ring[first + 1 : last]:
                assert to_line(corner, ring[first], ring[last % len(ring)]) <= tolerance + 1e-9


def to_line(point: tuple[int, int], start: tuple[int, int], end: tuple[int, int]) -> float:
    """Measure from a point to the endless line through two others: twice the triangle's area over its foot."""
    away, along = np.subtract(point, start), np.subtract(end, start)
    foot = float(np.hypot(*along))
    if foot == 0.0:
        return float(np.hypot(*away))
    return float(abs(away[0] * along[1] - away[1] * along[0]) / foot)


def test_stairs_cost_no_clicks_of_their_own() -> None:
    stairs = np.tril(np.ones((12, 12), dtype=np.bool_))
    (ring,) = polygons(stairs)

    assert len(ring) == 2 + 2 * 12
    assert len(simplified(ring, tolerance_px=1.0)) <= 5


def test_one_label_costs_one_click_whatever_the_region() -> None:
    regions = connect(np.arange(12, dtype=np.int32).reshape(3, 4) // 5)

    assert region_costs(OneLabel(), regions, np.eye(3, 4, dtype=np.uint8)).tolist() == [1] * regions.count


@given(st.integers(0, 2**32 - 1))
def test_an_outline_costs_its_corners_and_a_name_for_each_part(seed: int) -> None:
    rng = np.random.default_rng(seed)
    regions = connect(rng.integers(0, 3, (6, 7), dtype=np.int32))
    mask = rng.choice(np.array([0, 1, 255], dtype=np.uint8), (6, 7), p=[0.6, 0.3, 0.1])

    costs = region_costs(Outline(0.0), regions, mask)

    for region in range(regions.count):
        inside = regions.labels == region
        if len(np.unique(mask[inside])) == 1:
            assert costs[region] == 1
            continue
        expected = 0
        for value in (0, 1):
            part, count = pieces((inside & (mask == value)).astype(np.int8))
            shapes = [part == number for number in range(count)]
            expected += sum(corners(shape) + 1 for shape in shapes if (inside & (mask == value))[shape].all())
        assert costs[region] == expected


def test_a_tolerance_never_costs_more() -> None:
    rng = np.random.default_rng(0)
    regions = Regions(np.repeat(np.arange(2, dtype=np.int32), 200).reshape(20, 20), 2)
    mask = (np.add.outer(np.arange(20), np.arange(20)) + rng.integers(0, 3, (20, 20)) > 20).astype(np.uint8)

    exact, eased = (region_costs(Outline(tolerance), regions, mask) for tolerance in (0.0, 1.5))

    assert (eased <= exact).all()
    assert eased.sum() < exact.sum()
    with pytest.raises(ConfigError, match="tolerance_px -1; expected a number from 0"):
        Outline(-1.0)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=8),
    st.integers(1, 60),
    st.integers(0, 99),
)
def test_a_batch_follows_the_algorithm_of_the_paper(pairs: list[tuple[int, int]], budget: int, seed: int) -> None:
    # Scores differ by too little to change their order but where they would tie.
    scores = np.array([score + 0.01 * place for place, (score, _) in enumerate(pairs)])
    costs = np.array([cost for _, cost in pairs])
    left, expected, total = set(range(len(pairs))), [], 0
    while total < budget and left:
        best = max(left, key=lambda place: scores[place])
        left.remove(best)
        expected.append(best)
        total += pairs[best][1]

    if budget < costs.min():
        with pytest.raises(SelectionError, match=f"budget: {budget} clicks, the cheapest region costs {costs.min()};"):
            fill(scores, costs, budget_clicks=budget, rng=np.random.default_rng(seed))
        return
    found = fill(scores, costs, budget_clicks=budget, rng=np.random.default_rng(seed))

    assert found.indices.tolist() == expected
    assert found.clicks == total
    assert bool(found.notes) == (total < budget)


def test_the_last_region_may_go_beyond_the_budget_and_no_further_is_taken() -> None:
    found = fill(np.array([0.9, 0.1, 0.5]), np.array([3, 1, 9]), budget_clicks=4, rng=np.random.default_rng(0))

    assert found.indices.tolist() == [0, 2]
    assert found.clicks == 12


def test_equal_scores_are_taken_by_lot_and_again_the_same() -> None:
    scores, costs = np.full(5, 0.5), np.ones(5, dtype=np.intp)
    rng = np.random.default_rng(1)

    drawn = Counter(int(fill(scores, costs, budget_clicks=1, rng=rng).indices[0]) for _ in range(3_000))
    twice = [fill(scores, costs, budget_clicks=3, rng=np.random.default_rng(2)).indices.tolist() for _ in range(2)]

    assert chisquare([drawn[place] for place in range(5)]).pvalue > 1e-4
    assert twice[0] == twice[1]


@pytest.mark.parametrize(
    ("scores", "costs", "why"),
    [
        ([], [], "0 scores and 0 costs"),
        ([0.5], [1, 1], "1 scores and 2 costs"),
        ([0.5, float("nan")], [1, 1], "score 1 is no number"),
        ([0.5, 0.6], [1, 0], "a cost of 0 clicks"),
        ([0.5, 0.6], [7, 6], "budget: 5 clicks, the cheapest region costs 6"),
    ],
)
def test_what_cannot_be_filled_is_refused(scores: list[float], costs: list[int], why: str) -> None:
    rng = np.random.default_rng(0)
    before = rng.bit_generator.state

    with pytest.raises(SelectionError, match=why):
        fill(np.array(scores), np.array(costs, dtype=np.intp), budget_clicks=5, rng=rng)

    assert rng.bit_generator.state == before
