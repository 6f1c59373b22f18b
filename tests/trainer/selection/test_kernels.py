"""The kernels against second formulas."""

import numpy as np
import pytest

from trainer.selection.kernels import (
    NUGGET,
    choose_tau,
    novelty,
    participation_rank,
    quality,
    quality_kernel,
    similarity_kernel,
)


def unit_rows(rng: np.random.Generator, n: int, d: int) -> np.ndarray:
    rows = rng.normal(size=(n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_quality_kernel_is_the_formula_up_to_scale() -> None:
    rng = np.random.default_rng(0)
    rows, scores = unit_rows(rng, 12, 4), rng.random(12)
    weights = quality(scores, a=0.4, b=0.6)

    kernel = quality_kernel(rows, weights, tau=0.3)

    by_hand = np.array(
        [
            [
                (ui + 1e-3) ** (2 / 3) * np.exp((ri @ rj - 1) / 0.3) * (uj + 1e-3) ** (2 / 3)
                for rj, uj in zip(rows, scores, strict=True)
            ]
            for ri, ui in zip(rows, scores, strict=True)
        ]
    )
    np.testing.assert_allclose(kernel / kernel[0, 0], by_hand / by_hand[0, 0], rtol=1e-10)
    assert np.linalg.eigvalsh(kernel).min() > -1e-12


def test_a_conditioned_kernel_stays_positive_where_the_labelled_have_twins() -> None:
    rng = np.random.default_rng(1)
    labelled = unit_rows(rng, 20, 4)
    labelled[7] = labelled[3]
    rows = np.concatenate([unit_rows(rng, 30, 4), labelled[3:4]])

    kernel = quality_kernel(rows, np.ones(31), tau=0.3, labelled=labelled)

    assert np.linalg.eigvalsh(kernel).min() > -1e-9
    assert kernel[30, 30] < 10 * NUGGET


def test_novelty_is_the_diagonal_of_the_conditioned_kernel() -> None:
    rng = np.random.default_rng(2)
    rows, labelled = unit_rows(rng, 15, 4), unit_rows(rng, 9, 4)

    new = novelty(rows, labelled, tau=0.4)

    conditioned = quality_kernel(rows, np.ones(15), tau=0.4, labelled=labelled)
    np.testing.assert_allclose(new, np.diag(conditioned), atol=1e-9)
    assert novelty(labelled, labelled, tau=0.4).max() < 1e-4
    assert novelty(rows, labelled[:0], tau=0.4).tolist() == [1.0] * 15


def test_tau_lets_the_kernel_tell_about_twice_the_batch_apart() -> None:
    rng = np.random.default_rng(3)
    rows = unit_rows(rng, 600, 24)

    tau = choose_tau(rows, 40, rng)

    kernel = similarity_kernel(rows, rows, tau=tau)
    assert np.trace(kernel) ** 2 / (kernel**2).sum() == pytest.approx(80, rel=0.05)


def test_tau_for_a_batch_as_large_as_the_pool_still_leaves_half_apart() -> None:
    rng = np.random.default_rng(4)
    rows = unit_rows(rng, 200, 24)

    tau = choose_tau(rows, 200, rng)

    kernel = similarity_kernel(rows, rows, tau=tau)
    assert np.trace(kernel) ** 2 / (kernel**2).sum() == pytest.approx(100, rel=0.05)


def test_the_participation_rank_counts_what_is_apart() -> None:
    assert participation_rank(np.full(10, -1.0), 50, tau=0.01) == pytest.approx(50)
    assert participation_rank(np.full(10, 1.0), 50, tau=0.01) == pytest.approx(1)


@pytest.mark.parametrize("rows", [np.eye(1), np.eye(2), np.repeat(np.eye(3)[:1], 40, axis=0)])
def test_tau_is_finite_for_pools_that_say_nothing(rows: np.ndarray) -> None:
    assert 0 < choose_tau(rows, 5, np.random.default_rng(5)) <= 10
