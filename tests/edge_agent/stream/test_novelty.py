import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.stream.novelty import NoveltyMemory

TAU = 0.2
NOISE = 0.01


def unit_rows(rng: np.random.Generator, n: int, d: int = 16) -> NDArray[np.float32]:
    rows = rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def kernel(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.exp((left.astype(np.float64) @ right.T.astype(np.float64) - 1.0) / TAU)


def posterior(memory: NDArray[np.float32], fresh: NDArray[np.float32]) -> NDArray[np.float64]:
    """The textbook formula, with a solve instead of a kept inverse."""
    likeness = kernel(memory, fresh)
    noisy = kernel(memory, memory) + NOISE * np.eye(len(memory))
    return kernel(fresh, fresh) - likeness.T @ np.linalg.solve(noisy, likeness)


def new_memory(*, capacity: int = 64, d: int = 16) -> NoveltyMemory:
    return NoveltyMemory(dim=d, tau=TAU, noise=NOISE, capacity=capacity)


def test_everything_is_new_to_an_empty_memory() -> None:
    fresh = unit_rows(np.random.default_rng(0), 5)

    found = new_memory().covariance(fresh)

    np.testing.assert_allclose(found.diagonal(), 1.0, atol=1e-6)


def test_novelty_is_the_posterior_variance_also_after_the_oldest_left() -> None:
    rng = np.random.default_rng(1)
    sent = unit_rows(rng, 200)
    fresh = unit_rows(rng, 7)
    memory = new_memory(capacity=64)

    for start in range(0, 200, 3):
        memory.add(sent[start : start + 3])

    assert 60 <= len(memory) <= 64
    np.testing.assert_allclose(memory.covariance(fresh), posterior(sent[-len(memory) :], fresh), atol=1e-6)
    assert memory.refactors == 0


def test_an_exact_repeat_keeps_only_the_noise() -> None:
    sent = unit_rows(np.random.default_rng(2), 1)
    memory = new_memory()
    memory.add(sent)

    left = memory.covariance(sent)[0, 0]

    assert left == pytest.approx(NOISE / (1 + NOISE), rel=1e-4)


def test_memory_never_outgrows_its_capacity_and_keeps_the_newest() -> None:
    rng = np.random.default_rng(3)
    memory = new_memory(capacity=1)

    for row in unit_rows(rng, 5):
        memory.add(row[None])
    last = unit_rows(rng, 4)
    memory.add(last)

    assert len(memory) == 1
    assert memory.covariance(last)[3, 3] < 0.02 < memory.covariance(last)[0, 0]


@pytest.mark.parametrize("damage", [np.nan, np.inf, 1e3])
def test_a_damaged_inverse_is_computed_afresh(damage: float) -> None:
    rng = np.random.default_rng(4)
    sent, fresh = unit_rows(rng, 20), unit_rows(rng, 3)
    memory = new_memory()
    memory.add(sent)
    memory._inverse[:20, :20] += damage

    found = memory.covariance(fresh)

    np.testing.assert_allclose(found, posterior(sent, fresh), atol=1e-6)
    assert memory.refactors == 1


def test_drift_too_small_to_show_in_a_novelty_is_found_while_points_come_in() -> None:
    rng = np.random.default_rng(5)
    sent = unit_rows(rng, 80)
    memory = new_memory(capacity=128)
    memory.add(sent[:20])
    memory._inverse[:20, :20] *= 1.0001

    for row in sent[20:]:
        memory.add(row[None])

    assert memory.refactors >= 1
    np.testing.assert_allclose(memory.covariance(sent[:3]), posterior(sent, sent[:3]), atol=1e-6)


def test_the_inverse_is_computed_afresh_after_a_thousand_changes() -> None:
    rng = np.random.default_rng(6)
    memory = new_memory(capacity=8)

    for row in unit_rows(rng, 1500):
        memory.add(row[None])

    assert memory.refactors == 1
