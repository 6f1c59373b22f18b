"""The k-DPP strategy: weightings and samplers put together, and what is said of it."""

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import scipy.linalg
from scipy.stats import chisquare

from trainer.selection.kernels.eq3 import Eq3DistanceKernel
from trainer.selection.kernels.quality import QualityKernel, quality
from trainer.selection.kernels.similarity import NUGGET, similarity_kernel
from trainer.selection.likeliest import draw_likeliest, log_volume
from trainer.selection.problem import Problem, SelectionError
from trainer.selection.samplers.dense import DenseKdpp
from trainer.selection.strategies import kdpp
from trainer.selection.strategies.kdpp import Kdpp


def unit_rows(rng: np.random.Generator, n: int, d: int = 8) -> np.ndarray:
    rows = rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def strategy(**settings: Any) -> Kdpp:
    return Kdpp(**{"weighting": "quality", "sampler": "dense", "a": 0.4, "b": 0.6, "conditioned": True} | settings)


def problem(n: int = 60, m: int = 10, *, scored: bool = True) -> Problem:
    rng = np.random.default_rng(n)
    return Problem(unit_rows(rng, n), rng.random(n) if scored else None, unit_rows(rng, m), tau=0.3)


def explained(kernel: QualityKernel) -> np.ndarray:
    n, m = len(kernel.embeddings), len(kernel.labelled)
    part = kernel.explained(np.arange(n), np.arange(m))
    return part @ part.T


def test_the_marginals_told_are_those_of_the_conditioned_quality_kernel() -> None:
    given = problem()
    kernel = QualityKernel(given.embeddings, quality(given.scores, a=0.4, b=0.6), 0.3, given.labelled)
    law = DenseKdpp.of(kernel.among(np.arange(60)) - explained(kernel)).sized(12)

    choice = strategy().choose(given, 12, np.random.default_rng(0))

    np.testing.assert_allclose(choice.marginals, law.inclusion()[choice.indices], rtol=1e-6)
    assert "conditioned on 10 labelled patches" in choice.notes


@pytest.mark.parametrize("sampler", ["dense", "block"])
def test_unconditioned_and_unscored_it_draws_by_similarity_alone(sampler: str) -> None:
    given = problem(scored=False)
    plain = QualityKernel(given.embeddings, np.ones(60), 0.3, given.labelled[:0])
    law = DenseKdpp.of(plain.among(np.arange(60))).sized(12)

    choice = strategy(sampler=sampler, conditioned=False).choose(given, 12, np.random.default_rng(0))
    diverse = strategy(sampler=sampler, conditioned=False, weighting="diversity").choose(
        problem(), 12, np.random.default_rng(0)
    )

    np.testing.assert_allclose(choice.marginals, law.inclusion()[choice.indices], rtol=1e-4)
    assert diverse.indices.tolist() == choice.indices.tolist()
    assert choice.notes == ("no scores: every patch counts as fully uncertain",)
    assert diverse.notes == ()


def test_eq3_distance_draws_by_its_kernel_on_every_sampler() -> None:
    given = problem(m=0)
    kernel = Eq3DistanceKernel(given.embeddings, given.scores, 0.4, 0.6)
    law = DenseKdpp.of(kernel.among(np.arange(60))).sized(12).inclusion()

    for sampler in ("dense", "block"):
        choice = strategy(weighting="eq3-distance", sampler=sampler).choose(given, 12, np.random.default_rng(1))
        np.testing.assert_allclose(choice.marginals, law[choice.indices], rtol=1e-4)
    few = Problem(given.embeddings, np.round(given.scores, 1), given.labelled, tau=0.3)
    dense, lowrank = (
        strategy(weighting="eq3-distance", sampler=sampler).choose(few, 60, np.random.default_rng(1))
        for sampler in ("dense", "lowrank")
    )
    assert sorted(dense.indices.tolist()) == sorted(lowrank.indices.tolist()) == list(range(60))


