"""The spool: accepted means committed, until it is confirmed, buried, or evicted for more valuable ones."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_agent.courier.ballast import Ballast
from edge_agent.courier.spool import (
    _SCHEMA,
    KEPT_DEAD,
    KEPT_DEAD_BYTES,
    Accepted,
    Dead,
    Item,
    Spool,
    SpoolCounts,
)
from edge_agent.courier.tally import Tally
from edge_agent.database import Opened
from shared.errors import StateError
from tests.edge_agent.courier.spooled import CAP, ids, item


def buried(spool: Spool) -> list[tuple[str, str]]:
    return list(spool._connection.execute("SELECT id, reason FROM dead ORDER BY seq DESC"))


def test_candidates_come_back_in_the_order_they_came(spool: Spool) -> None:
    accepted = spool.accept([item("a"), item("b", value=9.0), item("c")])

    assert accepted == Accepted(new=3, again=0, evicted=0)
    assert ids(spool) == ["a", "b", "c"]
    found = spool.read("b")
    assert found is not None
    assert (found.line, found.payload) == ("strip", item("b").payload)


def test_the_same_candidate_is_kept_once(spool: Spool) -> None:
    spool.accept([item("a")])

    accepted = spool.accept([item("a"), item("b")])

    assert accepted == Accepted(new=1, again=1, evicted=0)
    assert spool.counts() == SpoolCounts(items=2, bytes=2000, evicted=0, dead=0)


def test_the_least_valuable_goes_first_and_the_oldest_among_equals(spool: Spool) -> None:
    spool.accept([item("old", value=1.0, size=400_000), item("dear", value=5.0, size=200_000)])

    accepted = spool.accept([item("new", value=1.0, size=400_000), item("late", value=1.0, size=100_000)])

    assert accepted.evicted == 1
    assert ids(spool) == ["dear", "new", "late"]
    assert spool.counts() == SpoolCounts(items=3, bytes=700_000, evicted=1, dead=0)


def test_a_newcomer_of_less_value_than_all_is_itself_evicted(spool: Spool) -> None:
    spool.accept([item("dear", value=5.0, size=900_000)])

    accepted = spool.accept([item("cheap", value=0.1, size=200_000)])

    assert (accepted.new, accepted.evicted) == (1, 1)
    assert ids(spool) == ["dear"]


def test_what_the_trainer_committed_leaves(spool: Spool) -> None:
    spool.accept([item("a"), item("b"), item("c")])

    removed = spool.confirm(["a", "c", "never seen"])

    assert removed == 2
    assert ids(spool) == ["b"]
    assert spool.counts().bytes == 1000


def test_what_the_trainer_refused_is_buried_with_the_reason(spool: Spool) -> None:
    spool.accept([item("a"), item("b")])

    assert spool.bury("a", reason="no such line", now=7.0)
    assert not spool.bury("never seen", reason="no such line", now=7.0)

    assert ids(spool) == ["b"]
    assert buried(spool) == [("a", "no such line")]
    assert spool.counts() == SpoolCounts(items=1, bytes=1000, evicted=0, dead=1)


def test_the_dead_are_all_counted_and_the_newest_kept(spool: Spool) -> None:
    names = [f"c{index}" for index in range(KEPT_DEAD + 20)]
    spool.accept([item(name, size=10) for name in names])

    for name in names:
        spool.bury(name, reason="refused", now=1.0)

    assert spool.counts().dead == len(names)
    assert [name for name, _ in buried(spool)] == names[: -KEPT_DEAD - 1 : -1]


def test_everything_is_still_there_after_a_restart(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db", cap_bytes=CAP, ballast_bytes=0)
    spool.accept([item("a"), item("b", size=700_000), item("c", value=0.5, size=400_000), item("d")])
    spool.bury("d", reason="refused", now=1.0)
    before = spool.counts()
    spool.close()

    spool = Spool.open(tmp_path / "spool.db", cap_bytes=CAP, ballast_bytes=0)

    assert spool.counts() == before == SpoolCounts(items=2, bytes=701_000, evicted=1, dead=1)
    assert ids(spool) == ["a", "b"]
    spool.close()


def test_an_unreadable_spool_is_set_aside_and_a_new_one_begun(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool.open(path, cap_bytes=CAP, ballast_bytes=0)
    spool.accept([item(f"c{index}") for index in range(100)])
    spool.close()
    data = bytearray(path.read_bytes())
    data[4096:20_000] = bytes(20_000 - 4096)
    path.write_bytes(data)

    spool = Spool.open(path, cap_bytes=CAP, ballast_bytes=0)

    assert spool.set_aside == tmp_path / "spool.db.corrupt-1"
    assert spool.set_aside.read_bytes() == data
    assert spool.accept([item("a")]).new == 1
    spool.close()


def test_a_second_courier_on_the_same_spool_is_refused(tmp_path: Path, spool: Spool) -> None:
    spool.accept([item("a")])

    with pytest.raises(StateError, match="in use by another agent"):
        Spool.open(tmp_path / "spool.db", cap_bytes=CAP, ballast_bytes=0)
    assert ids(spool) == ["a"]


def test_the_dead_that_are_kept_do_not_fill_the_disk(spool: Spool) -> None:
    size = KEPT_DEAD_BYTES // 4
    for name in ("a", "b", "c", "d", "e", "f"):
        spool.accept([item(name, size=CAP)])
        spool._connection.execute("UPDATE candidate SET payload = zeroblob(?)", (size,))
        spool.bury(name, reason="refused", now=1.0)

    assert [entry.id for entry in spool.dead()] == ["f", "e", "d", "c"]
    assert spool.counts().dead == 6


def test_the_dead_are_listed_and_sent_again_with_their_value(spool: Spool) -> None:
    spool.accept([item("a", value=7.0), item("b", value=3.0), item("c")])
    spool.bury("a", reason="no such line", now=5.0)
    spool.bury("b", reason="too large", now=6.0)
    assert spool.dead() == [
        Dead("b", "strip", "too large", 6.0, 1000),
        Dead("a", "strip", "no such line", 5.0, 1000),
    ]

    accepted = spool.revive()

    assert accepted == Accepted(new=2, again=0, evicted=0)
    assert spool.dead() == []
    values = spool._connection.execute("SELECT id, value FROM candidate ORDER BY id").fetchall()
    assert values == [("a", 7.0), ("b", 3.0), ("c", 1.0)]


def test_a_spool_of_the_first_version_is_read_on(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    old = sqlite3.connect(path)
    old.executescript(_SCHEMA.replace("CREATE INDEX IF NOT EXISTS candidate_line ON candidate (line, seq);", ""))
    old.execute("INSERT INTO candidate (id, line, value, bytes, payload) VALUES ('a', 'strip', 2.0, 3, x'010203')")
    old.execute("INSERT INTO dead (id, line, reason, at, payload) VALUES ('b', 'strip', 'refused', 1.0, x'04')")
    old.commit()
    old.close()

    for _ in range(2):
        spool = Spool.open(path, cap_bytes=CAP, ballast_bytes=0)
        assert spool.set_aside is None
        assert ids(spool) == ["a"]
        assert [entry.id for entry in spool.dead()] == ["b"]
        assert spool.lines == ("strip",)
        spool.close()


def test_a_transaction_that_fails_leaves_the_counts_alone(spool: Spool) -> None:
    spool.accept([item("a")])
    spool._connection.execute(
        "CREATE TRIGGER broken BEFORE INSERT ON candidate WHEN new.id = 'c' BEGIN SELECT RAISE(ABORT, 'broken'); END"
    )

    with pytest.raises(StateError, match="broken"):
        spool.accept([item("b"), item("c")])

    assert spool.counts() == SpoolCounts(items=1, bytes=1000, evicted=0, dead=0)
    assert ids(spool) == ["a"]


WRITER = """
import sys
from pathlib import Path
from edge_agent.courier.spool import Item, Spool

