"""The dense sampler against its definition, by enumeration."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest
from scipy.stats import chisquare

from shared.errors import StateError
from trainer.selection.kernels import NUGGET, quality_kernel, similarity_kernel
from trainer.selection.samplers.dense import DenseKdpp, SizedKdpp

#: For each of nine laws.
DRAWS = 15_000
# A family of about a dozen chi-square tests with fixed seeds.
LEVEL = 1e-4


def unit_rows(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    rows = rng.normal(size=(n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def counts(law: SizedKdpp, rng: np.random.Generator, draws: int = DRAWS) -> Counter[tuple[int, ...]]:
    return Counter(tuple(sorted(law.draw(rng).tolist())) for _ in range(draws))


def subset_law(kernel: np.ndarray, k: int) -> dict[tuple[int, ...], float]:
    volumes = {s: np.linalg.det(kernel[np.ix_(s, s)]) for s in combinations(range(len(kernel)), k)}
    total = sum(volumes.values())
    return {subset: max(volume, 0.0) / total for subset, volume in volumes.items()}


def p_value(drawn: Counter[tuple[int, ...]], law: dict[tuple[int, ...], float]) -> float:
    """Chi-square on counts; cells expecting fewer than five are pooled."""
    draws = sum(drawn.values())
    observed, expected, rare_observed, rare_expected = [], [], 0, 0.0
    for subset, probability in law.items():
        if probability * draws >= 5:
            observed.append(drawn[subset])
            expected.append(probability * draws)
        else:
            rare_observed += drawn[subset]
            rare_expected += probability * draws
    if rare_expected > 1e-9:
        observed.append(rare_observed)
        expected.append(rare_expected)
    assert sum(observed) == draws
    return float(chisquare(observed, np.array(expected) * draws / sum(expected)).pvalue)


@pytest.mark.parametrize("k", [1, 2, 4, 7, 8])
def test_draws_follow_the_determinants_of_a_full_kernel(k: int) -> None:
    rng = np.random.default_rng(100 + k)
    kernel = similarity_kernel(rows := unit_rows(rng, 8, 3), rows, tau=0.5)

    drawn = counts(DenseKdpp.of(kernel.copy()).sized(k), rng, DRAWS if k < 8 else 100)

    if k == 8:
        assert set(drawn) == {tuple(range(8))}
    else:
        assert p_value(drawn, subset_law(kernel, k)) > LEVEL


@pytest.mark.parametrize("k", [2, 4])
def test_draws_follow_the_determinants_below_and_at_the_rank(k: int) -> None:
    rng = np.random.default_rng(200 + k)
    features = rng.normal(size=(7, 4)) * np.array([3.0, 1.0, 0.3, 0.1])
    kernel = features @ features.T

    sampler = DenseKdpp.of(kernel.copy())

    assert sampler.rank == 4
    assert p_value(counts(sampler.sized(k), rng), subset_law(kernel, k)) > LEVEL


def test_a_batch_above_the_rank_is_refused_by_name() -> None:
    features = np.random.default_rng(1).normal(size=(7, 4))
    sampler = DenseKdpp.of(features @ features.T)

    with pytest.raises(StateError, match="a batch of 5 from a kernel of rank 4"):
        sampler.sized(5)


def test_a_uniform_sampler_would_be_noticed() -> None:
    """The negative control: the test has the power to reject a wrong law."""
    rng = np.random.default_rng(3)
    kernel = similarity_kernel(rows := unit_rows(rng, 8, 3), rows, tau=0.5)
    wrong = Counter(tuple(sorted(rng.permutation(8)[:4].tolist())) for _ in range(DRAWS))

    assert p_value(wrong, subset_law(kernel, 4)) < 1e-10


def test_conditioned_draws_follow_the_joint_determinants() -> None:
    """Given labelled A, P(S) is in proportion to det of the joint kernel on S and A together, whatever A's weights."""
    rng = np.random.default_rng(5)
    rows = unit_rows(rng, 9, 3)
    labelled, pool = rows[:3], rows[3:]
    weights = rng.uniform(0.2, 1.0, 6)
    everything = np.concatenate([rng.uniform(0.2, 1.0, 3), weights])
    joint = everything[:, None] * similarity_kernel(rows, rows, tau=0.6) * everything[None, :]
    joint[np.arange(3), np.arange(3)] += NUGGET * everything[:3] ** 2
    volumes = {
        s: np.linalg.det(joint[np.ix_((0, 1, 2, *(i + 3 for i in s)), (0, 1, 2, *(i + 3 for i in s)))])
        for s in combinations(range(6), 3)
    }
    law = {s: volume / sum(volumes.values()) for s, volume in volumes.items()}

    kernel = quality_kernel(pool, weights, tau=0.6, labelled=labelled)
    drawn = counts(DenseKdpp.of(kernel).sized(3), rng)
    unconditioned = counts(DenseKdpp.of(quality_kernel(pool, weights, tau=0.6)).sized(3), rng)

    assert p_value(drawn, law) > LEVEL
    assert p_value(unconditioned, law) < 1e-10


