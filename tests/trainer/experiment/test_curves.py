"""The numbers of a learning curve, each against a second formula or the thesis' own tables."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InputError
from trainer.experiment.curves import (
    alc,
    bootstrap,
    labels_needed,
    labels_saved,
    labels_to_ceiling,
    mean_spread,
    normalised,
    normalised_alc,
    rising,
)

#: Tables 2.1 and 2.2 of the thesis: whole images, then crops.
WHOLE = [(238.0, 145.7), (255.0, 215.4), (256.5, 221.7), (253.0, 207.3), (249.5, 192.8), (247.9, 186.4), (255.5, 217.7)]
CROPS = [(212.6, 233.5), (215.6, 256.8), (215.2, 253.9), (215.8, 258.6)]

curves = st.lists(
    st.tuples(st.integers(1, 500), st.floats(0, 1)), min_size=2, max_size=12, unique_by=lambda point: point[0]
).map(sorted)


@given(curves)
def test_the_area_is_that_of_the_line_through_the_points(points: list[tuple[int, float]]) -> None:
    labels, values = zip(*points, strict=True)
    fine = np.arange(labels[0], labels[-1] + 1)

    # Between whole numbers of labels the line is straight: the sum over unit steps is exact.
    heights = np.interp(fine, labels, values)
    assert alc(labels, values) == pytest.approx((heights[:-1] + heights[1:]).sum() / 2)


@given(curves, st.floats(0, 0.4), st.floats(0.5, 1))
def test_the_normalised_area_follows_from_the_plain_one(
    points: list[tuple[int, float]], start: float, ceiling: float
) -> None:
    labels, values = zip(*points, strict=True)

    by_shift = (alc(labels, values) - start * (labels[-1] - labels[0])) / (ceiling - start)

    assert normalised_alc(labels, values, start=start, ceiling=ceiling) == pytest.approx(by_shift, abs=1e-9)


@pytest.mark.parametrize(("table", "ceiling"), [(WHOLE, 0.7534), (CROPS, 0.638)])
def test_the_thesis_tables_follow_from_each_other_by_this_normalisation(
    table: list[tuple[float, float]], ceiling: float
) -> None:
    plain, scaled = np.array(table).T
    # The thesis starts at about 51 % mIoU and says its ceilings: 75 % for images, "approximately 65 %" for crops.
    start = 0.51
    span = ((plain - scaled * (ceiling - start)) / start).mean()

    # One straight line of each row's area.
    ours = [normalised_alc([0, span], [start, 2 * area / span - start], ceiling=ceiling) for area in plain]

    # One span of labels fits all rows: about 400 images, eight cycles of 50.
    assert 350 < span < 410
    np.testing.assert_allclose(ours, scaled, atol=0.4)


def test_the_start_is_0_and_the_ceiling_1() -> None:
    assert normalised([0.5, 0.6, 0.7], start=0.5, ceiling=0.7).tolist() == pytest.approx([0, 0.5, 1])
    assert normalised_alc([10, 20], [0.5, 0.7], ceiling=0.7) == pytest.approx(5)
    with pytest.raises(InputError, match=r"starts at 0.7, its supervised ceiling is 0.6; the ceiling must be higher"):
        normalised([0.7], start=0.7, ceiling=0.6)


@given(curves, st.floats(0, 1))
def test_the_labels_needed_are_the_first_point_of_the_line_that_is_high_enough(
    points: list[tuple[int, float]], target: float
) -> None:
    labels, values = zip(*points, strict=True)

    needed = labels_needed(labels, values, target=target)

    if needed is None:
        assert max(values) < target
    else:
        assert np.interp(needed, labels, values) >= target - 1e-9
        before = np.linspace(labels[0], needed, 50)[:-1]
        assert needed == labels[0] or (np.interp(before, labels, values) < target + 1e-9).all()


def test_labels_are_interpolated_between_rounds_and_none_when_never_reached() -> None:
    labels, values = [100, 200, 400, 800], [0.3, 0.5, 0.45, 0.66]

    assert labels_needed(labels, values, target=0.4) == pytest.approx(150)
    assert labels_needed(labels, values, target=0.5) == 200
    assert labels_needed(labels, values, target=0.2) == 100
    assert labels_needed(labels, values, target=0.67) is None
    told = labels_to_ceiling(labels, values, ceiling=0.7)
    assert told[0.90] == pytest.approx(400 + 400 * (0.63 - 0.45) / 0.21)
    assert told[0.98] is None


def test_labels_saved_are_a_share_of_the_rivals() -> None:
    assert labels_saved(150, 200) == 0.25
    assert labels_saved(250, 200) == -0.25
    assert labels_saved(None, 200) is labels_saved(150, None) is None


def test_the_spread_is_the_sample_deviation_over_seeds() -> None:
    table = np.random.default_rng(0).random((5, 4))

    mean, spread = mean_spread(table.tolist())

    np.testing.assert_allclose(mean, table.sum(axis=0) / 5)
    np.testing.assert_allclose(spread**2, ((table**2).sum(axis=0) - 5 * mean**2) / 4)
    assert np.isnan(mean_spread([[0.5, 0.6]])[1]).all()
    with pytest.raises(InputError, match="expected finite"):
        mean_spread([[0.5, float("nan")]])


def test_the_bootstrap_interval_is_that_of_every_possible_resample() -> None:
    values = [0.1, 0.25, 0.7]
    resamples = np.array(np.meshgrid(values, values, values)).reshape(3, -1).mean(axis=0)

    low, high = bootstrap(values, np.random.default_rng(0), level=0.8)

    assert low == pytest.approx(np.quantile(resamples, 0.1, method="inverted_cdf"), abs=1e-9)
    assert high == pytest.approx(np.quantile(resamples, 0.9, method="inverted_cdf"), abs=1e-9)
    assert bootstrap([0.4], np.random.default_rng(0)) == (0.4, 0.4)


def test_the_bootstrap_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(3)

    intervals = [bootstrap(rng.normal(size=40).tolist(), rng, level=0.9) for _ in range(200)]

    assert 0.82 < np.mean([low <= 0 <= high for low, high in intervals]) < 0.96


@pytest.mark.parametrize(
    ("labels", "values"),
    [([1], [0.5]), ([1, 2], [0.5]), ([2, 1], [0.1, 0.2]), ([1, 1], [0.1, 0.2]), ([1, 2], [0.1, float("nan")])],
)
def test_what_is_no_curve_is_refused(labels: list[float], values: list[float]) -> None:
    with pytest.raises(InputError, match="curve: "):
        alc(labels, values)


def test_a_curve_made_rising_is_the_nearest_that_never_falls() -> None:
    values = np.random.default_rng(5).uniform(0, 1, 7)

    fitted = rising(values.tolist())

    # Pooling of adjacent violators, the textbook's way.
    blocks: list[list[float]] = []
    for value in values:
        blocks.append([value])
        while len(blocks) > 1 and np.mean(blocks[-2]) >= np.mean(blocks[-1]):
            last = blocks.pop()
            blocks[-1] += last
    np.testing.assert_allclose(fitted, [np.mean(block) for block in blocks for _ in block])
