import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from shared.clock import ManualClock
from shared.errors import StateError
from shared.messages import Candidate
from trainer.pool.pool import AddReport, Arrival, Pick, Pool, PoolAwayError, Returned
from trainer.pool.schema import candidate_ids, metadata

Fill = Callable[..., list[str]]
MakeCandidate = Callable[..., Candidate]
SPACE = "a" * 64


def everything(pool: Pool) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables: what a refusal may not change."""
    with pool.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(sa.select(table))] for table in metadata.sorted_tables
        }


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
        "dtype": Returned(ids[1], np.zeros((64, 64), np.int64), "me"),  # type: ignore[arg-type]  # the fault
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


def test_a_full_disk_writes_nothing_and_goes_on_when_space_returns(pool: Pool, make_candidate: MakeCandidate) -> None:
    pool.add([Arrival("strip", "n1", make_candidate(0), 0.0)])
    arrivals = [Arrival("strip", "n1", make_candidate(n), 1.0) for n in range(60)]
    before = everything(pool)
    with pool.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages + 4}")

    with pytest.raises(PoolAwayError, match="full"):
        pool.add(arrivals)
    assert everything(pool) == before

    with pool.write() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count=1000000")
    assert pool.add(arrivals).new == 59


def test_a_stranger_holding_the_database_is_waited_out(
    tmp_path: Path, pool: Pool, fill: Fill, make_candidate: MakeCandidate
) -> None:
    fill(range(1))
    with pool.write() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
    stranger = sqlite3.connect(tmp_path / "trainer" / "pool.db", isolation_level=None)
    stranger.execute("BEGIN IMMEDIATE")

    with pytest.raises(PoolAwayError, match="locked"):
        pool.add([Arrival("strip", "n1", make_candidate(1), 1.0)])
    stranger.execute("ROLLBACK")
    stranger.close()

    assert pool.add([Arrival("strip", "n1", make_candidate(1), 1.0)]).new == 1


WRITER = """
import sys
from pathlib import Path
from trainer.pool.pool import Pool
pool = Pool.open(Path(sys.argv[1]))
print("open", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    pool.count(sys.argv[2], {"turns": 1, "same": 1})
    pool.put_round(sys.argv[2], number, "collect", {"text": "x" * 3000})
    print(number, flush=True)
pool.close()
"""


def start_writer(directory: Path, line: str, turns: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory), line, str(turns)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_what_was_committed_is_there_after_a_kill_in_the_middle(tmp_path: Path) -> None:
    for turn in range(3):
        with start_writer(tmp_path / f"t{turn}", "strip", 100_000) as writer:
            assert writer.stdin is not None
            assert writer.stdout is not None
            assert writer.stdout.readline() == "open\n"
            writer.stdin.write("go\n")
            writer.stdin.flush()
            for _ in range(20 + turn):
                writer.stdout.readline()
            os.kill(writer.pid, signal.SIGKILL)
            said = [line for line in writer.stdout.read().splitlines() if line.isdigit()]
        last = max(map(int, said), default=19 + turn)

        with Pool.open(tmp_path / f"t{turn}") as pool, pool.read() as connection:
            numbers = [row.number for row in pool.rounds("strip")]
            turns = pool.counters("strip")["turns"]
            healthy = connection.exec_driver_sql("PRAGMA integrity_check").scalar_one()

        assert healthy == "ok"
        assert numbers == list(range(len(numbers)))
        assert len(numbers) > last
        # The two writes of a turn are two transactions: a kill may come between them.
        assert turns - len(numbers) in {0, 1}


def test_two_processes_write_at_once_and_nothing_is_lost(tmp_path: Path) -> None:
    with start_writer(tmp_path, "one", 40) as first, start_writer(tmp_path, "two", 40) as second:
        for writer in (first, second):
            assert writer.stdout is not None
            assert writer.stdout.readline() == "open\n"
        for writer in (first, second):
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        for writer in (first, second):
            assert writer.stdout is not None
            writer.stdout.read()
    assert (first.returncode, second.returncode) == (0, 0)

    with Pool.open(tmp_path) as pool, pool.read() as connection:
        assert [pool.counters(line)["turns"] for line in ("one", "two")] == [40, 40]
        assert [len(pool.rounds(line)) for line in ("one", "two")] == [40, 40]
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"


def test_a_write_waits_for_the_lock_file(tmp_path: Path, pool: Pool) -> None:
    """The lock is what keeps two connections from writing at once, not the database's own."""
    import fcntl

    with (
        (tmp_path / "trainer" / "pool.lock").open("rb") as other,
        pool.write(),
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with (tmp_path / "trainer" / "pool.lock").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_the_pool_survives_power_cuts_by_its_settings(pool: Pool) -> None:
    with pool.write() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1


def test_the_migrations_make_the_schema_that_the_code_uses(pool: Pool) -> None:
    with pool.write() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_ids_of_part_and_lot_stay_with_their_candidate_and_go_with_it(pool: Pool, fill: Fill) -> None:
    marked = fill(range(2), ids={"part": "0012", "lot": "Ä 7"})
    plain = fill(range(2, 4))

    found = [entry.ids for entry in pool.entries([marked[1], plain[0], marked[0]])]
    pool.trim("strip", 1)

    assert found == [{"part": "0012", "lot": "Ä 7"}, {}, {"part": "0012", "lot": "Ä 7"}]
    with pool.read() as connection:
        left = set(connection.scalars(sa.select(candidate_ids.c.candidate_id)))
    assert left == {*marked} & {*pool.ids("strip")}


def test_a_pool_from_before_ids_is_opened_with_none(tmp_path: Path, pool: Pool, fill: Fill) -> None:
    ids = fill(range(2))
    with pool.write() as connection:
        connection.exec_driver_sql("DROP TABLE candidate_ids")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0002'")
    pool.close()

    with Pool.open(tmp_path / "trainer") as again:
        assert [entry.ids for entry in again.entries(ids)] == [{}, {}]


def test_reads_inside_one_block_see_one_state(tmp_path: Path, pool: Pool, fill: Fill) -> None:
    ids = fill(range(6))

    with Pool.open(tmp_path / "trainer") as other, pool.read():
        assert pool.ids("strip") == ids
        other.trim("strip", 2)
        assert len(pool.embeddings(ids, SPACE)) == 6

    assert len(pool.ids("strip")) == 2


def test_opening_again_keeps_everything(tmp_path: Path, pool: Pool, fill: Fill) -> None:
    fill(range(3))
    before = everything(pool)
    pool.close()

    with Pool.open(tmp_path / "trainer") as again:
        assert everything(again) == before
    with pytest.raises(StateError, match="closed"):
        pool.counts("strip")


def test_a_pool_of_a_newer_version_is_refused_and_kept(tmp_path: Path, pool: Pool, fill: Fill) -> None:
    fill(range(1))
    with pool.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    pool.close()

    with pytest.raises(StateError, match=r"9999.*newer winnow"):
        Pool.open(tmp_path / "trainer")

    stored = sqlite3.connect(tmp_path / "trainer" / "pool.db")
    assert stored.execute("SELECT count(*) FROM candidate").fetchone() == (1,)
    stored.close()


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "pool.db").write_bytes(b"not a database at all" * 100)

    with pytest.raises(StateError, match="restore"):
        Pool.open(tmp_path)

    assert (tmp_path / "pool.db").read_bytes().startswith(b"not a database")
