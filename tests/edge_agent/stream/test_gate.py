import numpy as np
import pytest
from scipy.stats import chisquare

from edge_agent.stream.budget import Budget
from edge_agent.stream.gate import FloorLottery, Latest, ScoreGate


def test_a_share_of_scores_passes_whatever_their_scale() -> None:
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e-6):
        gate = ScoreGate(0.1)

        passed = [gate.passes(scale * rng.random(16), rng).mean() for _ in range(2000)]

        assert np.mean(passed) == pytest.approx(0.1, abs=0.01)


def test_the_higher_score_passes() -> None:
    rng = np.random.default_rng(1)
    gate = ScoreGate(0.25)
    gate.passes(np.linspace(0.0, 0.5, 100), rng)

    passed = gate.passes(np.array([0.1, 0.9]), rng)

    assert passed.tolist() == [False, True]


def test_of_equal_scores_the_share_passes_by_lot() -> None:
    rng = np.random.default_rng(2)
    gate = ScoreGate(0.1)

    passed = np.mean([gate.passes(np.zeros(16), rng) for _ in range(3000)])

    assert passed == pytest.approx(0.1, abs=0.01)


def test_a_new_level_of_scores_is_followed() -> None:
    rng = np.random.default_rng(3)
    gate = ScoreGate(0.1)
    for _ in range(200):
        gate.passes(rng.random(16), rng)

    for _ in range(200):
        gate.passes(10.0 + rng.random(16), rng)
    passed = np.mean([gate.passes(10.0 + rng.random(16), rng) for _ in range(500)])

    assert passed == pytest.approx(0.1, abs=0.02)


def test_a_level_is_the_lowest_value_within_the_top_share() -> None:
    window = Latest()
    window.add(np.arange(10.0))

    assert [window.level(share) for share in (0.0, 0.1, 0.25, 1.0)] == [9.0, 9.0, 7.0, 0.0]


@pytest.mark.parametrize("per_hour", [360_000.0, 3600.0])
def test_the_floor_is_uniform_over_the_frame(per_hour: float) -> None:
    """Each of 8 places wins equally often, also when winners outnumber tokens."""
    lottery = FloorLottery(np.random.default_rng(4))
    budget = Budget(patches_per_hour=per_hour, burst=2.0)
    won = np.zeros(8, dtype=int)

    for frame in range(20_000):
        budget.refill(frame * 0.1)
        won += lottery.draw(frame * 0.1, 8, [budget])

    assert won.sum() > 1000
    assert chisquare(won).pvalue > 0.001


def test_the_floor_spends_its_budget_and_no_more() -> None:
    lottery = FloorLottery(np.random.default_rng(5))
    budget = Budget(patches_per_hour=360.0, burst=10.0)
    won = 0

    for frame in range(36_000):
        budget.refill(frame * 0.1)
        won += int(lottery.draw(frame * 0.1, 16, [budget]).sum())

    assert 330 <= won <= 370
