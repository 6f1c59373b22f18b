"""The spool's file: its transactions, its errors, and how it lives with a disk that others fill.

The file grows no further than what the disk has beyond a reserve. A disk that is full all the same is met with the
ballast: it is given up for the journal, so that something can be deleted. After an error of the disk nothing is
tried again on the same connection: the courier ends, and the next one opens and checks the file.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

from edge_agent.courier.ballast import Ballast
from edge_agent.courier.room import Disk, room_bytes
from shared.errors import StateError

T = TypeVar("T")

#: What SQLite allows.
_ALL_PAGES: Final = 1073741823


class SpoolFile:
    """One connection and the ballast beside it."""

    def __init__(self, connection: sqlite3.Connection, *, ballast: Ballast, disk: Callable[[], Disk] | None) -> None:
        self._connection = connection
        self._ballast = ballast
        self._disk = disk
        #: While the disk is full the file may not grow.
        self._is_capped = False
        #: How large the file may become; None where no disk is looked at.
        self.room_bytes: int | None = None

    def measure(self) -> None:
        """Look how much room the disk has: what others write makes the spool smaller, what they delete larger."""
        if self._disk is None:
            return
        with suppress(OSError):
            self.room_bytes = room_bytes(self._whole_bytes(), self._disk())

    @property
    def is_above_room(self) -> bool:
        """Whether the file has grown further than it may."""
        return self.room_bytes is not None and self._bytes() > self.room_bytes

    def rows(self, statement: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Read, or set something of the connection."""
        with self._errors():
            return self._connection.execute(statement, values).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write: all of it is durable at the end of the block, or none of it; a ``FullDiskError`` says no room."""
        with self._errors():
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def with_ballast(self, action: Callable[[], T]) -> T | None:
        """Do something that only removes; None when even that finds no room and nothing was removed.

        The trainer's word comes again only when the candidate is sent again.
        """
        try:
            return action()
        except FullDiskError:
            self.make_room()
        try:
            return action()
        except FullDiskError:
            return None

    def make_room(self) -> None:
        """Give up the ballast for the journal alone: the file must not grow into it, or nothing could be deleted."""
        self._ballast.drop()
        self.write_back()
        ((pages,),) = self.rows("PRAGMA page_count")
        self.rows(f"PRAGMA max_page_count = {pages}")
        self._is_capped = True

    def recover(self) -> None:
        """Let the file grow again and take the ballast back once the disk has plenty of room."""
        held = self._ballast.load()
        if self._is_capped and held:
            self.rows(f"PRAGMA max_page_count = {_ALL_PAGES}")
            self._is_capped = False

    def recover_if_capped(self) -> None:
        """Look whether a disk that was full has room again."""
        if self._is_capped:
            self.recover()

    def write_back(self) -> None:
        """Move the journal into the file and give its space back; what finds no room stays in the journal."""
        with suppress(FullDiskError):
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _bytes(self) -> int:
        """Say how much of the file is in use; what is free inside it is used again before it grows."""
        ((free,),), ((size,),) = self.rows("PRAGMA freelist_count"), self.rows("PRAGMA page_size")
        return self._whole_bytes() - int(free * size)

    def _whole_bytes(self) -> int:
        """Say how large the file is: what is free inside it is nobody else's, the disk does not count it as free."""
        ((pages,),), ((size,),) = self.rows("PRAGMA page_count"), self.rows("PRAGMA page_size")
        return int(pages * size)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Let no exception of SQLite out as itself."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise FullDiskError from error
            raise StateError(f"spool: {error}; the courier ends and is started again") from None


class FullDiskError(Exception):
    """The disk has no room for a transaction."""
