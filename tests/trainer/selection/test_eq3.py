"""Eq. 3 of the paper: as the distance it is argued to be, and as it is written."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer.selection.law import analytic_inclusion
from trainer.selection.kernels import eq3
from trainer.selection.kernels.eq3 import (
    LEVELS,
    Eq3DistanceForm,
    Eq3DistanceKernel,
    diagnose_literal,
    literal,
    refuse_literal,
)
from trainer.selection.kernels.kernel import LowRankForm
from trainer.selection.numbers import Floats, Vectors
from trainer.selection.problem import SelectionError
from trainer.selection.samplers.dense import DenseKdpp

A, B = 0.4, 0.6


def unit_rows(rng: np.random.Generator, n: int, d: int) -> Vectors:
    rows = rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def dense(form: LowRankForm) -> Floats:
    features = form.features(slice(None))
    return features @ features.T + np.diag(form.nuggets())


def whole(kernel: Eq3DistanceKernel) -> Floats:
    return kernel.among(np.arange(len(kernel.scores)))


def six_clusters() -> tuple[Vectors, Floats]:
    """Six clusters of a hundred, alike but for how uncertain they are."""
    rng = np.random.default_rng(3)
    centres = rng.normal(size=(6, 64))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rows = np.repeat(centres, 100, axis=0) + 0.06 * rng.normal(size=(600, 64))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.repeat([0.05, 0.2, 0.4, 0.6, 0.8, 0.95], 100)


def test_the_kernel_is_one_less_the_distance() -> None:
    rng = np.random.default_rng(0)
    embeddings, scores = unit_rows(rng, 12, 4), rng.random(12)
    embeddings[5] = embeddings[2]
    kernel = Eq3DistanceKernel(embeddings, scores, a=0.3, b=0.5)

    found = whole(kernel)

    rows = embeddings.astype(float) / np.linalg.norm(embeddings.astype(float), axis=1, keepdims=True)
    distances = [
        [0.0 if i == j else 0.3 * max(scores[i], scores[j]) + 0.5 * (1 - rows[i] @ rows[j]) for j in range(12)]
        for i in range(12)
    ]
    np.testing.assert_allclose(found, 1 - np.array(distances), atol=1e-14)
    np.testing.assert_array_equal(found.diagonal(), kernel.diagonal())
    np.testing.assert_array_equal(kernel.across(np.array([5, 1]), np.array([2, 5])), found[np.ix_([5, 1], [2, 5])])
    assert kernel.labelled.shape == (0, 4)
    assert kernel.explained(np.arange(3), np.arange(0)).shape == (3, 0)


@given(
    seed=st.integers(0, 2**32 - 1),
    a=st.floats(0, 1),
    share=st.floats(0, 1),
    scores=st.lists(st.sampled_from([0.0, 0.1, 0.1 + 1e-9, 0.5, 1.0]) | st.floats(0, 1), min_size=2, max_size=12),
)
def test_it_is_positive_on_its_whole_domain(seed: int, a: float, share: float, scores: list[float]) -> None:
    rng = np.random.default_rng(seed)
    n, b = len(scores), max(1e-6, (1 - a) * share)
    twins = rng.integers(0, n, n)
    kernel = Eq3DistanceKernel(unit_rows(rng, n, 3)[twins], np.array(scores), a=a - 1e-6 * (a > 0.5), b=b)

    smallest = np.linalg.eigvalsh(whole(kernel))[0]

    assert smallest >= kernel.a * min(scores) - 1e-9


def test_its_rank_is_never_above_the_bound() -> None:
    rng = np.random.default_rng(1)
    embeddings = unit_rows(rng, 30, 4)

    for certain in (0, 3, 20, 30):
        for a, b in ((0.4, 0.6), (0.0, 1.0), (1.0, 0.0), (0.2, 0.3)):
            scores = np.concatenate([np.zeros(certain), rng.uniform(0.1, 1, 30 - certain)])
            kernel = Eq3DistanceKernel(embeddings, scores, a=a, b=b)

            rank = np.linalg.matrix_rank(whole(kernel), tol=1e-6)

            assert rank <= kernel.rank_bound() <= 30


@pytest.mark.parametrize("make", [Eq3DistanceKernel, Eq3DistanceForm.of])
@pytest.mark.parametrize(
    ("scores", "a", "b", "said"),
    [
        ([0.2, 1.5], 0.4, 0.6, "patch 1 has score 1.5"),
        ([-0.1, 0.5], 0.4, 0.6, "patch 0 has score -0.1"),
        ([0.2, np.nan], 0.4, 0.6, "patch 1 has score nan"),
        ([0.2, 0.5], 0.7, 0.6, "a = 0.7 and b = 0.6"),
        ([0.2, 0.5], -0.1, 0.6, "a = -0.1 and b = 0.6"),
        ([0.2, 0.5], 0.4, -0.6, "a = 0.4 and b = -0.6"),
        ([0.2, 0.5], np.nan, 0.6, "a = nan and b = 0.6"),
        ([0.2, 0.5], 0.0, 0.0, "a = 0 and b = 0"),
    ],
)
def test_outside_its_domain_it_is_refused(make: object, scores: list[float], a: float, b: float, said: str) -> None:
    given_scores = np.array(scores)

    with pytest.raises(SelectionError, match=f"^eq3-distance: {said}"):
        make(unit_rows(np.random.default_rng(0), 2, 3), given_scores, a=a, b=b)

    np.testing.assert_array_equal(given_scores, scores)


@pytest.mark.parametrize(("a", "b"), [(0.4, 0.6), (0.3, 0.2), (1.0, 0.0), (0.0, 1.0)])
def test_with_few_different_scores_the_form_is_the_kernel(a: float, b: float) -> None:
    rng = np.random.default_rng(2)
    embeddings, scores = unit_rows(rng, 60, 5), rng.choice(np.array([0.0, 0.05, 0.3, 0.31, 0.9, 1.0]), 60)

    form = Eq3DistanceForm.of(embeddings, scores, a=a, b=b)

    np.testing.assert_allclose(dense(form), whole(Eq3DistanceKernel(embeddings, scores, a=a, b=b)), atol=1e-14)


def few_certain(rng: np.random.Generator, n: int, certain: int) -> Floats:
    """Scores of a pool that is uncertain but for its first patches."""
    return np.concatenate([rng.uniform(0.0, 0.2, certain), rng.uniform(0.85, 0.95, n - certain)])


@pytest.mark.parametrize("levels", [2, 4, LEVELS])
@pytest.mark.parametrize("scores", ["skewed", "few certain", "few uncertain", "one apart", "tied"])
def test_with_many_it_is_below_the_kernel_by_at_most_two_steps_of_its_range(
    scores: str, levels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(3)
    embeddings = unit_rows(rng, 200, 5)
    given_scores = {
        "skewed": rng.beta(0.5, 2.5, 200),
        "few certain": few_certain(rng, 200, 5),
        "few uncertain": 1.0 - few_certain(rng, 200, 5),
        "one apart": np.append(rng.uniform(0.5, 0.5001, 199), 1.0),
        "tied": np.append(np.repeat([0.0, 1.0], 80), rng.random(40)),
    }[scores]
    monkeypatch.setattr(eq3, "LEVELS", levels)

    form = Eq3DistanceForm.of(embeddings, given_scores, a=A, b=B)

    lost = whole(Eq3DistanceKernel(embeddings, given_scores, a=A, b=B)) - dense(form)
    assert form.rank == 5 + levels
    assert lost.min() > -1e-14
    assert lost.max() <= A * 2.0 / (levels - 1) * np.ptp(given_scores) + 1e-14
    assert np.abs(lost.diagonal()).max() < 1e-14
    assert form.nuggets().min() >= 0.0


def test_few_certain_patches_among_many_uncertain_are_drawn_as_rarely_as_by_the_kernel() -> None:
    """Ten of two hundred: rounded down to the others' certainty they would be drawn as often as these."""
    rng = np.random.default_rng(9)
    embeddings, scores = unit_rows(rng, 200, 8), few_certain(rng, 200, 10)

    form = Eq3DistanceForm.of(embeddings, scores, a=A, b=B)

    found = DenseKdpp.of(dense(form)).sized(40).inclusion()
    expected = DenseKdpp.of(whole(Eq3DistanceKernel(embeddings, scores, a=A, b=B))).sized(40).inclusion()
    assert expected[:10].mean() < 0.8 * expected[10:].mean()
    assert found[:10].mean() == pytest.approx(expected[:10].mean(), rel=0.03)
    assert found[10:].mean() == pytest.approx(expected[10:].mean(), rel=0.03)
    np.testing.assert_array_less(form.nuggets()[:10], A * (scores[:10] + 2.0 / (LEVELS - 1)))


