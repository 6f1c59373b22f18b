"""The gate: worse is refused, equal and better pass, chance is told from a fall."""

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.config import GateTable
from shared.errors import StateError
from trainer.learning.metrics import miou
from trainer.release.gate import RESAMPLES, judge, worse_share

CLASSES = ("background", "scratch", "dent")


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def reference(n: int, hit: float, seed: int = 1) -> NDArray[np.int64]:
    """Matrices of ``n`` patches with 100 pixels of one class each, about ``hit`` of them right, the rest background."""
    chance = np.random.default_rng(seed)
    counts = np.zeros((n, 3, 3), dtype=np.int64)
    for index in range(n):
        kind = index % 3
        right = 100 if kind == 0 else int(chance.binomial(100, hit))
        counts[index, kind, kind] = right
        counts[index, kind, 0] += 100 - right
    return counts


def test_the_first_run_of_a_line_passes() -> None:
    report = judge(reference(12, 0.3), None, GateTable(), classes=CLASSES, rng=rng())

    assert report.passed
    assert report.miou == pytest.approx(miou(reference(12, 0.3).sum(axis=0)))
    assert report.miou_before is None
    assert report.patches == 12


def test_an_equal_run_passes_with_even_odds() -> None:
    report = judge(reference(12, 0.6), reference(12, 0.6), GateTable(max_drop=0.0), classes=CLASSES, rng=rng())

    assert report.passed
    assert report.worse_share == 0.5


def test_a_better_run_passes() -> None:
    assert judge(reference(30, 0.9), reference(30, 0.5), GateTable(max_drop=0.0), classes=CLASSES, rng=rng()).passed


def test_a_worse_run_is_refused_with_the_numbers() -> None:
    report = judge(reference(30, 0.4), reference(30, 0.9), GateTable(max_drop=0.05), classes=CLASSES, rng=rng())

    assert not report.passed
    (reason,) = report.reasons
    assert f"mIoU {report.miou:.3f}" in reason
    assert f"({report.miou_before:.3f}), allowed is 0.050" in reason


def test_a_fall_within_the_allowance_passes() -> None:
    new, old = reference(300, 0.75), reference(300, 0.80)

    report = judge(new, old, GateTable(max_drop=0.1), classes=CLASSES, rng=rng())

    assert report.worse_share > 0.99
    assert report.passed


def test_a_fall_that_one_patch_makes_is_chance() -> None:
    old = reference(9, 0.6)
    new = old.copy()
    # Every patch but one is a little better, one is lost entirely.
    for index in (2, 4, 5, 7, 8):
        new[index, :, 0] = 0
        kind = index % 3
        new[index, kind, kind] = old[index, kind, kind] + 8
        new[index, kind, 0] = 100 - new[index, kind, kind]
    new[1] = np.array([[0, 0, 0], [100, 0, 0], [0, 0, 0]])

    report = judge(new, old, GateTable(max_drop=0.0), classes=CLASSES, rng=rng())

    assert report.miou < report.miou_before
    assert report.worse_share < 0.9
    assert report.passed


def test_a_class_under_its_floor_is_refused_by_name() -> None:
    counts = reference(30, 0.5)

    report = judge(counts, None, GateTable(class_floors={"dent": 0.9}), classes=CLASSES, rng=rng())

    assert not report.passed
    assert 'class "dent"' in report.reasons[0]
    assert "its floor is 0.900" in report.reasons[0]


def test_a_floor_of_a_class_the_reference_lacks_judges_nothing() -> None:
    counts = np.zeros((4, 3, 3), dtype=np.int64)
    counts[:, 0, 0] = 90
    counts[:, 0, 2] = 10

    report = judge(counts, None, GateTable(class_floors={"dent": 0.9}), classes=CLASSES, rng=rng())

    assert report.passed
    assert report.per_class == {"background": pytest.approx(0.9), "scratch": None, "dent": 0.0}


def test_without_reference_patches_nothing_can_be_judged() -> None:
    empty = np.zeros((0, 3, 3), dtype=np.int64)

    report = judge(empty, empty, GateTable(), classes=CLASSES, rng=rng())

    assert not report.passed
    assert report.miou is None
    assert "label reference patches first" in report.reasons[0]


def test_matrices_of_different_reference_sets_are_refused() -> None:
    with pytest.raises(StateError, match="same reference patches"):
        judge(reference(4, 0.5), reference(5, 0.5), GateTable(), classes=CLASSES, rng=rng())


def test_the_bootstrap_agrees_with_resampling_one_by_one() -> None:
    new, old = reference(10, 0.55, seed=1), reference(10, 0.6, seed=2)
    draws = np.random.default_rng(8)
    worse = 0.0
    for _ in range(RESAMPLES):
        drawn = draws.integers(0, 10, size=10)
        mine, theirs = miou(new[drawn].sum(axis=0)), miou(old[drawn].sum(axis=0))
        worse += float(mine < theirs) + 0.5 * float(mine == theirs)

    # Two samples of 1,000: their difference has a standard error of at most 0.0224.
    assert worse_share(new, old, rng()) == pytest.approx(worse / RESAMPLES, abs=4 * 0.0224)


def test_the_bootstrap_is_paired() -> None:
    """Two models that are right on the same patches, one a hair better everywhere: pairing shows it, chance cannot."""
    old = reference(12, 0.5)
    new = old.copy()
    for index in range(12):
        kind = index % 3
        if kind:
            new[index, kind, kind] += 1
            new[index, kind, 0] -= 1

    assert worse_share(new, old, rng()) < 0.02
    assert worse_share(old, new, rng()) > 0.98
