"""The spool: accepted means committed, and what goes when there is no room."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from edge_agent.courier.ballast import Ballast
from edge_agent.courier.room import JOURNAL_BYTES, RESERVE_BYTES, Disk, room_bytes
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

CAP = 1_000_000


def item(name: str, *, value: float = 1.0, size: int = 1000) -> Item:
    return Item(id=name, line="strip", value=value, payload=name.encode().ljust(size, b"."))


def ids(spool: Spool) -> list[str]:
    return [candidate for _, candidate in spool.ids_after("strip", 0, limit=10_000)]


def buried(spool: Spool) -> list[tuple[str, str]]:
    return list(spool._connection.execute("SELECT id, reason FROM dead ORDER BY seq DESC"))


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool.open(tmp_path / "spool.db", cap_bytes=CAP, ballast_bytes=0)
    yield spool
    spool.close()


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


@dataclass
class Volume:
    """A disk of which others take more or less."""

    total: int
    free: int

    def __call__(self, _path: Path) -> Disk:
        return Disk(total_bytes=self.total, free_bytes=self.free)


def test_the_spool_stops_growing_before_the_disk_is_full(tmp_path: Path) -> None:
    volume = Volume(total=1_000_000_000, free=102_000_000)
    spool = Spool.open(tmp_path / "spool.db", cap_bytes=100 * CAP, ballast_bytes=0, disk=volume)
    room = spool.cap_bytes
    assert 2_000_000 <= room < 2_200_000

    for number in range(40):
        spool.accept([item(f"c{number}", value=float(number), size=100_000)])

    counts = spool.counts()
    assert counts.items + counts.evicted == 40
    assert 15 <= counts.items <= 21
    assert ids(spool) == [f"c{number}" for number in range(40 - counts.items, 40)]
    assert (tmp_path / "spool.db").stat().st_size <= room + 200_000


def test_what_others_take_from_the_disk_makes_the_spool_smaller_and_gives_nothing_up(tmp_path: Path) -> None:
    volume = Volume(total=1_000_000_000, free=900_000_000)
    spool = Spool.open(tmp_path / "spool.db", cap_bytes=5 * CAP, ballast_bytes=0, disk=volume)
    assert spool.cap_bytes == 5 * CAP
    spool.accept([item(f"c{number}", size=100_000) for number in range(10)])

    volume.free = 0
    spool.measure()
    assert spool.counts().items == 10
    assert spool.cap_bytes < 5 * CAP
    accepted = spool.accept([item("dear", value=9.0, size=100_000)])
    # The count of the evicted takes a page of its own the first time.
    assert (accepted.new, accepted.evicted in {1, 2}) == (1, True)
    assert ids(spool)[-1] == "dear"

    volume.free = 900_000_000
    spool.measure()
    assert spool.accept([item("more", size=100_000)]).evicted == 0
    spool.close()


def test_a_spool_that_filled_the_disk_and_was_emptied_has_the_room_of_its_file_again(tmp_path: Path) -> None:
    """Its free pages counted neither as held nor as free on the disk: it took nothing more, for good."""
    volume = Volume(total=1_000_000_000, free=105_000_000)
    spool = Spool.open(tmp_path / "spool.db", cap_bytes=100 * CAP, ballast_bytes=0, disk=volume)
    spool.accept([item(f"c{number}", size=100_000) for number in range(40)])
    volume.free = 0
    spool.confirm(ids(spool))

    spool.measure()

    assert spool.cap_bytes >= 4_000_000
    accepted = spool.accept([item(f"d{number}", size=100_000) for number in range(38)])
    assert accepted == Accepted(new=38, again=0, evicted=0)
    spool.close()


@pytest.mark.parametrize(
    ("held", "total", "free", "room"),
    [
        (0, 100 << 30, 50 << 30, (50 << 30) - RESERVE_BYTES),
        (5 << 20, 100 << 30, RESERVE_BYTES, 5 << 20),
        (5 << 20, 100 << 30, 0, 5 << 20),
        (0, 1000 << 20, 300 << 20, 200 << 20),
        # A tenth of a tiny disk is less than the journal takes.
        (0, 10 << 20, 10 << 20, (10 << 20) - JOURNAL_BYTES),
    ],
)
def test_the_room_is_what_is_free_beyond_a_reserve(held: int, total: int, free: int, room: int) -> None:
    assert room_bytes(held, Disk(total_bytes=total, free_bytes=free)) == room


BROKEN_DISK = """
import resource, sys
from pathlib import Path
from edge_agent.courier.spool import Item, Spool
from shared.errors import StateError

