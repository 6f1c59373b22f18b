"""The account sees each way in which candidates can go astray."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edge_agent.courier.spool import Item, Spool
from shared import codec
from shared.messages import Candidate
from tests.faults.accounting import Holdings, look, violations
from tests.faults.plant import candidate_of
from trainer.pool.pool import Arrival, Pool

CANDIDATES = [candidate_of(number, size=2_500) for number in range(12)]
NAMES = [candidate.id for candidate in CANDIDATES]


def spooled(folder: Path, some: list[Candidate]) -> Path:
    path = folder / "spool.db"
    spool = Spool.open(path, cap_bytes=10_000_000, ballast_bytes=0)
    spool.accept([Item(one.id, "small", 1.0, codec.encode(one)) for one in some])
    spool.close()
    return path


def pooled(folder: Path, some: list[Candidate]) -> Path:
    with Pool.open(folder / "trainer") as pool:
        pool.add([Arrival("small", "press-01", one, 0.0) for one in some])
    return folder / "trainer"


def test_what_is_in_either_store_is_accounted_for(tmp_path: Path) -> None:
    found = look([spooled(tmp_path, CANDIDATES[:7])], pooled(tmp_path, CANDIDATES[5:]))

    assert violations(found, accepted=set(NAMES), offered=set(NAMES), exact=True) == []
    assert (len(found.spool), len(found.pool)) == (7, 7)


def test_stores_that_were_never_made_hold_nothing(tmp_path: Path) -> None:
    found = look([tmp_path / "spool.db"], tmp_path / "trainer")

    assert violations(found, accepted=set(), offered=set(), drained=True, exact=True) == []


def test_looking_changes_nothing(tmp_path: Path) -> None:
    path = spooled(tmp_path, CANDIDATES)
    before = {entry.name: entry.read_bytes() for entry in tmp_path.iterdir() if entry.is_file()}

    look([path], None)

    assert {entry.name: entry.read_bytes() for entry in tmp_path.iterdir() if entry.is_file()} == before


def test_a_file_that_is_not_whole_is_told(tmp_path: Path) -> None:
    path = spooled(tmp_path, CANDIDATES)
    data = bytearray(path.read_bytes())
    data[4096:12288] = bytes(8192)
    path.write_bytes(bytes(data))
    path.with_name("spool.db-wal").unlink(missing_ok=True)
    (tmp_path / "spool.db.corrupt-1").touch()

    found = look([path], None)

    assert len(found.faults) == 2
    assert "spool.db.corrupt-1 was set aside" in found.faults


def whole() -> Holdings:
    found = Holdings()
    found.pool.update(NAMES[:6])
    found.spool.update(NAMES[6:])
    return found


def lose_one(found: Holdings) -> None:
    del found.pool[NAMES[0]]


def store_one_twice(found: Holdings) -> None:
    found.pool[NAMES[0]] += 1


def give_one_number_two_names(found: Holdings) -> None:
    found.pool[NAMES[0][:-4] + "ffff"] += 1


def invent_one(found: Holdings) -> None:
    found.pool["press-09-0000abcd-1-0123456789abcdef"] += 1


def count_one_that_was_not_evicted(found: Holdings) -> None:
    found.evicted += 1


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lose_one, "1 of 12 accepted are lost"),
        (store_one_twice, "1 stand twice in the pool"),
        (give_one_number_two_names, "has 2 rows in the pool"),
        (invent_one, "1 were never offered"),
        (count_one_that_was_not_evicted, "0 accepted are held nowhere, 1 are counted"),
    ],
)
def test_each_way_to_go_astray_is_told(spoil: Callable[[Holdings], None], said: str) -> None:
    found = whole()
    assert violations(found, accepted=set(NAMES), offered=set(NAMES), exact=True) == []

    spoil(found)

    wrong = violations(found, accepted=set(NAMES), offered=set(NAMES), exact=True)
    assert any(said in words for words in wrong), wrong


def test_what_was_evicted_or_buried_long_ago_is_not_lost() -> None:
    found = replace(whole(), evicted=1, buried=1)
    for name in NAMES[:2]:
        del found.pool[name]

    assert violations(found, accepted=set(NAMES), offered=set(NAMES), exact=True) == []


def test_a_spool_that_must_be_empty_is_told_when_it_is_not() -> None:
    wrong = violations(whole(), accepted=set(NAMES), offered=set(NAMES), drained=True)

    assert wrong == [f"6 are still in the spool, one is {min(NAMES[6:])}"]
