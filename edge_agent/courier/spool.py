"""The spool: candidates that the trainer has not acknowledged, on disk.

A candidate is accepted when its transaction has returned, many in one transaction; it leaves when the trainer
says that it is committed. Above the byte cap, or above what the disk has, the least valuable go first, the oldest
among equals; that is counted. What the trainer will never take is buried with the reason, so that it holds up
nothing.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from edge_agent.courier.ballast import BALLAST_BYTES, BALLAST_NAME, Ballast
from edge_agent.courier.room import Disk, look_at
from edge_agent.courier.spool_file import FullDiskError, SpoolFile
from edge_agent.courier.tally import Tally
from edge_agent.database import Opened, open_database
from shared.errors import StateError

#: How many buried candidates are kept to look at, and how many bytes of them; older ones are only counted.
KEPT_DEAD: Final = 100
KEPT_DEAD_BYTES: Final = 16 << 20
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS candidate (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    line TEXT NOT NULL,
    value REAL NOT NULL,
    bytes INTEGER NOT NULL,
    payload BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS candidate_value ON candidate (value, seq);
CREATE INDEX IF NOT EXISTS candidate_line ON candidate (line, seq);
CREATE TABLE IF NOT EXISTS dead (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    line TEXT NOT NULL,
    reason TEXT NOT NULL,
    at REAL NOT NULL,
    payload BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""
_TOO_MANY_DEAD: Final = """
DELETE FROM dead WHERE seq IN (
    SELECT seq FROM (
        SELECT seq, row_number() OVER newest AS number, sum(length(payload)) OVER newest AS total
        FROM dead WINDOW newest AS (ORDER BY seq DESC)
    ) WHERE number > ? OR total > ?
)
"""
#: What later versions added, one step each; ``user_version`` says how many a file has.
_STEPS: Final = ("ALTER TABLE dead ADD COLUMN value REAL NOT NULL DEFAULT 0.0",)


@dataclass(frozen=True, slots=True)
class Item:
    """A candidate on its way into the spool."""

    id: str
    line: str
    #: The smallest is evicted first.
    value: float
    payload: bytes


@dataclass(frozen=True, slots=True)
class Spooled:
    """A candidate in the spool."""

    id: str
    line: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of the candidates of one transaction."""

    new: int
    again: int
    evicted: int


@dataclass(frozen=True, slots=True)
class Dead:
    """A candidate that was buried: why, and when by the wall clock."""

    id: str
    line: str
    reason: str
    at: float
    bytes: int


@dataclass(frozen=True, slots=True)
class SpoolCounts:
    """How full the spool is, and what it lost since it was made."""

    items: int
    bytes: int
    evicted: int
    dead: int