def test_features_are_the_same_by_slice_and_by_index() -> None:
    rng = np.random.default_rng(4)
    form = Eq3DistanceForm.of(unit_rows(rng, 50, 5), rng.random(50), a=A, b=B)

    whole_matrix = form.features(slice(None))

    np.testing.assert_array_equal(form.features(np.array([7, 3])), whole_matrix[[7, 3]])
    np.testing.assert_array_equal(form.features(slice(10, 20)), whole_matrix[10:20])


def test_the_labelled_are_as_alike_as_patches_without_uncertainty() -> None:
    rng = np.random.default_rng(5)
    embeddings, scores = unit_rows(rng, 20, 4), rng.choice(np.array([0.0, 0.3, 0.8]), 20)
    labelled = unit_rows(rng, 3, 4)
    form = Eq3DistanceForm.of(embeddings, scores, a=A, b=B)

    across = form.features(slice(None)) @ form.certain(labelled).T

    together = Eq3DistanceKernel(np.concatenate([embeddings, labelled]), np.append(scores, np.zeros(3)), a=A, b=B)
    np.testing.assert_allclose(across, together.across(np.arange(20), np.arange(20, 23)), atol=1e-14)


def test_uncertain_clusters_get_more_of_the_batch() -> None:
    embeddings, scores = six_clusters()

    inclusion = analytic_inclusion(whole(Eq3DistanceKernel(embeddings, scores, a=A, b=B)), 48)

    counts = inclusion.reshape(6, 100).sum(axis=1)
    assert (np.diff(counts) > 0).all()
    assert counts[-1] / counts[0] >= 2


