"""Durable files: a name either holds the whole content or the old one, also after a power cut."""

import os
from pathlib import Path

from shared.errors import InputError


def write_durably(path: Path, data: bytes, *, secret: bool = False) -> None:
    """Write, flush to disk, then take the name. A secret is readable by its owner alone from its first byte."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    mode = 0o600 if secret else 0o644
    handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            if secret:
                # A part left by a power cut keeps the mode it was made with.
                os.fchmod(handle, mode)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Make the names inside a directory durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def read_bounded(path: Path, *, limit: int) -> bytes:
    """Read a file that may not be larger than ``limit`` bytes."""
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    if len(data) > limit:
        raise InputError(f"{path}: more than {limit} bytes; the file is not read")
    return data
