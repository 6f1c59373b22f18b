"""A folder that images appear in.

The folder is read again and again. A file is taken once its size and time are the same in two readings, so
that one still being written is left alone, and it is known by its name, time and size: a file written anew
is a new frame. Order is the natural one: frame2 before frame10. A file that was judged may be moved out of the
way; nothing that lies there is ever overwritten, and a file that cannot be moved stays and is not read again.
What the disk or the share would not give is not judged: it is asked for again, and never moved.
"""

import errno
import os
import re
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edge_agent.inspection.cameras.camera import Away, BadFrame, Frame, Seen
from edge_agent.inspection.cameras.pace import Pace
from edge_agent.log import LOG
from shared.clock import Clock
from shared.console import plain
from shared.errors import InputError, LinkError
from shared.files import read_bounded
from shared.images import decode_image
from shared.marks import faults_of_ids
from shared.sources import FolderSource

#: Above any image that ``MAX_PIXELS`` lets through, uncompressed RGB.
_MAX_FILE_BYTES: Final = 256 << 20
#: A file's name, time in nanoseconds and size.
_Known = tuple[str, int, int]
#: How many files of one name a folder of judged files takes.
_MOST_ALIKE: Final = 10_000
#: How often a file is asked for that the disk would not give. The waits double from ``poll_s``: a minute of half seconds.
_MOST_TRIES: Final = 8