def test_twins_in_the_pool_do_not_fill_the_batch() -> None:
    rng = np.random.default_rng(3)
    rows = np.repeat(unit_rows(rng, 4), 10, axis=0)
    given = Problem(rows, None, rows[:0], tau=0.3)

    choice = strategy().choose(given, 4, rng)

    assert sorted(index // 10 for index in choice.indices.tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize("sampler", ["dense", "block", "dppy-exact", "dppy-mcmc"])
def test_a_batch_above_the_rank_is_refused_before_anything_is_taken_apart(
    sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.repeat(unit_rows(np.random.default_rng(3), 4), 10, axis=0)
    given = Problem(rows, None, rows[:0], tau=0.3)
    monkeypatch.setattr(kdpp, "_law", None)

    with pytest.raises(SelectionError, match="a batch of 5 from a kernel of rank 4") as refused:
        strategy(sampler=sampler).choose(given, 5, np.random.default_rng(0))

    assert refused.value.possible == 4


def test_lowrank_refuses_what_is_above_its_rank_before_anything_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    scores = np.zeros(60)
    scores[:5] = 0.5
    given = Problem(unit_rows(rng, 60), scores, unit_rows(rng, 0), tau=0.3)
    monkeypatch.setattr(kdpp, "LowRankKdpp", None)

    with pytest.raises(SelectionError, match="a batch of 16 from a kernel of rank 15") as refused:
        strategy(weighting="eq3-distance", sampler="lowrank").choose(given, 16, rng)

    assert refused.value.possible == 15


@pytest.mark.parametrize("weighting", ["quality", "diversity"])
def test_lowrank_refuses_a_kernel_of_full_rank(weighting: str) -> None:
    with pytest.raises(SelectionError, match=f"sampler lowrank: weighting {weighting} has full rank"):
        strategy(weighting=weighting, sampler="lowrank").choose(problem(), 5, np.random.default_rng(0))


@pytest.mark.parametrize("sampler", ["dense", "dppy-exact", "dppy-mcmc"])
def test_a_pool_too_large_to_be_taken_apart_whole_is_refused(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        kdpp, {"dense": "DENSE_LIMIT", "dppy-exact": "EXACT_LIMIT", "dppy-mcmc": "CHAIN_LIMIT"}[sampler], 50
    )

    with pytest.raises(SelectionError, match=f"sampler {sampler}: 60 patches, at most 50 fit one decomposition"):
        strategy(sampler=sampler).choose(problem(), 5, np.random.default_rng(0))


def test_eq3_as_written_is_reported_and_never_drawn_from() -> None:
    with pytest.raises(SelectionError, match=r"eq3-literal: \d+ of 60 eigenvalues are below zero"):
        strategy(weighting="eq3-literal").choose(problem(), 5, np.random.default_rng(0))
    with pytest.raises(SelectionError, match="scores: none"):
        strategy(weighting="eq3-literal").choose(problem(scored=False), 5, np.random.default_rng(0))


@pytest.mark.parametrize(("a", "b"), [(0.4, 0.7), (0.6, 0.6)])
def test_eq3_distance_is_refused_where_it_is_no_kernel(a: float, b: float) -> None:
    for sampler in ("dense", "lowrank"):
        with pytest.raises(SelectionError, match=f"eq3-distance: a = {a:g} and b = {b:g}"):
            strategy(weighting="eq3-distance", sampler=sampler, a=a, b=b).choose(problem(), 5, np.random.default_rng(0))


def test_lowrank_is_conditioned_as_long_as_that_leaves_it_diverse() -> None:
    settings = {"weighting": "eq3-distance", "sampler": "lowrank"}

    few = strategy(**settings).choose(problem(m=5), 6, np.random.default_rng(0))
    many = strategy(**settings).choose(problem(m=50), 6, np.random.default_rng(0))
    free = strategy(**settings, conditioned=False).choose(problem(m=50), 6, np.random.default_rng(0))

    assert few.notes == ("conditioned on 5 labelled patches",)
    assert many.notes == (
        "not conditioned on what is labelled: 50 patches would erase all diversity of a kernel of rank 40",
    )
    assert free.notes == ()
    assert free.indices.tolist() == many.indices.tolist()


def test_a_batch_beyond_the_columns_is_said_to_be_drawn_by_weight() -> None:
    choice = strategy(weighting="eq3-distance", sampler="lowrank").choose(problem(m=0), 41, np.random.default_rng(0))

    assert choice.notes == (
        "41 patches from a kernel of rank 40: beyond the rank it draws by weight and no longer by unlikeness",
    )


def test_of_too_many_labelled_patches_the_nearest_of_each_patch_count(monkeypatch: pytest.MonkeyPatch) -> None:
    given = problem(n=20, m=90)
    whole = strategy(sampler="dense").choose(given, 6, np.random.default_rng(0))
    monkeypatch.setattr(kdpp, "DENSE_LIMIT", 45)

    near = strategy(sampler="dense").choose(given, 6, np.random.default_rng(0))

    told = [note for note in near.notes if note.startswith("of 90 labelled patches the 2 nearest of each patch count")]
    assert len(told) == 1
    assert not any("nearest of each" in note for note in whole.notes)


def test_uncertain_patches_are_chosen_more_often_and_labelled_ones_are_not_chosen_again() -> None:
    rng = np.random.default_rng(4)
    rows = unit_rows(rng, 300)
    scores = np.linspace(0.02, 0.6, 300)
    given = Problem(rows, scores, rows[200:], tau=0.2)

    drawn = np.concatenate([strategy().choose(given, 30, rng).indices for _ in range(5)])

    new = drawn[drawn < 200]
    assert len(new) > 140
    assert scores[new].mean() > scores[:200].mean() + 0.05


def test_a_sharper_exponent_chooses_higher_scores() -> None:
    rng = np.random.default_rng(5)
    rows, scores = unit_rows(rng, 300), rng.random(300)
    given = Problem(rows, scores, rows[:0], tau=0.2)

    mild = scores[strategy(a=0.2, b=0.8).choose(given, 30, np.random.default_rng(0)).indices].mean()
    sharp = scores[strategy(a=1.0, b=0.2).choose(given, 30, np.random.default_rng(0)).indices].mean()

    assert sharp > mild + 0.1


def test_the_likeliest_of_several_draws_follows_its_own_law() -> None:
    """Every batch of 2 of 7 turns up as often as the largest of three volumes does, and not as often as one draw."""
    rng = np.random.default_rng(3)
    given = Problem(unit_rows(rng, 7), rng.random(7), unit_rows(rng, 3), tau=0.6)
    kernel = QualityKernel(given.embeddings, quality(given.scores, a=0.4, b=0.6), 0.6, given.labelled)
    matrix = kernel.among(np.arange(7)) - explained(kernel)
    pairs = list(combinations(range(7), 2))
    volume = np.array([np.linalg.det(matrix[np.ix_(pair, pair)]) for pair in pairs])
    order = np.argsort(volume)
    once = volume[order] / volume.sum()
    largest = np.diff(np.cumsum(once) ** 3, prepend=0.0)
    chooser = strategy(draws=3)

    drawn = Counter(tuple(sorted(chooser.choose(given, 2, rng).indices.tolist())) for _ in range(6_000))

    counts = np.array([drawn[pairs[place]] for place in order])
    assert _departs(counts, largest) > 1e-4
    assert _departs(counts, once) < 1e-10


def test_the_likeliest_of_several_draws_tells_no_chances_of_one() -> None:
    choice = strategy(draws=4).choose(problem(), 6, np.random.default_rng(0))

    assert choice.marginals is None
    assert "the likeliest of 4 draws" in choice.notes


def test_a_volume_is_what_the_batch_adds_to_the_labelled() -> None:
    """It equals ``log det`` of batch and labelled together less that of the labelled."""
    given = problem()
    kernel = QualityKernel(given.embeddings, quality(given.scores, a=0.4, b=0.6), 0.3, given.labelled)
    batch, m = np.array([3, 17, 40, 58]), len(given.labelled)
    known = similarity_kernel(given.labelled, given.labelled, tau=0.3) + NUGGET * np.eye(m)
    across = similarity_kernel(given.embeddings[batch], given.labelled, tau=0.3) * kernel.weights[batch][:, None]
    joint = np.block([[kernel.among(batch), across], [across.T, known]])

    volume = log_volume(kernel, batch, kernel.explaining(np.arange(m)))

    assert volume == pytest.approx(np.linalg.slogdet(joint)[1] - np.linalg.slogdet(known)[1])


def test_for_all_draws_the_labelled_are_taken_apart_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    cholesky = scipy.linalg.cholesky

    def counted(matrix: np.ndarray, **words: Any) -> np.ndarray:
        sizes.append(len(matrix))
        return cholesky(matrix, **words)

    monkeypatch.setattr(scipy.linalg, "cholesky", counted)
    given = problem()
    kernel = QualityKernel(given.embeddings, np.ones(60), 0.3, given.labelled)
    law = DenseKdpp.of(kernel.among(np.arange(60)) - explained(kernel)).sized(6)
    sizes.clear()

    draw_likeliest(law, kernel, 5, np.random.default_rng(0))

    assert sizes.count(len(given.labelled)) == 1


def _departs(counts: np.ndarray, law: np.ndarray) -> float:
    """Return the p-value of counts against a law, batches rarer than five in all taken together."""
    expected = law * counts.sum()
    rare = expected < 5
    seen = np.append(counts[~rare], counts[rare].sum())
    meant = np.append(expected[~rare], expected[rare].sum())
    return float(chisquare(seen[meant > 0], meant[meant > 0]).pvalue)
