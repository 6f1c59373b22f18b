"""The pool: what goes in comes out, once, and what does not fit changes nothing."""

import random

import numpy as np
import pytest
import sqlalchemy as sa

from shared.clock import ManualClock
from shared.errors import StateError
from tests.trainer.pool.rows import SPACE, Fill, MakeCandidate, everything
from trainer.pool.pool import AddReport, Arrival, Pick, Pool, Returned
from trainer.pool.schema import candidate_ids


def test_redelivery_in_any_order_stores_each_candidate_once(pool: Pool, make_candidate: MakeCandidate) -> None:
    dice = random.Random(3)  # noqa: S311  # a fixed shuffle, no secret
    deliveries = [Arrival("strip", "n1", make_candidate(n), 1.0) for n in range(40) for _ in range(dice.randint(1, 5))]
    dice.shuffle(deliveries)
    new = again = 0

    for start in range(0, len(deliveries), 7):
        report = pool.add(deliveries[start : start + 7])
        new, again = new + report.new, again + report.again

    assert new == 40
    assert again == len(deliveries) - 40
    assert sorted(pool.ids("strip")) == sorted({arrival.candidate.id for arrival in deliveries})
    assert pool.counters("strip")["received"] == 40
    assert pool.counters("strip")["again"] == again


def test_redelivery_leaves_a_labelled_candidate_labelled(pool: Pool, fill: Fill, make_candidate: MakeCandidate) -> None:
    ids = fill(range(1))
    pool.hand_over("strip", 0, [Pick(ids[0], "train", {})])
    pool.label([Returned(ids[0], np.zeros((64, 64), np.uint8), "me")])

    report = pool.add([Arrival("strip", "n1", make_candidate(0), 9.0)])

    assert report == AddReport(new=0, again=1)
    assert pool.counts("strip") == {"pool": 0, "handed": 0, "labelled": 1}


def test_what_comes_out_is_what_went_in(pool: Pool, fill: Fill, make_candidate: MakeCandidate) -> None:
    ids = fill(range(5))

    entries = pool.entries([ids[3], ids[1]])
    crops = dict(pool.crops(ids, channels=1))
    vectors = pool.embeddings([ids[2], ids[0]], SPACE)

    given = make_candidate(3)
    assert [entry.id for entry in entries] == [ids[3], ids[1]]
    assert (entries[0].frame, entries[0].score, entries[0].gain) == (given.frame, given.score, given.gain)
    assert entries[0].inside == given.inside
    assert [crop.shape for crop in crops.values()] == [(64, 64, 1)] * 5
    assert list(crops) == ids
    np.testing.assert_array_equal(vectors, np.eye(8, dtype=np.float32)[[2, 0]])


def test_ids_are_listed_by_state_reason_and_space(pool: Pool, fill: Fill) -> None:
    novel = fill(range(3))
    floor = fill(range(3, 5), reason="floor", space=None, embedding=None)
    pool.hand_over("strip", 0, [Pick(novel[0], "train", {})])

    assert pool.ids("strip") == [*novel[1:], *floor]
    assert pool.ids("strip", state=None) == [*novel, *floor]
    assert pool.ids("strip", reason="floor") == floor
    assert pool.ids("strip", state="handed") == novel[:1]
    assert pool.ids("strip", space=SPACE) == novel[1:]
    assert pool.ids("other") == []
    assert pool.without_embedding("strip", SPACE) == floor


def test_embeddings_of_another_space_are_refused_with_their_number(pool: Pool, fill: Fill) -> None:
    ids = fill(range(4))
    pool.store_embeddings("b" * 64, ids[:1], np.full((1, 3), 2.0))

    with pytest.raises(StateError, match="3 of 4 embeddings in space bbbb"):
        pool.embeddings(ids, "b" * 64)
    np.testing.assert_allclose(pool.embeddings(ids[:1], "b" * 64), np.full((1, 3), 3**-0.5), atol=1e-3)


def test_scores_are_kept_by_run_and_replaced(pool: Pool, fill: Fill) -> None:
    ids = fill(range(3))
    pool.store_scores("run-1", ids, np.array([0.1, 0.2, 0.3]))
    pool.store_scores("run-1", [ids[1], "n1-0123abcd-99-0123456789abcdef"], np.array([0.9, 0.5]))

    np.testing.assert_array_equal(pool.scores(ids[::-1], "run-1"), [0.3, 0.9, 0.1])
    with pytest.raises(StateError, match="scores of run run-2"):
        pool.scores(ids, "run-2")


def test_the_classes_a_run_saw_are_kept_beside_its_scores(pool: Pool, fill: Fill) -> None:
    ids = fill(range(3))
    pool.store_scores("run-1", ids, np.array([0.1, 0.2, 0.3]), [0, 2, 1])

    np.testing.assert_array_equal(pool.predictions(ids[::-1], "run-1"), [1, 2, 0])

    # As a pool from before classes were kept has them.
    pool.store_scores("run-1", ids[:1], np.array([0.1]))
    with pytest.raises(StateError, match="1 of 3 classes of run run-1"):
        pool.predictions(ids, "run-1")
    np.testing.assert_array_equal(pool.scores(ids, "run-1"), [0.1, 0.2, 0.3])


@pytest.mark.parametrize("bad", [np.array([0.1, np.nan]), np.array([0.1])])
def test_scores_that_do_not_fit_change_nothing(pool: Pool, fill: Fill, bad: np.ndarray) -> None:
    ids = fill(range(2))
    before = everything(pool)

    with pytest.raises(StateError, match="nothing was stored"):
        pool.store_scores("run-1", ids, bad)

    assert everything(pool) == before


