"""The spool: candidates that the trainer has not acknowledged, on disk.

A candidate is accepted when its transaction has returned, many in one transaction; it leaves when the trainer
says that it is committed. Above the byte cap the least valuable go first, the oldest among equals; that is
counted. What the trainer will never take is buried with the reason, so that it holds up nothing.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self, TypeVar

from edge_agent.courier.ballast import Ballast
from edge_agent.database import Opened, open_database
from shared.errors import StateError

T = TypeVar("T")

#: How many buried candidates are kept to look at; older ones are only counted.
KEPT_DEAD: Final = 100
#: What SQLite allows.
_ALL_PAGES: Final = 1073741823
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
class SpoolCounts:
    """How full the spool is, and what it lost since it was made."""

    items: int
    bytes: int
    evicted: int
    dead: int


class Spool:
    """The courier's own database."""

    def __init__(self, opened: Opened, *, cap_bytes: int, ballast: Ballast) -> None:
        self._connection = opened.connection
        self._cap_bytes = cap_bytes
        self._ballast = ballast
        #: Where an unreadable spool was moved.
        self.set_aside = opened.set_aside
        row = self._connection.execute("SELECT count(*), coalesce(sum(bytes), 0) FROM candidate").fetchone()
        self._items, self._bytes = int(row[0]), int(row[1])
        #: While the disk is full the file may not grow.
        self._is_capped = False
        #: Evicted while not even the count could be written.
        self._lost = 0

    @classmethod
    def open(cls, path: Path, *, cap_bytes: int, ballast_bytes: int = 8 << 20) -> Self:
        """Open or make the spool beside its ballast."""
        ballast = Ballast(path.with_name("ballast"), size_bytes=ballast_bytes)
        try:
            opened = open_database(path, schema=_SCHEMA)
        finally:
            ballast.load()
        return cls(opened, cap_bytes=cap_bytes, ballast=ballast)

    def accept(self, items: Sequence[Item]) -> Accepted:
        """Take candidates; they are on disk when this returns, or counted as evicted.

        A full disk never raises: the least valuable make room, and what then finds none is counted as well.
        """
        if self._is_capped:
            self._recover()
        try:
            return self._insert(items)
        except _FullDiskError:
            self._make_room()
        try:
            # Room for the candidates and for the journal of their way in.
            evicted = self._evict_to(self._bytes - 2 * sum(len(item.payload) for item in items))
            self._write_back()
            accepted = self._insert(items)
            return replace(accepted, evicted=accepted.evicted + evicted)
        except _FullDiskError:
            self._lost += len(items)
            return Accepted(new=0, again=0, evicted=len(items))

    def ids_after(self, seq: int, *, limit: int) -> list[tuple[int, str]]:
        """List the oldest candidates that come after a place in the spool: place and id."""
        rows = self._connection.execute(
            "SELECT seq, id FROM candidate WHERE seq > ? ORDER BY seq LIMIT ?", (seq, limit)
        )
        return [(int(row[0]), str(row[1])) for row in rows]

    def read(self, candidate: str) -> Spooled | None:
        """Read one candidate, None when it is no longer here."""
        row = self._connection.execute("SELECT line, payload FROM candidate WHERE id = ?", (candidate,)).fetchone()
        return None if row is None else Spooled(id=candidate, line=row[0], payload=row[1])

    def confirm(self, ids: Sequence[str]) -> int | None:
        """Let candidates go that the trainer has committed, and say how many were here; None when the disk kept all."""
        removed = self._with_ballast(lambda: self._remove(ids))
        self._recover()
        return removed

    def bury(self, candidate: str, *, reason: str, now: float) -> bool | None:
        """Move a candidate to the dead table, and say whether it was here; None when the disk kept it."""
        return self._with_ballast(lambda: self._bury(candidate, reason, now))

    def counts(self) -> SpoolCounts:
        """Say how full the spool is."""
        counters = dict(self._connection.execute("SELECT name, value FROM counter"))
        evicted, dead = counters.get("evicted", 0) + self._lost, counters.get("dead", 0)
        return SpoolCounts(items=self._items, bytes=self._bytes, evicted=evicted, dead=dead)

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

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
                    self._items += 1
                    self._bytes += len(item.payload)
            evicted = self._evict(self._cap_bytes)
        return Accepted(new=new, again=len(items) - new, evicted=evicted)

    def _evict_to(self, cap_bytes: int) -> int:
        with self._transaction():
            return self._evict(cap_bytes)

    def _evict(self, cap_bytes: int) -> int:
        evicted = 0
        while self._bytes > cap_bytes and self._items:
            (size,) = self._connection.execute(
                "DELETE FROM candidate WHERE seq = (SELECT seq FROM candidate ORDER BY value, seq LIMIT 1) RETURNING bytes"
            ).fetchone()
            self._items -= 1
            self._bytes -= size
            evicted += 1
        self._count("evicted", evicted)
        return evicted

    def _remove(self, ids: Sequence[str]) -> int:
        removed = 0
        with self._transaction() as connection:
            for candidate in ids:
                row = connection.execute("DELETE FROM candidate WHERE id = ? RETURNING bytes", (candidate,)).fetchone()
                if row is not None:
                    removed += 1
                    self._items -= 1
                    self._bytes -= row[0]
        return removed

    def _bury(self, candidate: str, reason: str, now: float) -> bool:
        with self._transaction() as connection:
            row = connection.execute(
                "DELETE FROM candidate WHERE id = ? RETURNING line, bytes, payload", (candidate,)
            ).fetchone()
            if row is None:
                return False
            line, size, payload = row
            self._items -= 1
            self._bytes -= size
            connection.execute(
                "INSERT OR REPLACE INTO dead (id, line, reason, at, payload) VALUES (?, ?, ?, ?, ?)",
                (candidate, line, reason, now, payload),
            )
            connection.execute(
                "DELETE FROM dead WHERE seq <= (SELECT seq FROM dead ORDER BY seq DESC LIMIT 1 OFFSET ?)", (KEPT_DEAD,)
            )
            self._count("dead", 1)
        return True

    def _count(self, name: str, by: int) -> None:
        if by:
            self._connection.execute(
                "INSERT INTO counter (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = value + excluded.value",
                (name, by),
            )

    def _with_ballast(self, action: Callable[[], T]) -> T | None:
        """Do something that only removes; None when even that finds no room and nothing was removed.

        The trainer's word comes again only when the candidate is sent again.
        """
        try:
            return action()
        except _FullDiskError:
            self._make_room()
        try:
            return action()
        except _FullDiskError:
            return None

    def _make_room(self) -> None:
        """Give up the ballast for the journal alone: the file must not grow into it, or nothing could be deleted."""
        self._ballast.drop()
        self._write_back()
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        self._connection.execute(f"PRAGMA max_page_count = {pages}")
        self._is_capped = True

    def _recover(self) -> None:
        """Let the file grow again and take the ballast back once the disk has plenty of room."""
        held = self._ballast.load()
        if self._is_capped and held:
            self._connection.execute(f"PRAGMA max_page_count = {_ALL_PAGES}")
            self._is_capped = False

    def _write_back(self) -> None:
        """Move the journal into the file and give its space back; what finds no room stays in the journal."""
        with suppress(sqlite3.OperationalError):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        before = self._items, self._bytes
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            yield self._connection
            self._connection.execute("COMMIT")
        except BaseException as error:
            self._items, self._bytes = before
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.OperationalError) and error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise _FullDiskError from error
            if isinstance(error, sqlite3.Error):
                raise StateError(f"spool: {error}; the courier ends and is started again") from None
            raise


class _FullDiskError(Exception):
    """The disk has no room for a transaction."""
