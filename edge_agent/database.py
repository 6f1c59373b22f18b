"""The node's two databases: opened, checked and locked the same way.

One connection a file for as long as its process lives (two connections can damage a WAL file in SQLite below
3.51.3), write-ahead log, synced at every commit. A file that cannot be read is set aside, never deleted.
"""

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from shared.errors import StateError
from shared.files import sync_directory


@dataclass(frozen=True, slots=True)
class Opened:
    """A database that is ready, and where an unreadable one before it was moved."""

    connection: sqlite3.Connection
    set_aside: Path | None = None


def open_database(path: Path, *, schema: str) -> Opened:
    """Open or make a database; ``schema`` may run on one that has it already."""
    try:
        return Opened(_connect(path, schema))
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise StateError(
                f"{path}: in use by another agent; end it first, or give each node a directory of its own"
            ) from None
        raise StateError(f"{path}: {error}; the node cannot start without it") from None
    except sqlite3.DatabaseError:
        aside = _set_aside(path)
        return Opened(_connect(path, schema), aside)


def set_aside_before(path: Path) -> list[Path]:
    """List the unreadable files that were moved aside and that nobody took away since."""
    return sorted(aside for aside in path.parent.glob(f"{path.name}.corrupt-*") if aside.name[-1].isdigit())


def describe_aside(aside: Path) -> str:
    """Say what a person should do about one of them."""
    return f"{aside.name}: was not readable and is set aside in {aside.parent}; look at the disk, then remove it"


def _connect(path: Path, schema: str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=1.0, isolation_level=None, check_same_thread=True)
    try:
        for pragma in ("locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL", "trusted_schema = OFF"):
            connection.execute(f"PRAGMA {pragma}")
        # Deleting must not need room for zeros on a full disk.
        connection.execute("PRAGMA secure_delete = OFF")
        # A short journal: on a full disk it is written back into space that the ballast gave up.
        connection.execute("PRAGMA wal_autocheckpoint = 256")
        connection.execute("PRAGMA journal_size_limit = 1048576")
        _check(connection)
        connection.executescript(schema)
    except BaseException:
        connection.close()
        raise
    path.chmod(0o600)
    sync_directory(path.parent)
    return connection


def _check(connection: sqlite3.Connection) -> None:
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(found)


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm", ""):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(aside.with_name(aside.name + suffix))
    sync_directory(path.parent)
    return aside
