"""``activation.db``: what each line runs and is about to run, written before anything risky is done.

One row a line, one transaction a transition.
"""

import sqlite3
from pathlib import Path
from typing import Final, Self

import msgspec

from edge_agent.database import Opened, open_database
from edge_agent.releases.activation import Activation
from shared.errors import StateError

_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS activation (line TEXT PRIMARY KEY, state BLOB NOT NULL);"


class ActivationStore:
    """The supervisor's own database, locked for as long as it lives."""

    def __init__(self, opened: Opened) -> None:
        self._connection = opened.connection
        #: Where an unreadable database was moved; the rollout numbers it knew are lost with it.
        self.set_aside = opened.set_aside

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open or make the database."""
        return cls(open_database(path, schema=_SCHEMA))

    def load(self, line: str) -> Activation:
        """Read a line's state; a line never seen is idle."""
        row = self._connection.execute("SELECT state FROM activation WHERE line = ?", (line,)).fetchone()
        if row is None:
            return Activation(line=line)
        try:
            return msgspec.json.decode(row[0], type=Activation)
        except msgspec.DecodeError as error:
            raise StateError(
                f'activation of line "{line}": {error}; move activation.db away to start without a release'
            ) from None

    def save(self, activation: Activation) -> None:
        """Write a line's state; it is on disk when this returns."""
        try:
            self._connection.execute(
                "INSERT INTO activation (line, state) VALUES (?, ?) ON CONFLICT (line) DO UPDATE SET state = excluded.state",
                (activation.line, msgspec.json.encode(activation)),
            )
        except sqlite3.Error as error:
            raise StateError(f'activation of line "{activation.line}": {error}; the state is unchanged') from None

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()