def test_quality_weighs_the_draw() -> None:
    rng = np.random.default_rng(6)
    rows = unit_rows(rng, 7, 3)
    weights = rng.uniform(0.1, 1.0, 7)
    kernel = np.diag(weights) @ similarity_kernel(rows, rows, tau=0.4) @ np.diag(weights)

    drawn = counts(DenseKdpp.of(quality_kernel(rows, weights, tau=0.4)).sized(3), rng)

    assert p_value(drawn, subset_law(kernel, 3)) > LEVEL


@pytest.mark.parametrize("scale", [1e-150, 1e-8, 1e8, 1e150])
def test_the_scale_of_a_kernel_changes_no_probability(scale: float) -> None:
    rng = np.random.default_rng(7)
    kernel = similarity_kernel(rows := unit_rows(rng, 30, 5), rows, tau=0.3)

    plain = DenseKdpp.of(kernel.copy()).sized(9).inclusion()
    scaled = DenseKdpp.of(kernel * scale).sized(9).inclusion()

    np.testing.assert_allclose(scaled, plain, rtol=1e-9)


@pytest.mark.parametrize("k", [1, 3, 6])
def test_marginals_are_the_sum_of_the_subsets_that_hold_an_item(k: int) -> None:
    rng = np.random.default_rng(8)
    kernel = similarity_kernel(rows := unit_rows(rng, 8, 3), rows, tau=0.5)
    law = subset_law(kernel, k)
    expected = [sum(p for subset, p in law.items() if item in subset) for item in range(8)]

    marginals = DenseKdpp.of(kernel.copy()).sized(k).inclusion()

    np.testing.assert_allclose(marginals, expected, rtol=1e-8)


def test_a_large_batch_neither_overflows_nor_repeats() -> None:
    """The classical recursion overflows near k = 300."""
    rng = np.random.default_rng(9)
    rows = unit_rows(rng, 900, 16)
    law = DenseKdpp.of(similarity_kernel(rows, rows, tau=0.2)).sized(400)

    drawn = law.draw(rng)
    marginals = law.inclusion()

    assert len(set(drawn.tolist())) == 400
    assert np.isfinite(marginals).all()
    assert marginals.sum() == pytest.approx(400, rel=1e-9)


def test_twins_are_never_drawn_together() -> None:
    rng = np.random.default_rng(10)
    rows = unit_rows(rng, 6, 3)
    rows[5] = rows[0]

    drawn = counts(DenseKdpp.of(similarity_kernel(rows, rows, tau=0.5)).sized(3), rng, 2_000)

    assert not any({0, 5} <= set(subset) for subset in drawn)


def test_the_same_seed_draws_the_same_batch() -> None:
    rows = unit_rows(np.random.default_rng(11), 200, 8)

    first = DenseKdpp.of(similarity_kernel(rows, rows, tau=0.2)).sized(40).draw(np.random.default_rng(4))
    again = DenseKdpp.of(similarity_kernel(rows, rows, tau=0.2)).sized(40).draw(np.random.default_rng(4))
    other = DenseKdpp.of(similarity_kernel(rows, rows, tau=0.2)).sized(40).draw(np.random.default_rng(5))

    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()