def test_a_hand_over_and_its_stage_are_one_transaction(pool: Pool, fill: Fill) -> None:
    ids = fill(range(3))
    before = everything(pool)

    def half_way() -> None:
        with pool.write():
            pool.hand_over("strip", 1, [Pick(ids[0], "train", {"why": "novel"})])
            pool.put_round("strip", 1, "label", {"k": 1})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        half_way()
    assert everything(pool) == before

    with pool.write():
        pool.hand_over("strip", 1, [Pick(ids[0], "train", {"why": "novel"})])
        pool.put_round("strip", 1, "label", {"k": 1})
    (task,) = pool.open_tasks("strip")
    assert (task.candidate_id, task.round, task.explanation) == (ids[0], 1, {"why": "novel"})
    row = pool.round("strip")
    assert row is not None
    assert (row.number, row.stage, row.detail) == (1, "label", {"k": 1})


@pytest.mark.parametrize("again", ["handed", "twice", "unknown"])
def test_a_hand_over_of_what_is_not_in_the_pool_changes_nothing(pool: Pool, fill: Fill, again: str) -> None:
    ids = fill(range(3))
    pool.hand_over("strip", 0, [Pick(ids[0], "train", {})])
    other = {"handed": ids[0], "twice": ids[1], "unknown": "n1-0123abcd-99-0123456789abcdef"}[again]
    before = everything(pool)

    with pytest.raises(StateError, match="1 of 2 candidates are not pool"):
        pool.hand_over("strip", 1, [Pick(ids[1], "train", {}), Pick(other, "train", {})])

    assert everything(pool) == before


def test_labels_come_back_oldest_first_and_the_newest_mask_counts(pool: Pool, fill: Fill, clock: ManualClock) -> None:
    ids = fill(range(4))
    pool.hand_over("strip", 0, [Pick(name, "train", {}) for name in ids[:3]] + [Pick(ids[3], "reference", {})])
    pool.label([Returned(ids[2], np.full((64, 64), 1, np.uint8), "ann")])
    clock.advance(5)
    pool.label([Returned(name, np.full((64, 64), 0, np.uint8), "bob") for name in (ids[0], ids[3])])
    pool.label([Returned(ids[2], np.full((64, 64), 2, np.uint8), "cid")])

    assert pool.labelled("strip", "train") == [ids[2], ids[0]]
    assert pool.labelled("strip", "reference") == [ids[3]]
    assert [int(mask[0, 0]) for _, mask in pool.masks([ids[0], ids[2]])] == [0, 2]
    assert pool.label_counts("strip") == {"train": 2, "reference": 1, "seed": 0}
    assert [task.candidate_id for task in pool.open_tasks("strip")] == [ids[1]]


@pytest.mark.parametrize("fault", ["size", "dtype", "state"])
def test_a_label_that_does_not_fit_takes_none_of_its_batch(pool: Pool, fill: Fill, fault: str) -> None:
    ids = fill(range(3))
    pool.hand_over("strip", 0, [Pick(name, "train", {}) for name in ids[:2]])
    good = Returned(ids[0], np.zeros((64, 64), np.uint8), "me")
    bad = {
        "size": Returned(ids[1], np.zeros((63, 64), np.uint8), "me"),
        "dtype": Returned(ids[1], np.zeros((64, 64), np.int64), "me"),  # the fault
        "state": Returned(ids[2], np.zeros((64, 64), np.uint8), "me"),
    }[fault]
    before = everything(pool)

    with pytest.raises(StateError, match="no label was taken"):
        pool.label([good, bad])

    assert everything(pool) == before


@pytest.mark.parametrize("act", ["UPDATE label_event SET source = 'x'", "DELETE FROM label_event"])
def test_label_events_are_only_ever_added(pool: Pool, fill: Fill, act: str) -> None:
    ids = fill(range(1))
    pool.hand_over("strip", 0, [Pick(ids[0], "train", {})])
    pool.label([Returned(ids[0], np.zeros((64, 64), np.uint8), "me")])
    before = everything(pool)

    with pytest.raises(StateError, match="never changed or removed"), pool.write() as connection:
        connection.exec_driver_sql(act)

    assert everything(pool) == before


def test_a_labelled_candidate_cannot_be_removed(pool: Pool, fill: Fill) -> None:
    ids = fill(range(1))
    pool.hand_over("strip", 0, [Pick(ids[0], "train", {})])
    before = everything(pool)

    with pytest.raises(StateError), pool.write() as connection:
        connection.exec_driver_sql("DELETE FROM candidate")

    assert everything(pool) == before


def test_ids_of_part_and_lot_stay_with_their_candidate_and_go_with_it(pool: Pool, fill: Fill) -> None:
    marked = fill(range(2), ids={"part": "0012", "lot": "Ä 7"})
    plain = fill(range(2, 4))

    found = [entry.ids for entry in pool.entries([marked[1], plain[0], marked[0]])]
    pool.trim("strip", 1)

    assert found == [{"part": "0012", "lot": "Ä 7"}, {}, {"part": "0012", "lot": "Ä 7"}]
    with pool.read() as connection:
        left = set(connection.scalars(sa.select(candidate_ids.c.candidate_id)))
    assert left == {*marked} & {*pool.ids("strip")}
