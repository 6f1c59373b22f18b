"""A folder that images appear in.

The folder is read again and again. A file is taken once its size and time are the same in two readings, so
that one still being written is left alone, and it is known by its name, time and size: a file written anew
is a new frame. Order is the natural one: frame2 before frame10.
"""

import errno
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edge_agent.inspection.cameras.camera import BadFrame, Frame
from edge_agent.inspection.cameras.pace import Pace
from edge_agent.log import LOG
from shared.clock import Clock
from shared.errors import ConfigError, InputError
from shared.files import read_bounded
from shared.images import decode_image
from shared.sources import FolderSource

#: Above any image that ``MAX_PIXELS`` lets through, uncompressed RGB.
_MAX_FILE_BYTES: Final = 256 << 20
#: A file's name, time in nanoseconds and size.
_Known = tuple[str, int, int]


class FolderCamera:
    """Images of a folder, each once; over and over with ``loop``."""

    def __init__(
        self,
        directory: Path,
        source: FolderSource,
        *,
        frames_per_s: float | None,
        channels: int,
        clock: Clock,
        until_done: bool,
    ) -> None:
        if not source.pattern or Path(source.pattern).is_absolute():
            raise ConfigError(
                f'{directory}: pattern "{source.pattern}" names no files in the folder; use one like *.png'
            )
        self._directory = directory
        self._source = source
        self._channels = channels
        self._clock = clock
        self._ends = until_done and not source.loop
        self._pace = Pace(clock, frames_per_s)
        self._taken: set[_Known] = set()
        self._away = False

    def frames(self, stop: threading.Event) -> Iterator[Frame | BadFrame]:
        number = 0
        before: set[_Known] = set()
        while not stop.is_set():
            found = self._list()
            if self._ends and not found - self._taken:
                return
            readable = False
            for entry in sorted(found & before - self._taken, key=lambda entry: _natural(entry[0])):
                self._pace.hold(stop)
                if stop.is_set():
                    return
                if self._know(self._directory / entry[0]) not in {entry, None}:
                    # Written to since the folder was read: the next readings decide.
                    continue
                frame = self._read(entry, number)
                readable |= isinstance(frame, Frame)
                yield frame
                self._taken.add(entry)
                number += 1
            before = found
            if not self._away:
                # What is gone from the folder need not be remembered.
                self._taken &= found
            if self._source.loop and found == self._taken:
                self._taken = set()
            if not readable:
                self._clock.wait(stop, self._source.poll_s)

    def _list(self) -> set[_Known]:
        """Read the folder; nothing while it is away."""
        try:
            if not self._directory.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "not a folder")
            known = [self._know(path) for path in self._directory.glob(self._source.pattern)]
        except OSError as error:
            self._say_away(error)
            return set()
        self._away = False
        return {entry for entry in known if entry is not None}

    def _know(self, path: Path) -> _Known | None:
        """Name a file's state; None for what is no file, or none any more."""
        # Hidden files are how others write before they rename.
        if path.name.startswith("."):
            return None
        try:
            found = path.stat()
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        return str(path.relative_to(self._directory)), found.st_mtime_ns, found.st_size

    def _say_away(self, error: OSError) -> None:
        if not self._away:
            LOG.warning("%s: %s; looking again every %g s", self._directory, error.strerror, self._source.poll_s)
        self._away = True

    def _read(self, entry: _Known, number: int) -> Frame | BadFrame:
        name, time_ns, _ = entry
        path = self._directory / name
        try:
            data = read_bounded(path, limit=_MAX_FILE_BYTES)
            image = decode_image(data, what=str(path), channels=self._channels)
        except InputError as error:
            return BadFrame(number, str(error))
        return Frame(number, time_ns / 1e9, image)


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Split a name so that numbers in it compare as numbers."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"([0-9]+)", name) if part]
