"""How much of the disk the spool's file may take: pure, but for one look at the disk."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: What stays free for everything else on the disk; a tenth of a small one.
RESERVE_BYTES: Final = 512 << 20
#: What the journal may take beside the file, on the smallest disk too: a file that leaves it no room can never be
#: emptied, for deleting goes through the journal. A group of the largest candidates, and what waits to be written back.
JOURNAL_BYTES: Final = 5 << 20


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk's size and what is free on it."""

    total_bytes: int
    free_bytes: int


def look_at(path: Path) -> Disk:
    """Look at the disk that a file lies on."""
    usage = shutil.disk_usage(path.parent)
    return Disk(usage.total, usage.free)


def room_bytes(held_bytes: int, disk: Disk) -> int:
    """Say how large a file may become that is ``held_bytes`` large: never less than it is."""
    reserve = max(JOURNAL_BYTES, min(RESERVE_BYTES, disk.total_bytes // 10))
    return held_bytes + max(0, disk.free_bytes - reserve)
