"""The one invariant of all fault tests: what was accepted is in the pool, in the spool, buried, or counted as evicted.

The stores are read as they lie on disk, from a copy, after the processes that own them are gone: looking changes
nothing, and a log that was not folded in is read like the owner would.
"""

import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from shared import codec
from shared.errors import WireError
from shared.identity import CandidateId, sha256_hex
from shared.messages import Candidate


@dataclass(slots=True)
class Holdings:
    """What the stores hold, and what is wrong with them by themselves."""

    pool: Counter[str] = field(default_factory=Counter)
    spool: Counter[str] = field(default_factory=Counter)
    dead: set[str] = field(default_factory=set)
    #: How many candidates the spools say they gave up for room.
    evicted: int = 0
    #: How many candidates the spools say they buried; only the newest of them are kept to look at.
    buried: int = 0
    #: How many deliveries the pool knew already.
    again: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def held(self) -> set[str]:
        return self.pool.keys() | self.spool.keys() | self.dead


def look(spools: Iterable[Path], pool: Path | None) -> Holdings:
    """Read the stores; ``pool`` is the trainer's directory."""
    found = Holdings()
    for path in spools:
        found.faults += [f"{aside.name} was set aside" for aside in path.parent.glob(f"{path.name}.corrupt-*")]
        if path.exists():
            with _copied(path) as connection:
                _look_into_spool(connection, found)
    if pool is not None and (pool / "pool.db").exists():
        with _copied(pool / "pool.db") as connection:
            _look_into_pool(connection, found)
    return found


def violations(
    found: Holdings,
    *,
    accepted: AbstractSet[str],
    offered: AbstractSet[str],
    drained: bool = False,
    exact: bool = False,
) -> list[str]:
    """Say how the stores break the invariant; nothing when they keep it.

    Args:
        found: What the stores hold.
        accepted: What the spools said they accepted.
        offered: Everything that was ever handed to them: of one that was handed over when its courier died nobody
            can say whether it was accepted.
        drained: Whether the spools must be empty.
        exact: Whether every candidate was either accepted or not, so that even evictions must add up.
    """
    wrong = list(found.faults)
    missing = accepted - found.held
    gone = found.evicted + max(0, found.buried - len(found.dead))
    if len(missing) > gone:
        wrong.append(f"{len(missing) - gone} of {len(accepted)} accepted are lost, one is {min(missing)}")
    if exact and len(missing) != gone:
        wrong.append(f"{len(missing)} accepted are held nowhere, {gone} are counted as evicted or buried long ago")
    strangers = found.held - offered
    if strangers:
        wrong.append(f"{len(strangers)} were never offered, one is {min(strangers)}")
    for what, held in (("pool", found.pool), ("spool", found.spool)):
        twice = [name for name, number in held.items() if number > 1]
        if twice:
            wrong.append(f"{len(twice)} stand twice in the {what}, one is {min(twice)}")
    numbered = Counter((parsed.node, parsed.boot, parsed.seq) for parsed in map(CandidateId.parse, found.pool))
    wrong += [f"{name} has {number} rows in the pool" for name, number in numbered.items() if number > 1]
    if drained and found.spool:
        wrong.append(f"{len(found.spool)} are still in the spool, one is {min(found.spool)}")
    return wrong


def _look_into_spool(connection: sqlite3.Connection, found: Holdings) -> None:
    # A store whose process died before its first transaction lacks tables, and holds nothing there.
    tables = _tables(connection, "spool", found)
    if "candidate" in tables:
        for name, size, payload in connection.execute("SELECT id, bytes, payload FROM candidate"):
            found.spool[name] += 1
            try:
                candidate = codec.decode(payload, Candidate)
            except WireError as error:
                found.faults.append(f"spool: {name}: {error}")
                continue
            if candidate.id != name or size != len(payload) or not _is_its_own(name, candidate.crop):
                found.faults.append(f"spool: {name}: its bytes are not its own")
    if "dead" in tables:
        found.dead |= {str(row[0]) for row in connection.execute("SELECT id FROM dead")}
    if "counter" in tables:
        counters = dict(connection.execute("SELECT name, value FROM counter"))
        found.evicted += counters.get("evicted", 0)
        found.buried += counters.get("dead", 0)


def _look_into_pool(connection: sqlite3.Connection, found: Holdings) -> None:
    if "candidate" not in _tables(connection, "pool", found):
        return
    for name, crop in connection.execute("SELECT id, crop FROM candidate"):
        found.pool[name] += 1
        if not _is_its_own(name, crop):
            found.faults.append(f"pool: {name}: its crop is not its own")
    counters: Counter[str] = Counter()
    for name, value in connection.execute("SELECT name, value FROM counter"):
        counters[name] += value
    found.again += counters["again"]
    if counters["received"] - counters["dropped"] != found.pool.total():
        found.faults.append(
            f"pool: {counters['received']} received, {counters['dropped']} dropped, {found.pool.total()} there"
        )


def _tables(connection: sqlite3.Connection, what: str, found: Holdings) -> set[str]:
    """List the tables of a database that is whole; of one that is not, say so."""
    try:
        answer = connection.execute("PRAGMA integrity_check").fetchone()[0]
        tables = {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except sqlite3.DatabaseError as error:
        answer, tables = str(error), set()
    if answer == "ok":
        return tables
    found.faults.append(f"{what}: {answer}")
    return set()


def _is_its_own(name: str, crop: bytes) -> bool:
    return CandidateId.parse(name).digest == sha256_hex(crop)[:16]


class _copied(closing[sqlite3.Connection]):  # noqa: N801  # reads as a verb
    """A connection to a copy of a database and its log."""

    def __init__(self, path: Path) -> None:
        self._folder = tempfile.TemporaryDirectory()
        for suffix in ("", "-wal"):
            part = path.with_name(path.name + suffix)
            if part.exists():
                shutil.copyfile(part, Path(self._folder.name) / part.name)
        super().__init__(sqlite3.connect(Path(self._folder.name) / path.name))

    def __exit__(self, *arguments: object) -> None:
        super().__exit__(*arguments)
        self._folder.cleanup()
