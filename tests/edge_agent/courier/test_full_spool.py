"""A spool without room: it stops before the disk is full, gives up the least valuable on a full one, and counts what that costs."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge_agent.courier.room import JOURNAL_BYTES, RESERVE_BYTES, Disk, room_bytes
from edge_agent.courier.spool import (
    Accepted,
    Spool,
    SpoolCounts,
)
from edge_agent.courier.tally import Tally
from shared.errors import StateError
from tests.edge_agent.courier.spooled import CAP, ids, item


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
