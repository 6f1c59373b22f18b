"""A video file: every frame in order, at the pace asked for or as fast as the node goes."""

import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from edge_agent.inspection.cameras.camera import Away, BadFrame, Frame, Seen
from edge_agent.inspection.cameras.footage import Footage
from edge_agent.inspection.cameras.pace import Pace
from shared.clock import Clock
from shared.errors import LinkError
from shared.sources import VideoSource

#: How long before a file that cannot be opened is tried again.
_RETRY_S: Final = 5.0
#: A playlist must not send the node out into the network.
_OPTIONS: Final = {"protocol_whitelist": "file"}


class VideoCamera:
    """A clip that is played; over and over with ``loop``."""

    def __init__(
        self,
        path: Path,
        source: VideoSource,
        *,
        frames_per_s: float | None,
        channels: int,
        clock: Clock,
        until_done: bool,
    ) -> None:
        self._path = path
        self._loop = source.loop
        self._channels = channels
        self._clock = clock
        self._until_done = until_done
        self._pace = Pace(clock, frames_per_s)

    def frames(self, stop: threading.Event) -> Iterator[Seen]:
        number = 0
        while not stop.is_set():
            before = number
            fault: str | None = None
            try:
                for seen in self._play(number, stop):
                    number += 1
                    yield seen
            except LinkError as error:
                fault = str(error)
                yield Away(fault)
            # A clip that breaks off was played as far as it goes; one that gave nothing may still be on its way.
            played = number > before
            if self._until_done and (fault is not None or not self._loop):
                return
            if played and not self._loop:
                return
            if not played:
                self._clock.wait(stop, _RETRY_S)

    def _play(self, number: int, stop: threading.Event) -> Iterator[Frame | BadFrame]:
        # Why a file cannot be opened FFmpeg says itself; a pipe that nobody writes to it would wait for, for ever.
        with suppress(OSError):
            if not stat.S_ISREG(self._path.stat().st_mode):
                raise LinkError(f"{self._path}: not a regular file")
        footage = Footage.open(f"file:{self._path}", what=str(self._path), channels=self._channels, options=_OPTIONS)
        try:
            began = self._path.stat().st_mtime
            for picture in footage.pictures():
                self._pace.hold(stop)
                if stop.is_set():
                    return
                if picture.image is None:
                    yield BadFrame(number, f"{self._path}: damaged picture {picture.seconds:.3f} s from the beginning")
                else:
                    yield Frame(number, began + picture.seconds, picture.image)
                number += 1
        except OSError as error:
            raise LinkError(f"{self._path}: {error.strerror}") from None
        finally:
            footage.close()
