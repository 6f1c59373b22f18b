"""What one node may bring."""

import random

import pytest

from shared.codec import MAX_MESSAGE_BYTES
from shared.transport import IngestTable
from trainer.pool.quota import MAX_NODES, Quota

HOUR_S = 3600.0


def test_a_node_that_was_alone_for_a_day_brings_a_days_candidates_at_once() -> None:
    quota = Quota(IngestTable(candidates_per_h=100, bytes_per_h=10**9, saved_h=24.0))

    spent = [quota.spend("n1", size_bytes=30_000, now=5.0) for _ in range(2401)]

    assert spent == [None] * 2400 + ["100 candidates an hour"]


@pytest.mark.parametrize("bytes_per_h", [1_000_000, 10**9])
def test_over_any_time_no_more_is_let_in_than_was_saved_and_came_since(bytes_per_h: int) -> None:
    table = IngestTable(candidates_per_h=120, bytes_per_h=bytes_per_h, saved_h=0.5)
    dice = random.Random(3)  # noqa: S311  # a fixed sequence, no secret
    quota, now, let_in = Quota(table), 0.0, []

    for number in range(5000):
        # Quiet hours now and then: they pay for a burst, but no more than was saved.
        now += 3 * HOUR_S if number % 500 == 0 else dice.expovariate(1 / 15)
        size = dice.randint(100, 60_000)
        if quota.spend("n1", size_bytes=size, now=now) is None:
            let_in.append((now, size))

    for start in range(0, len(let_in), 50):
        for end in range(start, len(let_in), 50):
            hours = (let_in[end][0] - let_in[start][0]) / HOUR_S
            count = end - start + 1
            assert count <= 120 * (0.5 + hours) + 1e-6
            assert sum(size for _, size in let_in[start : end + 1]) <= bytes_per_h * (0.5 + hours) + 1e-3


def test_what_came_since_is_let_in() -> None:
    quota, now, let_in = Quota(IngestTable(candidates_per_h=120, bytes_per_h=10**9, saved_h=0.1)), 0.0, 0

    while now < 100 * HOUR_S:
        let_in += quota.spend("n1", size_bytes=1000, now=now) is None
        now += 7.0

    assert let_in == 12 + 100 * 120 - 1


def test_what_is_too_much_is_not_charged() -> None:
    quota = Quota(IngestTable(candidates_per_h=100, bytes_per_h=1_000_000, saved_h=0.1))

    assert quota.spend("n1", size_bytes=MAX_MESSAGE_BYTES + 1, now=0.0) == "1000000 bytes an hour"
    assert quota.spend("n1", size_bytes=MAX_MESSAGE_BYTES, now=0.0) is None


def test_whatever_the_settings_a_message_is_let_in_some_time() -> None:
    """Half a candidate, and fewer bytes than the largest message has, were saved up at most: nothing came in, ever."""
    few = Quota(IngestTable(candidates_per_h=5, bytes_per_h=10**9, saved_h=0.1))
    narrow = Quota(IngestTable(candidates_per_h=100, bytes_per_h=1_000_000, saved_h=0.1))

    for quota, hours in ((few, 1 / 5), (narrow, MAX_MESSAGE_BYTES / 1_000_000)):
        for turn in range(10):
            now = turn * hours * HOUR_S
            assert quota.spend("n1", size_bytes=MAX_MESSAGE_BYTES, now=now * (1 + 1e-9)) is None
            assert quota.spend("n1", size_bytes=MAX_MESSAGE_BYTES, now=now + 1.0) is not None


def test_a_clock_that_steps_back_gives_nothing() -> None:
    quota = Quota(IngestTable(candidates_per_h=10, bytes_per_h=10**9, saved_h=0.1))

    assert quota.spend("n1", size_bytes=1, now=1000.0) is None
    assert quota.spend("n1", size_bytes=1, now=0.0) == "10 candidates an hour"


def test_invented_names_do_not_fill_the_memory() -> None:
    quota = Quota(IngestTable(candidates_per_h=10, bytes_per_h=10**9, saved_h=0.1))

    for number in range(MAX_NODES + 500):
        quota.spend(f"n{number}", size_bytes=1, now=0.0)
        quota.spend("honest", size_bytes=1, now=0.0)

    assert len(quota._accounts) == MAX_NODES
    assert quota.spend("honest", size_bytes=1, now=0.0) == "10 candidates an hour"