spool = Spool.open(Path(sys.argv[1]), cap_bytes=100_000_000, ballast_bytes=0)
group = 0
while True:
    names = [f"{sys.argv[2]}-{group}-{index}" for index in range(8)]
    spool.accept([Item(id=name, line="strip", value=1.0, payload=name.encode() * 500) for name in names])
    print(*names, flush=True)
    group += 1
"""


def test_nothing_accepted_is_lost_when_the_courier_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    accepted: set[str] = set()

    for cycle, lines in enumerate((1, 7, 30, 2, 55)):
        command = [sys.executable, "-c", WRITER, str(path), f"cycle{cycle}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(lines):
                accepted.update(child.stdout.readline().split())
            os.kill(child.pid, signal.SIGKILL)
            rest = child.stdout.read()
        # A line cut short by the kill says nothing.
        accepted.update(word for line in rest.splitlines(keepends=True) if line.endswith("\n") for word in line.split())

        spool = Spool.open(path, cap_bytes=100_000_000, ballast_bytes=0)
        found = set(ids(spool))
        assert spool.set_aside is None
        assert accepted <= found
        for name in sorted(found)[:5]:
            spooled = spool.read(name)
            assert spooled is not None
            assert spooled.payload == name.encode() * 500
        spool.close()


class SpoolMachine(RuleBasedStateMachine):
    """A spool in memory against a list."""

    def __init__(self) -> None:
        super().__init__()
        connection = sqlite3.connect(":memory:", isolation_level=None)
        connection.executescript(_SCHEMA)
        ballast = Ballast(Path("/nonexistent/ballast"), size_bytes=0)
        self.spool = Spool(Opened(connection), cap_bytes=500, ballast=ballast, tally=Tally(None))
        self.model: list[tuple[str, float, int]] = []
        self.evicted = 0
        self.dead = 0
        self.number = 0

    @rule(values=st.lists(st.tuples(st.sampled_from([0.1, 0.5, 2.0]), st.integers(0, 300)), max_size=4))
    def accept(self, values: list[tuple[float, int]]) -> None:
        items = []
        for value, size in values:
            self.number += 1
            items.append(Item(id=f"c{self.number}", line="strip", value=value, payload=b"x" * size))
            self.model.append((f"c{self.number}", value, size))
        self.spool.accept(items)
        while sum(size for _, _, size in self.model) > 500:
            least = min(value for _, value, _ in self.model)
            self.model.remove(next(entry for entry in self.model if entry[1] == least))
            self.evicted += 1

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def confirm(self, data: st.DataObject) -> None:
        gone = data.draw(st.lists(st.sampled_from(self.model), unique=True))
        assert self.spool.confirm([name for name, _, _ in gone]) == len(gone)
        self.model = [entry for entry in self.model if entry not in gone]

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def bury(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.model))
        assert self.spool.bury(entry[0], reason="refused", now=1.0)
        self.model.remove(entry)
        self.dead += 1

    @invariant()
    def agrees(self) -> None:
        assert ids(self.spool) == [name for name, _, _ in self.model]
        total = sum(size for _, _, size in self.model)
        assert self.spool.counts() == SpoolCounts(len(self.model), total, self.evicted, self.dead)

    def teardown(self) -> None:
        self.spool.close()


SpoolMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestSpoolMachine = SpoolMachine.TestCase
