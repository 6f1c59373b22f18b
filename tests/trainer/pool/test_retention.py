from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.pool.pool import Pick, Pool, Returned
from trainer.pool.retention import floor_to_keep

Fill = Callable[..., list[str]]


def test_a_pool_within_its_cap_forgets_nothing(pool: Pool, fill: Fill) -> None:
    ids = fill(range(5))

    assert pool.trim("strip", 5) == 0
    assert pool.ids("strip") == ids
    assert pool.counters("strip")["dropped"] == 0


def test_the_least_valuable_go_first_then_the_oldest(pool: Pool, fill: Fill) -> None:
    unvalued = fill(range(3), gain=None)
    dull = fill(range(3, 6), gain=0.1)
    novel = fill(range(6, 9), gain=0.9)

    assert pool.trim("strip", 5) == 4
    assert pool.ids("strip") == [*dull[1:], *novel]
    assert pool.trim("strip", 3) == 2
    assert pool.ids("strip") == novel
    assert pool.counters("strip")["dropped"] == 6
    assert not set(unvalued) & set(pool.ids("strip", state=None))


def test_floor_candidates_go_by_age_and_never_by_value(pool: Pool, fill: Fill) -> None:
    floor = [name for n in range(10) for name in fill(range(n, n + 1), reason="floor", gain=0.001 if n >= 5 else 0.99)]
    others = fill(range(10, 40))

    assert pool.trim("strip", 20) == 20

    kept = pool.ids("strip")
    # A quarter of what came was floor: a quarter of what stays is, and it is the newest, the low gains.
    assert [name for name in kept if name in floor] == floor[-5:]
    assert [name for name in kept if name in others] == others[-15:]


def test_trimming_one_by_one_keeps_the_floors_share(pool: Pool, fill: Fill) -> None:
    for number in range(120):
        fill(range(number, number + 1), reason="floor" if number % 4 == 0 else "novel")
        pool.trim("strip", 40)

    assert pool.counts("strip")["pool"] == 40
    assert len(pool.ids("strip", reason="floor")) == 10


def test_what_is_handed_over_or_labelled_is_never_forgotten(pool: Pool, fill: Fill) -> None:
    ids = fill(range(10), gain=None)
    pool.hand_over("strip", 0, [Pick(name, "train", {}) for name in ids[:4]])
    pool.label([Returned(name, np.zeros((64, 64), np.uint8), "me") for name in ids[:2]])

    assert pool.trim("strip", 1) == 5
    assert pool.counts("strip") == {"pool": 1, "handed": 2, "labelled": 2}
    assert pool.ids("strip", state="labelled") == ids[:2]


def test_another_line_is_left_alone(pool: Pool, fill: Fill) -> None:
    ids = fill(range(4))

    assert pool.trim("other", 1) == 0
    assert pool.ids("strip") == ids


@given(st.integers(1, 50), st.integers(0, 100), st.integers(0, 100), st.integers(0, 1000), st.data())
def test_a_full_pool_is_filled_to_its_cap(
    cap: int, floor: int, others: int, received: int, data: st.DataObject
) -> None:
    if floor + others <= cap:
        return
    received_floor = data.draw(st.integers(0, received))

    keep = floor_to_keep(cap=cap, floor=floor, others=others, received=received, received_floor=received_floor)

    assert 0 <= keep <= floor
    assert 0 <= cap - keep <= others


@pytest.mark.parametrize(("floor", "others", "kept"), [(100, 0, 10), (0, 100, 0), (50, 5, 5), (100, 100, 2)])
def test_the_floor_keeps_its_share_of_all_arrivals_unless_others_are_few(floor: int, others: int, kept: int) -> None:
    assert floor_to_keep(cap=10, floor=floor, others=others, received=1000, received_floor=200) == kept
