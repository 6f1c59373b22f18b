"""Optimised graphs beside a release: made once for this machine, loaded in a third of the time.

A file is named after what it was made from and for, and after its own bytes. One whose bytes are not those of its name is
thrown away and made again; it is trusted as far as the node's own directory is, like the releases beside it.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_agent.log import LOG
from shared.errors import InputError
from shared.files import read_bounded
from shared.identity import sha256_hex
from shared.release import MAX_FILE_BYTES

#: Of a key, and of the bytes' own hash: 128 bits each.
_DIGITS: Final = 32


@dataclass(frozen=True, slots=True)
class GraphCache:
    """The optimised graphs of one release."""

    directory: Path

    def find(self, key: str) -> bytes | None:
        """Return the graph made under this key; None when there is none whose bytes are whole."""
        try:
            paths = sorted(self.directory.glob(f"{_short(key)}-*.onnx"))
        except OSError as error:
            LOG.warning("%s: %s; the graph is optimised again", self.directory, error.strerror)
            return None
        for path in paths:
            try:
                data = read_bounded(path, limit=MAX_FILE_BYTES)
            except InputError as error:
                LOG.warning("%s; the graph is optimised again", error)
                continue
            if path.name == _name(key, data):
                return data
            LOG.warning("%s: not what it was when it was written; the graph is optimised again", path)
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                LOG.warning("%s: %s; it stays", path, error.strerror)
        return None

    def keep(self, key: str, make: Callable[[Path], None]) -> bool:
        """Have a graph written and keep it under this key; False, and why in the log, when the disk does not take it."""
        part = self.directory / f"{_short(key)}.{os.getpid()}.part"
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            make(part)
            data = read_bounded(part, limit=MAX_FILE_BYTES)
            handle = os.open(part, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
            part.replace(self.directory / _name(key, data))
        except (OSError, InputError) as error:
            LOG.warning("%s: %s; the graph is optimised at every start", self.directory, error)
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            return False
        return True

    def drop(self, key: str) -> None:
        """Throw away what was made under this key."""
        for path in self.directory.glob(f"{_short(key)}-*.onnx"):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def cache_key(*parts: str) -> str:
    """Make one key of everything that an optimised graph depends on."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _short(key: str) -> str:
    return key[:_DIGITS]


def _name(key: str, data: bytes) -> str:
    return f"{_short(key)}-{sha256_hex(data)[:_DIGITS]}.onnx"
