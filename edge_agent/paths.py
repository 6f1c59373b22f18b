"""The node's directory: which process keeps what where.

Everything below it is the node's alone (mode 0700). ``incoming/`` and ``spool.db``, with its ballast and tally, belong
to the courier, ``activation.db`` and ``releases/`` to the supervisor, ``memory/`` to inspection.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from shared.config import AgentConfig
from shared.errors import ConfigError

#: What a unix socket's address holds on Linux, the closing zero included.
_ADDRESS_BYTES: Final = 108


@dataclass(frozen=True, slots=True)
class NodePaths:
    """Where one node's things lie."""

    root: Path

    @classmethod
    def of(cls, agent_toml: Path, agent: AgentConfig) -> Self:
        """Name the directory that an ``agent.toml`` asks for, without making it."""
        return cls(agent_toml.resolve().parent / agent.directory)

    @property
    def run(self) -> Path:
        """Sockets of the running node."""
        return self.root / "run"

    @property
    def handoff_socket(self) -> Path:
        """Where the courier listens for inspection's candidates."""
        return self.run / "handoff.sock"

    @property
    def spool(self) -> Path:
        """Candidates not yet acknowledged."""
        return self.root / "spool.db"

    @property
    def memory(self) -> Path:
        """What the cameras' filters remember of what was sent."""
        return self.root / "memory"

    @property
    def activation(self) -> Path:
        """Which release each line runs, and the way there."""
        return self.root / "activation.db"

    @property
    def releases(self) -> Path:
        """Releases that passed their trial."""
        return self.root / "releases"

    @property
    def incoming(self) -> Path:
        """Releases on their way, trusted by nobody yet."""
        return self.root / "incoming"

    def make(self) -> None:
        """Make the directories, readable by the node's user alone."""
        for directory in (self.root, self.run, self.releases, self.incoming):
            try:
                directory.mkdir(parents=True, exist_ok=True)
                directory.chmod(0o700)
            except OSError as error:
                raise ConfigError(f"{directory}: {error.strerror}; the node needs a directory of its own") from None


def listen(path: Path) -> socket.socket:
    """Listen on a unix socket that only the node's user may open; a socket left by a dead process makes way."""
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with _address(path) as address:
            server.bind(address)
        server.listen(4)
    except OSError:
        server.close()
        raise
    finally:
        os.umask(before)
    return server


def dial(path: Path) -> socket.socket:
    """Connect to a unix socket; an ``OSError`` when nobody listens."""
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _address(path) as address:
            client.connect(address)
    except OSError:
        client.close()
        raise
    return client


@contextmanager
def _address(path: Path) -> Iterator[str]:
    """Give a socket path that fits an address: a long one is reached through its open directory."""
    if len(os.fsencode(path)) < _ADDRESS_BYTES:
        yield str(path)
        return
    handle = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{path.name}"
    finally:
        os.close(handle)
