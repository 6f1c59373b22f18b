"""Ballast: disk space held back, so that a full disk can still be emptied.

SQLite needs room even to delete. The courier gives this file up when the disk is full, deletes what is least
valuable, and takes the space back when there is plenty.
"""

import os
import shutil
from pathlib import Path
from typing import Final

BALLAST_NAME: Final = "ballast"
BALLAST_BYTES: Final = 8 << 20
#: The ballast is taken back only when this many times its size is free.
_PLENTY: Final = 8
#: On a small disk the ballast is no more than this part of it: half of the disk is plenty then.
_PART: Final = 16


class Ballast:
    """One file that holds nothing."""

    def __init__(self, path: Path, *, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    def load(self) -> bool:
        """Take the space if it is not held and there is plenty, and say whether it is held."""
        if self._path.exists():
            return True
        try:
            size = self.due_bytes()
            if not size:
                return False
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.posix_fallocate(handle, 0, size)
            finally:
                os.close(handle)
        except OSError:
            self.drop()
            return False
        return True

    def due_bytes(self) -> int:
        """Say how much :meth:`load` would take now; 0 where the space is held, or there is too little of it."""
        if self._path.exists():
            return 0
        disk = shutil.disk_usage(self._path.parent)
        size = max(1, min(self._size_bytes, disk.total // _PART))
        return size if disk.free >= _PLENTY * size else 0

    def drop(self) -> None:
        """Give the space up."""
        self._path.unlink(missing_ok=True)