class Spool:
    """The courier's own database."""

    def __init__(
        self,
        opened: Opened,
        *,
        cap_bytes: int,
        ballast: Ballast,
        tally: Tally,
        disk: Callable[[], Disk] | None = None,
    ) -> None:
        self._connection = opened.connection
        self._file = SpoolFile(opened.connection, ballast=ballast, disk=disk)
        self._wanted_bytes = cap_bytes
        #: Where an unreadable spool was moved.
        self.set_aside = opened.set_aside
        self._upgrade()
        rows = self._file.rows("SELECT line, count(*), sum(bytes) FROM candidate GROUP BY line")
        self._lines = Counter({str(row[0]): int(row[1]) for row in rows})
        self._bytes = sum(int(row[2]) for row in rows)
        #: Evicted while not even the count could be written: the first transaction that finds room writes it down.
        self._tally = tally
        ((counted,),) = self._file.rows("SELECT coalesce(max(value), 0) FROM counter WHERE name = 'tally'")
        self._tally.take_over_from(int(counted))
        self._file.measure()

    @classmethod
    def open(
        cls, path: Path, *, cap_bytes: int, ballast_bytes: int = BALLAST_BYTES, disk: Callable[[Path], Disk] = look_at
    ) -> Self:
        """Open or make the spool beside its ballast and its tally."""
        ballast = Ballast(path.with_name(BALLAST_NAME), size_bytes=ballast_bytes)
        try:
            opened = open_database(path, schema=_SCHEMA)
        finally:
            ballast.load()
        tally = Tally(path.with_name("tally"))
        return cls(opened, cap_bytes=cap_bytes, ballast=ballast, tally=tally, disk=lambda: disk(path))

    @property
    def lines(self) -> tuple[str, ...]:
        """The lines that have candidates here."""
        return tuple(self._lines)

    @property
    def cap_bytes(self) -> int:
        """What the spool may hold: the number that was asked for, or less where the disk has less."""
        room = self._file.room_bytes
        return self._wanted_bytes if room is None else min(self._wanted_bytes, room)

    def measure(self) -> None:
        """Look how much room the disk has: what others write makes the spool smaller, what they delete larger."""
        self._file.measure()

    def accept(self, items: Sequence[Item]) -> Accepted:
        """Take candidates; they are on disk when this returns, or counted as evicted.

        A full disk never raises: the least valuable make room, and what then finds none is counted as well.
        """
        accepted = self._take(items)
        without = len(items) - accepted.new - accepted.again
        if without:
            self._tally.note(self._tally.lost + without)
        return replace(accepted, evicted=accepted.evicted + without)

    def ids_after(self, line: str, seq: int, *, limit: int) -> list[tuple[int, str]]:
        """List a line's oldest candidates that come after a place in the spool: place and id."""
        rows = self._file.rows(
            "SELECT seq, id FROM candidate WHERE line = ? AND seq > ? ORDER BY seq LIMIT ?", line, seq, limit
        )
        return [(int(row[0]), str(row[1])) for row in rows]

    def newest(self, line: str) -> list[tuple[int, str]]:
        """Find a line's newest candidate: place and id; nothing when there is none."""
        rows = self._file.rows("SELECT seq, id FROM candidate WHERE line = ? ORDER BY seq DESC LIMIT 1", line)
        return [(int(row[0]), str(row[1])) for row in rows]

    def read(self, candidate: str) -> Spooled | None:
        """Read one candidate, None when it is no longer here."""
        rows = self._file.rows("SELECT line, payload FROM candidate WHERE id = ?", candidate)
        return Spooled(id=candidate, line=rows[0][0], payload=rows[0][1]) if rows else None

    def confirm(self, ids: Sequence[str]) -> int | None:
        """Let candidates go that the trainer has committed, and say how many were here; None when the disk kept all."""
        removed = self._file.with_ballast(lambda: self._remove(ids))
        if removed is not None:
            self._file.recover()
        return removed

    def bury(self, candidate: str, *, reason: str, now: float) -> bool | None:
        """Move a candidate to the dead table, and say whether it was here; None when the disk kept it."""
        return self._file.with_ballast(lambda: self._bury(candidate, reason, now))

    def dead(self) -> list[Dead]:
        """List the buried candidates that are kept, the newest first."""
        rows = self._file.rows("SELECT id, line, reason, at, length(payload) FROM dead ORDER BY seq DESC")
        return [Dead(*row) for row in rows]

    def revive(self) -> Accepted:
        """Put the buried candidates that are kept back among those to send; what is above the cap is evicted.

        On a disk that has no room for them they stay buried, which a ``StateError`` says.
        """
        rows = self._file.rows("SELECT id, line, value, payload FROM dead ORDER BY seq")
        accepted = self._take([Item(*row) for row in rows])
        if accepted.new + accepted.again < len(rows):
            raise StateError("spool: the disk is full; the dead stay where they are, free some space")
        if self._file.with_ballast(self._forget_dead) is None:
            raise StateError(
                "spool: the disk is full; the dead are sent again and stay among the dead too, free some space"
            )
        return accepted

    def counts(self) -> SpoolCounts:
        """Say how full the spool is."""
        counters = dict(self._file.rows("SELECT name, value FROM counter"))
        evicted, dead = counters.get("evicted", 0) + self._tally.lost, counters.get("dead", 0)
        return SpoolCounts(items=self._lines.total(), bytes=self._bytes, evicted=evicted, dead=dead)

    def close(self) -> None:
        """Let go of the files, and take over what the tally counts where there is room."""
        if self._tally.lost:
            with suppress(FullDiskError), self._transaction():
                pass
        self._tally.close()
        self._file.close()

    def _take(self, items: Sequence[Item]) -> Accepted:
        """Take all candidates, or none on a disk without room for them: then neither new nor here before."""
        self._file.recover_if_capped()
        try:
            return self._insert(items)
        except FullDiskError:
            self._file.make_room()
        accepted, evicted = Accepted(new=0, again=0, evicted=0), 0
        with suppress(FullDiskError):
            # Room for the candidates and for the journal of their way in.
            evicted = self._evict_to(self._bytes - 2 * sum(len(item.payload) for item in items))
            self._file.write_back()
            accepted = self._insert(items)
        return replace(accepted, evicted=accepted.evicted + evicted)

    def _insert(self, items: Sequence[Item]) -> Accepted:
        new = 0
        with self._transaction() as connection:
            for item in items:
                done = connection.execute(
                    "INSERT INTO candidate (id, line, value, bytes, payload) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
                    (item.id, item.line, item.value, len(item.payload), item.payload),
                )
                if done.rowcount:
                    new += 1
                    self._lines[item.line] += 1
                    self._bytes += len(item.payload)
            evicted = self._evict(self._wanted_bytes)
        return Accepted(new=new, again=len(items) - new, evicted=evicted)

    def _evict_to(self, cap_bytes: int) -> int:
        with self._transaction():
            return self._evict(cap_bytes)

    def _evict(self, cap_bytes: int) -> int:
        evicted = 0
        while self._lines and (self._bytes > cap_bytes or self._file.is_above_room):
            line, size = self._connection.execute(
                "DELETE FROM candidate WHERE seq = (SELECT seq FROM candidate ORDER BY value, seq LIMIT 1) RETURNING line, bytes"
            ).fetchone()
            self._forget(line, size)
            evicted += 1
        self._count("evicted", evicted)
        return evicted

    def _remove(self, ids: Sequence[str]) -> int:
        removed = 0
        with self._transaction() as connection:
            for candidate in ids:
                row = connection.execute(
                    "DELETE FROM candidate WHERE id = ? RETURNING line, bytes", (candidate,)
                ).fetchone()
                if row is not None:
                    removed += 1
                    self._forget(*row)
        return removed

    def _bury(self, candidate: str, reason: str, now: float) -> bool:
        with self._transaction() as connection:
            row = connection.execute(
                "DELETE FROM candidate WHERE id = ? RETURNING line, bytes, value, payload", (candidate,)
            ).fetchone()
            if row is None:
                return False
            line, size, value, payload = row
            self._forget(line, size)
            connection.execute(
                "INSERT OR REPLACE INTO dead (id, line, reason, at, value, payload) VALUES (?, ?, ?, ?, ?, ?)",
                (candidate, line, reason, now, value, payload),
            )
            connection.execute(_TOO_MANY_DEAD, (KEPT_DEAD, KEPT_DEAD_BYTES))
            self._count("dead", 1)
        return True

    def _forget_dead(self) -> int:
        with self._transaction() as connection:
            return connection.execute("DELETE FROM dead").rowcount

    def _forget(self, line: str, size: int) -> None:
        self._bytes -= size
        self._lines[line] -= 1
        if not self._lines[line]:
            del self._lines[line]

    def _count(self, name: str, by: int) -> None:
        if by:
            self._connection.execute(
                "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                (name, by),
            )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        before = self._lines.copy(), self._bytes
        lost = self._tally.lost
        try:
            with self._file.transaction() as connection:
                yield connection
                if lost:
                    self._count("evicted", lost)
                    connection.execute(
                        "INSERT OR REPLACE INTO counter (name, value) VALUES ('tally', ?)", (self._tally.number,)
                    )
        except BaseException:
            self._lines, self._bytes = before
            raise
        if lost:
            self._tally.begin_anew()

    def _upgrade(self) -> None:
        ((version,),) = self._file.rows("PRAGMA user_version")
        for number, step in enumerate(_STEPS[version:], start=version + 1):
            try:
                with self._file.transaction() as connection:
                    connection.execute(step)
                    connection.execute(f"PRAGMA user_version = {number}")
            except FullDiskError:
                raise StateError(
                    "spool: the disk is full and the file is of an older version; free some space"
                ) from None