class FolderCamera:
    """Images of a folder, each once; over and over with ``loop``."""

    def __init__(
        self,
        directory: Path,
        source: FolderSource,
        *,
        base: Path,
        frames_per_s: float | None,
        channels: int,
        clock: Clock,
        until_done: bool,
    ) -> None:
        self._directory = directory
        self._source = source
        self._ids = None if source.ids is None else re.compile(source.ids)
        self._processed = None if source.processed is None else base / source.processed
        self._failed = None if source.failed is None else base / source.failed
        self._channels = channels
        self._clock = clock
        self._ends = until_done and not source.loop
        self._pace = Pace(clock, frames_per_s)
        self._number = 0
        self._taken: set[_Known] = set()
        #: What the disk would not give: how often it was asked, and when it is asked again.
        self._refused: dict[_Known, tuple[int, float]] = {}
        self._away = False

    def frames(self, stop: threading.Event) -> Iterator[Seen]:
        before: set[_Known] = set()
        self._tell_closed()
        while not stop.is_set():
            try:
                found, self._away = self._list(), False
            except LinkError as error:
                found, self._away = set(), True
                yield Away(str(error))
            if self._ends and not found - self._taken:
                return
            readable = False
            for seen in self._take(found & before - self._taken, stop):
                readable |= isinstance(seen, Frame)
                yield seen
            before = found
            if not self._away:
                # What is gone from the folder need not be remembered.
                self._taken &= found
                self._refused = {entry: tried for entry, tried in self._refused.items() if entry in found}
            if self._source.loop and found == self._taken:
                self._taken = set()
            if not readable:
                self._clock.wait(stop, self._source.poll_s)

    def _take(self, entries: set[_Known], stop: threading.Event) -> Iterator[Seen]:
        """Give the frames of files that are due; with none to give, why the disk refuses them."""
        refusal: Away | None = None
        began = self._number
        for entry in sorted(self._due(entries), key=lambda entry: _natural(entry[0])):
            self._pace.hold(stop)
            if stop.is_set():
                return
            known = self._know(self._directory / entry[0])
            if known is None:
                # Gone, perhaps with its folder: the next reading tells.
                break
            if known != entry:
                # Written to since the folder was read: the next readings decide.
                continue
            seen = self._read(entry)
            if isinstance(seen, Away):
                refusal = seen
                continue
            yield seen
            self._number += 1
            self._taken.add(entry)
            if entry not in self._refused:
                self._put_away(entry[0], self._processed if isinstance(seen, Frame) else self._failed)
        if refusal is not None and self._number == began:
            yield refusal

    def _list(self) -> set[_Known]:
        """Read the folder; a ``LinkError`` while it is away."""
        try:
            if not self._directory.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, "not a folder")
            # glob takes a folder it may not read for an empty one. The dot asks for the right to what is in it as well.
            os.scandir(f"{self._directory}/.").close()
            paths = list(self._directory.glob(self._source.pattern))
        except OSError as error:
            raise LinkError(f"{self._directory}: {error.strerror}") from None
        put = self._put_away_folders({self._directory, *(path.parent for path in paths)})
        if self._directory in put:
            # By a link: what is put away would come back as a new file, for ever.
            raise LinkError(f"{self._directory}: processed or failed leads back to it; no frame is taken")
        known = [self._know(path) for path in paths if path.parent not in put]
        return {entry for entry in known if entry is not None}

    def _due(self, entries: set[_Known]) -> set[_Known]:
        """Leave out what the disk would not give a moment ago."""
        now = self._clock.monotonic()
        return {entry for entry in entries if entry not in self._refused or self._refused[entry][1] <= now}

    def _refuse(self, entry: _Known, reason: str) -> BadFrame | Away:
        """Note that the disk would not give a file; it is asked for again, later, but not for ever."""
        tries = self._refused.get(entry, (0, 0.0))[0] + 1
        # A run that is to end waits for no disk, and a loop comes by again.
        last = tries >= _MOST_TRIES or self._ends or self._source.loop
        wait_s = 0.0 if last else self._source.poll_s * 2 ** (tries - 1)
        self._refused[entry] = tries, self._clock.monotonic() + wait_s
        if last:
            return BadFrame(self._number, f"{reason}; it stays where it is")
        return Away(reason)

    def _put_away_folders(self, folders: set[Path]) -> set[Path]:
        """Return those of some folders that judged files are put into, by whatever link."""
        places = {os.path.realpath(place) for place in (self._processed, self._failed) if place is not None}
        return {folder for folder in folders if os.path.realpath(folder) in places} if places else set()

    def _tell_closed(self) -> None:
        """Say which folders below may not be read: to a pattern that goes through all of them they look empty."""
        if "**" not in Path(self._source.pattern).parts:
            return
        failed: list[OSError] = []
        for _ in os.walk(self._directory, onerror=failed.append):
            continue
        for error in failed:
            # The folder itself is away then, which is told by other means.
            if Path(error.filename) != self._directory:
                LOG.warning("%s: %s; no frame is taken from it", error.filename, error.strerror)

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

    def _put_away(self, name: str, directory: Path | None) -> None:
        """Move a judged file to where the operator wants it."""
        path = self._directory / name
        if directory is None:
            return
        try:
            if not path.exists():
                return
            directory.mkdir(parents=True, exist_ok=True)
            path.rename(_free(directory, path))
        except OSError as error:
            LOG.warning("%s: %s; it stays where it is and is not read again", path, error.strerror)

    def _read(self, entry: _Known) -> Frame | BadFrame | Away:
        name, time_ns, size = entry
        path = self._directory / name
        if size > _MAX_FILE_BYTES:
            reason = f"{path}: {size} bytes, the limit is {_MAX_FILE_BYTES}; the file is not read"
            return BadFrame(self._number, plain(reason, keep=""))
        try:
            data = read_bounded(path, limit=_MAX_FILE_BYTES)
        except InputError as error:
            return self._refuse(entry, plain(str(error), keep=""))
        self._refused.pop(entry, None)
        try:
            image = decode_image(data, what=str(path), channels=self._channels)
        except InputError as error:
            return BadFrame(self._number, plain(str(error), keep=""))
        return Frame(self._number, time_ns / 1e9, image, ids=self._read_ids(name))

    def _read_ids(self, name: str) -> dict[str, str]:
        """Read the ids out of a file's name; what cannot ride along is left out."""
        found = None if self._ids is None else self._ids.search(name)
        ids = {} if found is None else {key: value for key, value in found.groupdict().items() if value}
        return {key: value for key, value in ids.items() if not faults_of_ids({key: value})}


def _free(directory: Path, path: Path) -> Path:
    """Name a place that nothing lies at: a file of the same name keeps its own."""
    for count in range(1, _MOST_ALIKE):
        place = directory / (path.name if count == 1 else f"{path.stem}-{count}{path.suffix}")
        if not place.exists():
            return place
    raise FileExistsError(errno.EEXIST, f"{directory} has {_MOST_ALIKE} files of this name")


def _natural(name: str) -> list[tuple[int, int, str]]:
    """Split a name so that numbers in it compare as numbers."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"([0-9]+)", name) if part]
