"""Somebody else on the same disk."""

from pathlib import Path
from typing import Final

_BLOCK: Final = bytes(1 << 16)


class Stranger:
    """Takes all the space there is, and gives it back."""

    def __init__(self, disk: Path) -> None:
        self._file = disk / "stranger"

    def take(self) -> None:
        """Write until nothing more fits."""
        with self._file.open("ab", buffering=0) as stream:
            for size in (len(_BLOCK), 4096, 1):
                try:
                    while stream.write(_BLOCK[:size]) == size:
                        continue
                except OSError:
                    continue

    def give_back(self) -> None:
        self._file.unlink(missing_ok=True)
