"""The gate: worse is refused, equal and better pass, chance is told from a fall, and what is too small to say is said."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.config import GateTable
from shared.errors import StateError
from trainer.learning.calibration import Reliability
from trainer.learning.metrics import miou
from trainer.release.gate import GateReport, Measured, judge
from trainer.release.latency import Latency

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


def judged(
    counts: NDArray[np.int64], before: NDArray[np.int64] | None, settings: GateTable, **measured: Any
) -> GateReport:
    return judge(Measured(counts, **measured), before, settings, classes=CLASSES, rng=rng())


def test_the_first_run_of_a_line_passes() -> None:
    report = judged(reference(12, 0.3), None, GateTable())

    assert report.passed
    assert report.miou == pytest.approx(miou(reference(12, 0.3).sum(axis=0)))
    assert report.miou_before is None
    assert report.patches == 12


def test_an_equal_run_passes_with_even_odds() -> None:
    report = judged(reference(12, 0.6), reference(12, 0.6), GateTable(max_drop=0.0))

    assert report.passed
    assert report.worse_share == 0.5


def test_a_better_run_passes() -> None:
    assert judged(reference(30, 0.9), reference(30, 0.5), GateTable(max_drop=0.0)).passed


def test_a_worse_run_is_refused_with_the_numbers() -> None:
    report = judged(reference(30, 0.4), reference(30, 0.9), GateTable(max_drop=0.05))

    assert not report.passed
    (reason,) = report.reasons
    assert f"mIoU {report.miou:.3f}" in reason
    assert f"({report.miou_before:.3f}), allowed is 0.050" in reason


def test_a_fall_within_the_allowance_passes() -> None:
    new, old = reference(300, 0.75), reference(300, 0.80)

    report = judged(new, old, GateTable(max_drop=0.1))

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

    report = judged(new, old, GateTable(max_drop=0.0))

    assert report.miou < report.miou_before
    assert report.worse_share < 0.9
    assert report.passed


def test_a_class_under_its_floor_is_refused_by_name() -> None:
    counts = reference(30, 0.5)

    report = judged(counts, None, GateTable(class_floors={"dent": 0.9}))

    assert not report.passed
    assert 'class "dent"' in report.reasons[0]
    assert "its floor is 0.900" in report.reasons[0]


def test_a_floor_of_a_class_the_reference_lacks_judges_nothing() -> None:
    counts = np.zeros((4, 3, 3), dtype=np.int64)
    counts[:, 0, 0] = 90
    counts[:, 0, 2] = 10

    report = judged(counts, None, GateTable(class_floors={"dent": 0.9}))

    assert report.passed
    assert report.per_class == {"background": pytest.approx(0.9), "scratch": None, "dent": 0.0}


def test_without_reference_patches_nothing_can_be_judged() -> None:
    empty = np.zeros((0, 3, 3), dtype=np.int64)

    report = judged(empty, empty, GateTable())

    assert not report.passed
    assert report.miou is None
    assert "label reference patches first" in report.reasons[0]


def test_matrices_of_different_reference_sets_are_refused() -> None:
    with pytest.raises(StateError, match="same reference patches"):
        judged(reference(4, 0.5), reference(5, 0.5), GateTable())


def test_a_class_under_its_floor_on_too_few_patches_is_not_judged_and_said_so() -> None:
    counts = reference(12, 0.3)

    report = judged(counts, None, GateTable(class_floors={"dent": 0.9}, class_patches=5))

    assert report.passed
    assert 'class "dent": 4 reference patches hold it, 5 are needed; its floor 0.900 is not judged' in report.notes


def test_a_class_under_its_floor_within_noise_is_told_as_unsure() -> None:
    counts = reference(30, 0.5)
    value = judged(counts, None, GateTable()).per_class["dent"]
    assert value is not None

    report = judged(counts, None, GateTable(class_floors={"dent": value + 0.005}))

    assert report.passed
    (note,) = report.notes
    assert note.startswith(f'class "dent": IoU {value:.3f} (')
    assert note.endswith(f"on 10 reference patches), its floor is {value + 0.005:.3f}: unsure, not refused")


def test_a_fall_that_may_be_chance_is_told_as_unsure() -> None:
    old = reference(9, 0.6)
    new = old.copy()
    new[1] = np.array([[0, 0, 0], [100, 0, 0], [0, 0, 0]])
    for index in (2, 4, 5, 7, 8):
        kind = index % 3
        new[index] = 0
        new[index, kind, kind] = old[index, kind, kind] + 8
        new[index, kind, 0] = 92 - old[index, kind, kind]

    report = judged(new, old, GateTable(max_drop=0.0))

    assert report.passed
    assert any("90% would be sure: not refused" in note for note in report.notes)


def test_every_class_is_told_with_its_patches_and_the_rare_ones_by_name() -> None:
    counts = reference(7, 0.5)

    report = judged(counts, None, GateTable())

    assert {name: found.patches for name, found in report.classes.items()} == {
        "background": 3,
        "scratch": 2,
        "dent": 2,
    }
    assert report.notes == ("too few reference patches to judge by, of 7: background 3, scratch 2, dent 2",)


def confidences(n: int, *, sure: float, right: float) -> tuple[Reliability, ...]:
    """Patches of 100 pixels, all predicted with one confidence; the share that is right varies by patch."""
    chance = np.random.default_rng(3)
    hits = chance.binomial(100, right, size=n)
    shares = np.stack([np.full((100,), sure), np.full((100,), 1 - sure)])[None, :, :, None]
    found = []
    for count in hits:
        truth = np.ones((1, 100, 1), dtype=np.uint8)
        truth[:, :count] = 0
        found.append(Reliability.of(shares, truth))
    return tuple(found)


def test_a_run_that_is_surer_than_it_is_right_is_refused_with_the_numbers() -> None:
    report = judged(reference(30, 0.6), None, GateTable(max_ece=0.1), reliability=confidences(30, sure=0.9, right=0.6))

    assert not report.passed
    (reason,) = report.reasons
    assert reason.startswith(f"confidence is {report.ece:.3f} away from accuracy (at least 0.")
    assert reason.endswith("allowed is 0.100")


def test_a_calibration_error_that_few_patches_make_is_told_as_unsure() -> None:
    chance = confidences(4, sure=0.9, right=0.8)
    error = sum(chance, Reliability.none()).ece

    report = judged(reference(4, 0.6), None, GateTable(max_ece=error - 0.001), reliability=chance)

    assert report.passed
    assert report.ece == pytest.approx(error)
    assert any("away from accuracy" in note and note.endswith("unsure, not refused") for note in report.notes)


def test_a_run_whose_confidence_is_its_accuracy_passes() -> None:
    report = judged(reference(30, 0.6), None, GateTable(), reliability=confidences(30, sure=0.8, right=0.8))

    assert report.passed
    assert report.ece is not None
    assert report.ece < 0.05


@pytest.mark.parametrize(("limit", "passes"), [(None, True), (12.0, True), (11.9, False)])
def test_a_graph_that_takes_too_long_is_refused_where_there_is_a_limit(
    limit: float | None, passes: bool
) -> None:  # a row of the table
    slow = Latency(12.0, 10.5, "cpu", 1)

    report = judged(reference(30, 0.6), None, GateTable(latency_ms=limit), latency=slow)

    assert report.passed is passes
    if not passes:
        assert report.reasons == (
            "a tile takes 12.0 ms on cpu with 1 threads, the release in service 10.5 ms, allowed are 11.9 ms",
        )
