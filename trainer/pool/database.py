"""The pool's database file: opening, migrating, and the two kinds of transaction.

SQLite in WAL mode with synchronous=FULL: what a committed transaction wrote survives a power cut. Several
processes open the file, and every write, every close and so every checkpoint holds ``pool.lock``: SQLite
below 3.51.3 can corrupt a WAL database when two connections write or checkpoint at the same moment.
"""

import fcntl
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import sqlalchemy as sa
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import event, exc

from shared.clock import Clock, SystemClock
from shared.errors import LinkError, StateError
from trainer.pool.schema import metadata

_BEGIN: Final = "winnow_begin"
_BUSY_TIMEOUT_MS: Final = 5_000
_WAL_LIMIT_BYTES: Final = 64 << 20
#: The log is folded into the file every 16 MB: at SQLite's own 4 MB a busy ingest waits for the disk twice as often.
_CHECKPOINT_PAGES: Final = 4096


class PoolAwayError(LinkError):
    """The pool cannot be written just now (disk full, locked by a stranger); what was to be written stays with its sender."""


class Database:
    """One process's hold on a pool; any thread may use it."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self.directory = directory
        self.clock = clock
        self._gate = threading.RLock()
        self._local = threading.local()
        self._lock = _lock_file(directory)
        self._engine = _engine(directory / "pool.db")
        self._closing = weakref.finalize(self, _shut, self._engine, self._lock, self._gate)

    @classmethod
    def open(cls, directory: Path, *, clock: Clock | None = None) -> Self:
        """Open the pool in the trainer's directory, making or migrating it as needed."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        database = cls(directory, clock or SystemClock())
        try:
            database._migrate()
        except BaseException:
            database.close()
            raise
        return database

    def close(self) -> None:
        """Give the file back; the last one to close folds the log into it."""
        self._closing()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """Run one write transaction: all of it is durable at the end of the block, or none of it.

        Whatever the same thread asks of the pool inside the block belongs to the transaction.
        """
        held: sa.Connection | None = getattr(self._local, "connection", None)
        if held is not None:
            yield held
            return
        with self._gate, self._errors(), _locked(self._lock):
            connection = self._engine.connect().execution_options(**{_BEGIN: "BEGIN IMMEDIATE"})
            with connection, connection.begin():
                self._local.connection = connection
                try:
                    yield connection
                finally:
                    self._local.connection = None

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """See one consistent state, whatever others write meanwhile.

        Whatever the same thread reads inside the block is read from that state.
        """
        held: sa.Connection | None = getattr(self._local, "connection", None) or getattr(self._local, "reading", None)
        if held is not None:
            yield held
            return
        with self._errors(), self._engine.connect() as connection, connection.begin():
            self._local.reading = connection
            try:
                yield connection
            finally:
                self._local.reading = None

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Let no database exception out as itself."""
        if not self._closing.alive:
            raise StateError(f"pool {self.directory}: it was closed; open it again")
        try:
            yield
        except exc.OperationalError as error:
            raise PoolAwayError(
                f"pool {self.directory}: {error.orig}; nothing was written, trying again later"
            ) from error
        except exc.IntegrityError as error:
            raise StateError(f"pool {self.directory}: {error.orig}; nothing was written") from error
        except exc.DBAPIError as error:
            raise StateError(
                f"pool {self.directory}: {error.orig}; restore pool.db from a backup or move it away"
            ) from error

    def _migrate(self) -> None:
        config = Config()
        config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
        script = ScriptDirectory.from_config(config)
        with self.write() as connection, EnvironmentContext(config, script, fn=_upgrade(script)) as environment:
            environment.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
            try:
                environment.run_migrations()
            except CommandError as error:
                raise StateError(
                    f"pool {self.directory}: {error}; a newer winnow wrote it, install that version"
                ) from error


def _upgrade(script: ScriptDirectory) -> Any:
    return lambda revision, _context: script._upgrade_revs("head", revision)  # noqa: SLF001  # alembic's own commands do the same


def _engine(path: Path) -> sa.Engine:
    # Connections stay open until the end: closing one may checkpoint, which only the holder of the lock does.
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(path)),
        pool_size=8,
        max_overflow=0,
        pool_use_lifo=True,
        connect_args={"check_same_thread": False, "timeout": _BUSY_TIMEOUT_MS / 1000},
    )

    @event.listens_for(engine, "connect")
    def _connected(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own idea of when a transaction begins would break both kinds of ours.
        connection.isolation_level = None
        # The first connection is made under the lock, by the migration; for all others WAL is already the file's mode.
        for pragma in (
            "journal_mode=WAL",
            "synchronous=FULL",
            "foreign_keys=ON",
            "trusted_schema=OFF",
            f"journal_size_limit={_WAL_LIMIT_BYTES}",
            f"wal_autocheckpoint={_CHECKPOINT_PAGES}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begun(connection: sa.Connection) -> None:
        connection.exec_driver_sql(connection.get_execution_options().get(_BEGIN, "BEGIN"))

    return engine


def _lock_file(directory: Path) -> int:
    # The database is made here so that its crops are its owner's alone from the first byte.
    os.close(os.open(directory / "pool.db", os.O_RDWR | os.O_CREAT, 0o600))
    return os.open(directory / "pool.lock", os.O_RDWR | os.O_CREAT, 0o600)


@contextmanager
def _locked(handle: int) -> Iterator[None]:
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.flock(handle, fcntl.LOCK_UN)


def _shut(engine: sa.Engine, lock: int, gate: threading.RLock) -> None:
    with gate, _locked(lock):
        engine.dispose()
    os.close(lock)
