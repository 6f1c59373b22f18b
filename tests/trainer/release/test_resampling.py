"""Bounds from few patches: held against resampling one by one, and against populations whose truth is known."""

import numpy as np
import pytest
from numpy.typing import NDArray

from trainer.learning.calibration import Reliability
from trainer.learning.metrics import iou, miou
from trainer.release.resampling import RESAMPLES, WRONG, class_bounds, draw, expanded, surest_error, worse_share

#: Reference sets drawn from one population. The binomial's four standard deviations above 5 % of 200 are 12.
SETS = 200
TOLERATED = 0.05 * SETS + 4 * (SETS * 0.05 * 0.95) ** 0.5


def rng(seed: int = 5) -> np.random.Generator:
    return np.random.default_rng(seed)


def patches(n: int, hits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Matrices of two classes: each patch has 100 pixels of class 1, some of them found."""
    counts = np.zeros((n, 2, 2), dtype=np.int64)
    counts[:, 0, 0] = 200
    counts[:, 1, 1], counts[:, 1, 0] = hits, 100 - hits
    return counts


def test_the_bootstrap_agrees_with_resampling_one_by_one() -> None:
    chance = rng(1)
    new, old = (patches(10, chance.binomial(100, hit, size=10)) for hit in (0.55, 0.6))
    draws, worse = rng(8), 0.0
    for _ in range(RESAMPLES):
        drawn = draws.integers(0, 10, size=10)
        mine, theirs = miou(new[drawn].sum(axis=0)), miou(old[drawn].sum(axis=0))
        worse += float(mine < theirs) + 0.5 * float(mine == theirs)

    # Two samples of 1,000: their difference has a standard error of at most 0.0224.
    assert worse_share(new, old, draw(10, rng())) == pytest.approx(worse / RESAMPLES, abs=4 * 0.0224)


def test_the_bootstrap_is_paired() -> None:
    """Two models that are right on the same patches, one a hair better everywhere: pairing shows it, chance cannot."""
    hits = rng(2).binomial(100, 0.5, size=12)
    old, new = patches(12, hits), patches(12, hits + 1)

    assert worse_share(new, old, draw(12, rng())) < 0.02
    assert worse_share(old, new, draw(12, rng())) > 0.98


def test_bounds_agree_with_resampling_one_by_one() -> None:
    counts = patches(20, rng(3).binomial(100, rng(4).beta(2, 2, size=20)))
    draws = rng(9)
    shares = [iou(counts[draws.integers(0, 20, size=20)].sum(axis=0))[1] for _ in range(RESAMPLES)]

    found = class_bounds(counts, draw(20, rng()))[1]

    # The far percentile of 1,000 values is itself uncertain by about a tenth of their spread.
    assert found.low == pytest.approx(np.quantile(shares, expanded(20)), abs=0.25 * np.std(shares))
    assert found.high == pytest.approx(np.quantile(shares, 1 - expanded(20)), abs=0.25 * np.std(shares))
    assert found.value == pytest.approx(iou(counts.sum(axis=0))[1])


@pytest.mark.parametrize("n", [5, 8, 20])
def test_a_class_that_is_just_at_its_floor_is_hardly_ever_below_its_upper_bound(n: int) -> None:
    """The floor is the population's own IoU: whoever is refused there is refused by chance."""
    chance = rng(n)
    # Patches of one population: the share that is found of each has the mean 0.6.
    sets = [patches(n, chance.binomial(100, chance.beta(3, 2, size=n))) for _ in range(SETS)]

    highs = [class_bounds(counts, draw(n, chance))[1].high for counts in sets]

    refused = sum(high is not None and high < 0.6 for high in highs)
    assert refused <= TOLERATED


@pytest.mark.parametrize("n", [5, 10])
def test_a_class_that_is_found_whole_or_missed_whole_is_not_refused_by_a_run_of_misses(n: int) -> None:
    chance = rng(n)
    sets = [patches(n, 100 * chance.binomial(1, 0.3, size=n)) for _ in range(SETS)]

    highs = [class_bounds(counts, draw(n, chance))[1].high for counts in sets]

    assert sum(high is not None and high < 0.3 for high in highs) <= TOLERATED


def test_bounds_of_a_class_that_is_far_below_lie_below() -> None:
    counts = patches(10, rng(6).binomial(100, 0.2, size=10))

    high = class_bounds(counts, draw(10, rng()))[1].high

    assert high is not None
    assert high < 0.3


def test_few_patches_have_no_bounds() -> None:
    assert expanded(5) < WRONG
    assert expanded(500) == pytest.approx(WRONG, abs=1e-3)
    found = class_bounds(patches(3, np.array([40, 50, 60])), draw(3, rng()))[1]

    assert (found.patches, found.low, found.high) == (3, None, None)
    assert found.value == pytest.approx(0.5)


def confidence_of(n: int, chance: np.random.Generator) -> tuple[Reliability, ...]:
    """Patches of 50 pixels whose confidence is the chance that they are right, hard and easy patches apart."""
    found = []
    for sure in chance.uniform(0.6, 0.99, size=n):
        hits = int(chance.binomial(50, sure))
        shares = np.stack([np.full(50, sure), np.full(50, 1 - sure)])[None, :, :, None]
        truth = np.ones((1, 50, 1), dtype=np.uint8)
        truth[:, :hits] = 0
        found.append(Reliability.of(shares, truth))
    return tuple(found)


def test_a_calibrated_model_is_hardly_ever_surely_off() -> None:
    chance = rng(11)
    bounds = [surest_error(confidence_of(12, chance), draw(12, chance)) for _ in range(SETS)]

    # Its error is 0: whatever is surely above a hundredth is so by chance.
    assert sum(bound > 0.01 for bound in bounds) <= TOLERATED