path = Path(sys.argv[1])
spool = Spool.open(path, cap_bytes=100_000_000, ballast_bytes=0)
items = [Item(f"c{number}", "strip", 1.0, bytes(20_000)) for number in range(40)]
spool.accept(items[:20])
# A write beyond the limit fails with an error that is not "no space".
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("spool.db-wal").stat().st_size + 5000, hard))
try:
    spool.accept(items[20:])
except StateError as error:
    print(error)
assert spool.counts().items == 20, spool.counts()
spool.close()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
spool = Spool.open(path, cap_bytes=100_000_000, ballast_bytes=0)
assert spool.set_aside is None
assert [name for _, name in spool.ids_after("strip", 0, limit=100)] == [item.id for item in items[:20]]
spool.accept(items[20:])
assert spool.counts().items == 40
"""


def test_an_error_of_the_disk_is_told_and_what_was_accepted_is_there_afterwards(tmp_path: Path) -> None:
    command = [sys.executable, "-c", BROKEN_DISK, str(tmp_path / "spool.db")]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == "spool: disk I/O error; the courier ends and is started again\n"


def fill_the_disk(spool: Spool) -> None:
    """Let the file grow no further: SQLite then says what it says on a full disk."""
    spool._connection.execute(f"PRAGMA max_page_count = {page_count(spool)}")


def page_count(spool: Spool) -> int:
    (pages,) = spool._connection.execute("PRAGMA page_count").fetchone()
    return int(pages)


def test_a_full_disk_gives_up_the_least_valuable_and_goes_on(tmp_path: Path) -> None:
    ballast = tmp_path / "ballast"
    spool = Spool.open(tmp_path / "spool.db", cap_bytes=100 * CAP, ballast_bytes=4096)
    spool.accept([item(f"c{index}", value=float(index), size=5000) for index in range(100)])
    fill_the_disk(spool)

    pages = page_count(spool)

    accepted = spool.accept([item(f"d{index}", value=50.0, size=5000) for index in range(10)])

    counts = spool.counts()
    left = ids(spool)
    assert accepted.new == 10
    assert accepted.evicted == counts.evicted > 0
    assert counts.items + counts.evicted == 110
    assert "c0" not in left
    assert {"c99", "d0", "d9"} <= set(left)
    assert not ballast.exists()
    assert page_count(spool) == pages

    spool.confirm(left)
    assert ballast.exists()
    spool.accept([item(f"e{index}", size=100_000) for index in range(10)])
    assert page_count(spool) > pages
    spool.close()


def test_what_a_full_disk_cost_is_still_counted_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "spool.db"
    spool = Spool.open(path, cap_bytes=100 * CAP, ballast_bytes=0)
    fill_the_disk(spool)
    assert spool.accept([item(f"c{index}", size=5000) for index in range(10)]).evicted == 10

    spool._connection.execute("PRAGMA max_page_count = 1000000")
    spool.close()

    again = Spool.open(path, cap_bytes=100 * CAP, ballast_bytes=0)
    assert (again.counts().items, again.counts().evicted) == (0, 10)
    again.close()


def test_what_was_lost_is_counted_once_however_often_the_courier_dies(tmp_path: Path) -> None:
    path, tally = tmp_path / "spool.db", tmp_path / "tally"

    def live(names: str, *, is_full: bool) -> int:
        """Take ten candidates, and die."""
        spool = Spool.open(path, cap_bytes=100 * CAP, ballast_bytes=0)
        if is_full:
            fill_the_disk(spool)
        spool.accept([item(f"{names}{index}", size=5000) for index in range(10)])
        evicted = spool.counts().evicted
        spool._connection.close()
        return evicted

    assert live("a", is_full=True) == 10
    assert live("b", is_full=True) == 20
    before = tally.read_bytes()
    assert live("c", is_full=False) == 20
    assert tally.read_bytes() != before
    # As if it had died after the spool took the count over and before the tally began anew.
    tally.write_bytes(before)
    assert live("d", is_full=False) == 20
    assert len(before) == 4096


def test_a_tally_that_was_half_written_counts_for_nothing(tmp_path: Path) -> None:
    tally = Tally(tmp_path / "tally")
    tally.note(7)
    tally.close()
    assert Tally(tmp_path / "tally").lost == 7
    whole = (tmp_path / "tally").read_bytes()

    (tmp_path / "tally").write_bytes(whole[:8] + b"\x09" + whole[9:])

    assert Tally(tmp_path / "tally").lost == 0


SMALL_DISK = """
import os, subprocess, sys
from pathlib import Path
from edge_agent.courier.spool import Item, Spool

disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk)], check=True)
print("mounted", flush=True)
spool = Spool.open(disk / "spool.db", cap_bytes=1 << 30, ballast_bytes=1 << 20)
assert (disk / "ballast").exists()

def accept(group):
    items = [Item(f"{group}-{index}", "strip", float(group), os.urandom(20_000)) for index in range(8)]
    return spool.accept(items)

for group in range(25):
    accept(group)
try:
    with (disk / "filler").open("wb", buffering=0) as filler:
        while filler.write(bytes(4096)):
            continue
except OSError as error:
    print(error)
full = [accept(group) for group in range(25, 160)]
counts = spool.counts()
assert all(accepted.new == 8 for accepted in full), full
assert counts.items + counts.evicted == 160 * 8, counts
ids = [candidate for _, candidate in spool.ids_after("strip", 0, limit=10_000)]
assert ids[-1] == "159-7" and "0-0" not in ids
assert spool.confirm(ids[:50]) == 50
assert spool.bury(ids[60], reason="refused", now=1.0)
(disk / "filler").unlink()
assert spool.confirm(ids[61:70]) == 9
assert (disk / "ballast").exists()
assert spool._connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
spool.close()
"""


def test_a_disk_that_others_filled_is_used_on_and_emptied(tmp_path: Path) -> None:
    command = ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", SMALL_DISK, str(tmp_path)]

    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare, of util-linux")
    if "mounted" not in ended.stdout:
        pytest.skip("this machine lets nobody mount a small disk in a namespace")

    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_what_finds_no_room_at_all_is_counted(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db", cap_bytes=100 * CAP, ballast_bytes=0)
    fill_the_disk(spool)

    accepted = spool.accept([item("vast", size=500_000)])

    assert accepted == Accepted(new=0, again=0, evicted=1)
    assert spool.counts() == SpoolCounts(items=0, bytes=0, evicted=1, dead=0)
    spool.close()


def test_what_gave_way_for_one_that_found_no_room_all_the_same_is_told(tmp_path: Path) -> None:
    spool = Spool.open(tmp_path / "spool.db", cap_bytes=100 * CAP, ballast_bytes=0)
    spool.accept([item(f"c{number}", size=5000) for number in range(20)])
    fill_the_disk(spool)

    accepted = spool.accept([item("vast", size=500_000)])

    assert accepted == Accepted(new=0, again=0, evicted=21)
    assert spool.counts() == SpoolCounts(items=0, bytes=0, evicted=21, dead=0)
    spool.close()


def test_the_dead_that_find_no_room_stay_where_they_are(spool: Spool) -> None:
    spool.accept([item("a", size=400_000)])
    spool.bury("a", reason="no such line", now=5.0)
    fill_the_disk(spool)

    with pytest.raises(StateError, match="the dead stay where they are, free some space"):
        spool.revive()

    assert [entry.id for entry in spool.dead()] == ["a"]
    assert spool.counts() == SpoolCounts(items=0, bytes=0, evicted=0, dead=1)


def test_a_full_disk_that_keeps_the_dead_beside_what_is_sent_again_says_so(spool: Spool) -> None:
    spool.accept([item("a")])
    spool.bury("a", reason="no such line", now=5.0)
    spool.accept([item("b", size=100_000)])
    spool.confirm(["b"])
    spool._connection.execute("CREATE TABLE journal (data BLOB)")
    spool._connection.execute(
        "CREATE TRIGGER full BEFORE DELETE ON dead BEGIN INSERT INTO journal VALUES (zeroblob(1000000)); END"
    )
    fill_the_disk(spool)

    with pytest.raises(StateError, match="sent again and stay among the dead too, free some space"):
        spool.revive()

    assert ids(spool) == ["a"]
    assert [entry.id for entry in spool.dead()] == ["a"]


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