def test_taken_literally_eq_3_ignores_uncertainty() -> None:
    embeddings, scores = six_clusters()
    values, vectors = np.linalg.eigh(literal(embeddings, scores, a=A, b=B))
    clipped = (vectors * np.clip(values, 0, None)) @ vectors.T

    inclusion = analytic_inclusion(clipped, 48)

    counts = inclusion.reshape(6, 100).sum(axis=1)
    assert abs(counts[-1] / counts[0] - 1) <= 0.02


@pytest.mark.parametrize(("n", "d"), [(200, 4), (300, 16)])
def test_the_literal_form_has_as_many_negative_eigenvalues_as_it_must(n: int, d: int) -> None:
    """With different scores it is negative wherever neither the mean nor an embedding reaches: n - d - 1 directions."""
    rng = np.random.default_rng(6)
    embeddings, scores = unit_rows(rng, n, d), rng.permutation(np.linspace(0.01, 0.99, n))

    report = diagnose_literal(embeddings, scores, a=A, b=B, rng=rng)

    assert report.patches == n
    assert report.negative == n - d - 1
    assert report.smallest < 0 < report.largest


def test_a_large_pool_is_diagnosed_on_a_part_of_it() -> None:
    rng = np.random.default_rng(7)
    embeddings, scores = unit_rows(rng, 2_100, 3), rng.random(2_100)

    report = diagnose_literal(embeddings, scores, a=A, b=B, rng=np.random.default_rng(1))

    assert report.patches == 2_000
    assert report == diagnose_literal(embeddings, scores, a=A, b=B, rng=np.random.default_rng(1))


def test_nothing_is_drawn_from_the_literal_form() -> None:
    rng = np.random.default_rng(8)
    report = diagnose_literal(unit_rows(rng, 40, 4), rng.random(40), a=A, b=B, rng=rng)

    with pytest.raises(SelectionError, match=r"^eq3-literal: 35 of 40 eigenvalues are below zero.*eq3-distance"):
        refuse_literal(report)
