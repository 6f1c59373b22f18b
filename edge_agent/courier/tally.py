"""The tally: a count of what was lost while the disk had no room to write even that down.

It lies in a small file of its own whose block was taken when there was room, and is written over in place, which
needs none. Each count has a number, and the spool keeps the number of the last one it took over in the same
transaction: a courier that dies between the two neither forgets a loss nor counts it twice.
"""

import os
import struct
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Final

#: The count's number and the count; a check sum follows.
_COUNT: Final = struct.Struct("<QQ")
_CHECK: Final = struct.Struct("<I")
_BLOCK_BYTES: Final = 4096


class Tally:
    """What was lost since the spool last took the count over."""

    def __init__(self, path: Path | None) -> None:
        """Read what the last courier left; without a path, or on a disk without room for a block, nothing is kept."""
        #: The number of the count that is being made.
        self.number = 1
        self.lost = 0
        self._handle: int | None = None
        if path is not None:
            with suppress(OSError):
                self._open(path)

    def take_over_from(self, counted: int) -> None:
        """Begin after the last count that the spool has: an older one on disk was taken over already."""
        if self.number <= counted:
            self.number, self.lost = counted + 1, 0

    def note(self, lost: int) -> None:
        """Say how much is lost by now; it is on disk when this returns."""
        self.lost = lost
        self._write()

    def begin_anew(self) -> None:
        """Begin the next count: the spool has this one."""
        self.number += 1
        self.note(0)

    def close(self) -> None:
        """Let go of the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self, path: Path) -> None:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(handle, 0, _BLOCK_BYTES)
            block = os.pread(handle, _COUNT.size + _CHECK.size, 0)
        except OSError:
            os.close(handle)
            raise
        self._handle = handle
        head, check = block[: _COUNT.size], block[_COUNT.size :]
        # A new file holds zeros; one that was half written when the power failed counts for nothing.
        if any(head) and check == _CHECK.pack(zlib.crc32(head)):
            self.number, self.lost = _COUNT.unpack(head)

    def _write(self) -> None:
        if self._handle is None:
            return
        head = _COUNT.pack(self.number, self.lost)
        with suppress(OSError):
            os.pwrite(self._handle, head + _CHECK.pack(zlib.crc32(head)), 0)
            os.fdatasync(self._handle)
