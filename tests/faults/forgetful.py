"""A disk in memory that forgets what was not synced. Pure: the file system around it is ``amnesia.py``.

Each file has what a reader sees and what has reached the platter. A power cut leaves the platter, and how much of
the rest is a matter of the weather:

- ``drop``: nothing that was not synced; names are kept at once.
- ``torn``: besides, each unsynced sector with a chance of a half, in no order.
- ``strict``: as ``drop``, but a name (made, moved, removed) counts from the sync of its directory on, as POSIX has it.
- ``worst``: ``torn`` and ``strict`` together.

The cut comes before the n-th operation that changes something; what comes after it is refused, as by a dead disk.
"""

import random
from dataclasses import dataclass, field
from typing import Final, Literal

Weather = Literal["drop", "torn", "strict", "worst"]
WEATHERS: Final[tuple[Weather, ...]] = ("drop", "torn", "strict", "worst")
#: What a disk writes whole or not at all.
SECTOR: Final = 512


class PowerCutError(Exception):
    """The power is off."""


@dataclass(eq=False)
class File:
    """What a reader sees, what has reached the platter, and where the two may differ."""

    mode: int = 0o600
    seen: bytearray = field(default_factory=bytearray)
    kept: bytearray = field(default_factory=bytearray)
    unsynced: list[tuple[int, int]] = field(default_factory=list)

    def write(self, offset: int, data: bytes) -> None:
        if offset > len(self.seen):
            self._touch(len(self.seen), offset)
            self.seen.extend(bytes(offset - len(self.seen)))
        self.seen[offset : offset + len(data)] = data
        self._touch(offset, offset + len(data))

    def truncate(self, size: int) -> None:
        # What lay beyond is zero when the file grows again, and may not be on the platter.
        self._touch(*sorted((size, len(self.seen))))
        del self.seen[size:]
        self.seen.extend(bytes(size - len(self.seen)))

    def sync(self) -> None:
        self._settle(self.unsynced)
        self._resize(len(self.seen))
        self.unsynced.clear()

    def survive(self, rng: random.Random | None) -> "File":
        """Be what is there after the cut: the platter, and with ``rng`` a random half of what was under way."""
        if rng is not None and self.unsynced:
            sectors = {at for start, end in self.unsynced for at in range(start // SECTOR, -(-end // SECTOR))}
            lucky = [at for at in sorted(sectors) if rng.random() < 0.5]
            if rng.random() < 0.5 and len(self.seen) < len(self.kept):
                self._resize(len(self.seen))
            self._settle([(at * SECTOR, (at + 1) * SECTOR) for at in lucky])
        return File(self.mode, bytearray(self.kept), bytearray(self.kept))

    def _settle(self, places: list[tuple[int, int]]) -> None:
        for start, end in places:
            written = self.seen[start:end]
            if written:
                self._resize(max(len(self.kept), start + len(written)))
                self.kept[start : start + len(written)] = written

    def _resize(self, size: int) -> None:
        del self.kept[size:]
        self.kept.extend(bytes(size - len(self.kept)))

    def _touch(self, start: int, end: int) -> None:
        if self.unsynced and self.unsynced[-1][1] == start:
            self.unsynced[-1] = (self.unsynced[-1][0], end)
        elif end > start:
            self.unsynced.append((start, end))


@dataclass(eq=False)
class Folder:
    """Names as a reader sees them, and as they have reached the platter."""

    mode: int = 0o700
    seen: "dict[str, File | Folder]" = field(default_factory=dict)
    kept: "dict[str, File | Folder]" = field(default_factory=dict)

    def sync(self) -> None:
        self.kept = dict(self.seen)

    def survive(self, rng: random.Random | None) -> "Folder":
        names = {name: entry.survive(rng) for name, entry in sorted(self.kept.items())}
        return Folder(self.mode, names, dict(names))


class Disk:
    """A tree of files under one power switch."""

    def __init__(self) -> None:
        self.root = Folder()
        self.changes = 0
        self._cut_at: int | None = None
        self._weather: Weather = "drop"
        self._rng = random.Random(0)  # noqa: S311  # the weather is no secret
        #: What a reader will find once the power is back; None while it is on.
        self._survivors: Folder | None = None

    @property
    def is_off(self) -> bool:
        return self._survivors is not None

    def arm(self, *, changes: int, weather: Weather, seed: int) -> None:
        """Cut the power before that many more changes are done."""
        self.changes = 0
        self._cut_at = changes
        self._weather = weather
        self._rng = random.Random(seed)  # noqa: S311  # no secret either

    def cut(self) -> None:
        """Cut the power now."""
        if self._survivors is None:
            torn = self._weather in {"torn", "worst"}
            self._survivors = self.root.survive(self._rng if torn else None)

    def restore(self) -> None:
        """Switch the power on again: what was not kept is gone."""
        self.cut()
        assert self._survivors is not None
        self.root, self._survivors, self._cut_at = self._survivors, None, None

    def change(self) -> None:
        """Count one more change, or refuse it."""
        if self._survivors is None:
            if self._cut_at is None or self.changes < self._cut_at:
                self.changes += 1
                return
            self.cut()
        raise PowerCutError

    def named(self, folder: Folder) -> None:
        """Names of a folder have changed: kind weather keeps them at once."""
        if self._weather in {"drop", "torn"}:
            folder.sync()

    def find(self, path: str) -> File | Folder:
        """Walk to a path; a ``KeyError`` where there is nothing."""
        entry: File | Folder = self.root
        for name in path.split("/"):
            if name:
                if not isinstance(entry, Folder):
                    raise KeyError(path)
                entry = entry.seen[name]
        return entry

    def parent(self, path: str) -> tuple[Folder, str]:
        """Walk to the folder of a path, and say its last name."""
        above, name = path.rstrip("/").rsplit("/", 1)
        folder = self.find(above)
        if not isinstance(folder, Folder):
            raise KeyError(path)
        return folder, name
