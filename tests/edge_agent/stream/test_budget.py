import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.stream.budget import Bucket, Budget, Rate
from shared.config import BudgetTable


def test_a_full_bucket_gives_its_burst_and_then_its_rate() -> None:
    budget = Budget(patches_per_hour=3600.0, burst=5.0)
    budget.refill(0.0)
    sent = 0

    for tenth in range(100):
        budget.refill(tenth / 10)
        while budget.affordable:
            budget.spend()
            sent += 1

    assert sent == 5 + 9


def test_a_clock_that_steps_back_mints_nothing() -> None:
    bucket = Bucket(per_hour=3600.0, burst=5.0)
    bucket.refill(100.0)
    bucket.tokens = 0.0

    bucket.refill(10.0)
    bucket.refill(11.0)

    assert bucket.tokens == pytest.approx(1.0)


def test_the_emptier_bucket_counts() -> None:
    budget = Budget(patches_per_hour=3600.0, burst=10.0, bytes_per_hour=3_600_000.0)
    budget.refill(0.0)

    budget.spend()
    by_patches = budget.fill
    budget.charge(4_000)

    assert (by_patches, budget.fill) == (0.9, 0.6)
    assert Budget(patches_per_hour=3600.0, burst=10.0).per_s == 1.0


def test_larger_patches_than_thought_slow_the_rate_down() -> None:
    budget = Budget(patches_per_hour=3600.0, burst=10.0, bytes_per_hour=3_600_000.0)

    for _ in range(200):
        budget.charge(4_000)

    assert budget.per_s == pytest.approx(0.25, rel=0.01)


def test_bytes_run_into_debt_and_are_waited_for() -> None:
    budget = Budget(patches_per_hour=3600.0, burst=10.0, bytes_per_hour=3_600_000.0)
    budget.refill(0.0)
    budget.spend()
    budget.charge(15_000)

    before = budget.affordable
    budget.refill(4.0)
    during = budget.affordable
    budget.refill(6.5)

    assert (before, during) == (0, 0)
    assert budget.affordable > 0


def test_shares_of_a_budget_add_up_to_it() -> None:
    table = BudgetTable(patches_per_hour=1000.0, burst=40, bytes_per_hour=1e6)

    floor, novel = Budget.share(table, 0.05), Budget.share(table, 0.95)

    assert floor is not None
    assert novel is not None
    assert floor.affordable + novel.affordable == 40
    assert Budget.share(table, 0.0) is None


@given(
    per_hour=st.floats(1.0, 1e6),
    burst=st.integers(1, 1000),
    gaps=st.lists(st.floats(0.0, 1e4), min_size=1, max_size=50),
)
def test_nobody_spends_more_than_burst_and_rate_allow(per_hour: float, burst: int, gaps: list[float]) -> None:
    budget = Budget(patches_per_hour=per_hour, burst=float(burst))
    now = 0.0
    sent = 0

    for gap in gaps:
        now += gap
        budget.refill(now)
        for _ in range(budget.affordable):
            budget.spend()
            sent += 1

    # The first reading of the clock starts it.
    assert sent <= burst + per_hour * (now - gaps[0]) / 3600.0 + 1e-6


def test_a_rate_settles_on_what_comes_by() -> None:
    rate = Rate()

    for tenth in range(3000):
        rate.note(tenth / 10, 16)

    assert rate.per_s == pytest.approx(160.0, rel=0.02)


def test_a_rate_follows_a_line_that_slows_down() -> None:
    rate = Rate()
    for tenth in range(600):
        rate.note(tenth / 10, 16)

    for second in range(60, 360):
        rate.note(float(second), 16)

    assert rate.per_s == pytest.approx(16.0, rel=0.1)
