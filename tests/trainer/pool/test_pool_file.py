"""The pool's file: full disks, kills, other writers, settings, and versions of the schema."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from shared.errors import StateError
from tests.trainer.pool.rows import SPACE, Fill, MakeCandidate, everything
from trainer.pool.pool import Arrival, Pool, PoolAwayError
from trainer.pool.schema import metadata


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
