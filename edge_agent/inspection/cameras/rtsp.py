"""A network camera over RTSP: always its newest frame, found again by itself when it is lost.

One thread reads and decodes as fast as the camera sends, because a camera that is read too slowly falls behind
for good; the loop takes the newest frame, and those that went by are counted. The password is put into the
address for FFmpeg alone and stands in nothing that is said.
"""

import random
import threading
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote

from edge_agent.inspection.cameras.camera import Away, Frame, Seen
from edge_agent.inspection.cameras.footage import Footage
from edge_agent.inspection.cameras.pace import Pace
from shared.backoff import backoff_s
from shared.clock import Clock
from shared.errors import LinkError
from shared.geometry import Image
from shared.sources import RtspSource, masked

#: FFmpeg would first watch a second or more to learn the rate, and then give what it watched: the oldest frames.
_AT_ONCE: Final = {"analyzeduration": "100000", "fpsprobesize": "0"}
_FIRST_WAIT_S: Final = 1.0
_MOST_WAIT_S: Final = 60.0
#: How often a loop that waits for a frame looks whether it should end.
_LOOK_S: Final = 0.2
#: A reader that hangs in FFmpeg is left behind.
_JOIN_S: Final = 1.0


class RtspCamera:
    """A camera that goes on whether the node looks or not."""

    def __init__(
        self,
        source: RtspSource,
        *,
        password: str | None,
        frames_per_s: float | None,
        channels: int,
        clock: Clock,
        until_done: bool,
    ) -> None:
        self._source = source
        self._what = masked(source.url)
        self._address = address(source.url, source.username, password)
        self._frames_per_s = frames_per_s
        self._channels = channels
        self._clock = clock
        self._until_done = until_done
        # Cameras behind one switch must not all be called at once when it comes back.
        self._rng = random.Random()  # noqa: S311  # jitter is no secret

    def frames(self, stop: threading.Event) -> Iterator[Seen]:
        number = 0
        tries = 0
        while not stop.is_set():
            try:
                footage = self._open()
                for frame in self._watch(footage, number, stop):
                    tries = 0
                    number = frame.number + 1
                    yield frame
                fault = f"{self._what}: the stream ended"
            except LinkError as error:
                fault = str(error)
            if stop.is_set():
                return
            yield Away(fault)
            if self._until_done and number:
                # A stream that was seen and has ended is done, as a folder is that has been read.
                return
            tries += 1
            self._clock.wait(stop, backoff_s(tries, self._rng, first_s=_FIRST_WAIT_S, most_s=_MOST_WAIT_S))

    def _open(self) -> Footage:
        asked_at = self._clock.monotonic()
        try:
            return Footage.open(
                self._address,
                what=self._what,
                channels=self._channels,
                timeout_s=self._source.timeout_s,
                options={**_AT_ONCE, "rtsp_transport": self._source.transport},
            )
        except LinkError:
            # FFmpeg calls half an answer broken data.
            if self._clock.monotonic() - asked_at < self._source.timeout_s:
                raise
            raise LinkError(f"{self._what}: no answer within {self._source.timeout_s:g} s") from None

    def _watch(self, footage: Footage, number: int, stop: threading.Event) -> Iterator[Frame]:
        """Give the newest frame again and again; a ``LinkError`` when the camera is lost."""
        newest = _Newest(footage)
        reader = threading.Thread(target=newest.read, name="rtsp-reader", daemon=True)
        reader.start()
        pace = Pace(self._clock, self._frames_per_s)
        try:
            while True:
                gone = pace.wait(stop)
                taken = newest.take(stop)
                if taken is None:
                    return
                image, skipped = taken
                # With a rate of its own the camera is looked at that often, and what lies between is not missed.
                missed = skipped if self._frames_per_s is None else gone
                number += missed
                yield Frame(number, self._clock.now(), image, missed)
                number += 1
        finally:
            newest.leave()
            reader.join(_JOIN_S)


class _Newest:
    """The newest picture of some footage, read by a thread of its own."""

    def __init__(self, footage: Footage) -> None:
        self._footage = footage
        self._changed = threading.Condition()
        self._image: Image | None = None
        #: Pictures since the one that was taken last.
        self._count = 0
        self._over = False
        self._left = False
        self._fault: LinkError | None = None

    def read(self) -> None:
        """Read until the footage ends or nobody looks any more."""
        fault: LinkError | None = None
        try:
            for picture in self._footage.pictures():
                if picture.image is not None:
                    with self._changed:
                        self._image = picture.image
                        self._count += 1
                        self._changed.notify()
                if self._left:
                    break
        except LinkError as error:
            fault = error
        finally:
            self._footage.close()
            with self._changed:
                self._fault, self._over = fault, True
                self._changed.notify()

    def take(self, stop: threading.Event) -> tuple[Image, int] | None:
        """Wait for a picture and return it with how many went by before it; None at the end or with ``stop``."""
        with self._changed:
            while self._image is None and not self._over and not stop.is_set():
                self._changed.wait(_LOOK_S)
            if stop.is_set():
                return None
            if self._image is None:
                if self._fault is not None:
                    raise self._fault
                return None
            image, skipped = self._image, self._count - 1
            self._image, self._count = None, 0
            return image, skipped

    def leave(self) -> None:
        """Let the reader end after its next picture."""
        self._left = True


def address(url: str, username: str | None, password: str | None) -> str:
    """Put the credentials into a URL, for FFmpeg alone."""
    if username is None:
        return url
    scheme, _, rest = url.partition("://")
    secret = "" if password is None else f":{quote(password, safe='')}"
    return f"{scheme}://{quote(username, safe='')}{secret}@{rest}"
