"""The simulated line as a live camera: with a frame rate it goes on while the node is busy."""

import threading
from collections.abc import Iterator

from edge_agent.inspection.cameras.camera import Frame, Seen
from edge_agent.inspection.cameras.pace import Pace
from shared.clock import Clock
from shared.sources import SteelLineSource
from shared.steel_line import SteelLine


class SteelLineCamera:
    """A strip that runs under the camera."""

    def __init__(
        self,
        line: SteelLine,
        source: SteelLineSource,
        *,
        frames_per_s: float | None,
        channels: int,
        clock: Clock,
        after: int | None = None,
    ) -> None:
        self._line = line
        self._source = source
        #: The strip has moved on since an inspection process saw this frame.
        self._first = source.first_frame if after is None else max(source.first_frame, after + 1)
        self._channels = channels
        self._clock = clock
        self._pace = Pace(clock, frames_per_s)

    def frames(self, stop: threading.Event) -> Iterator[Seen]:
        number = self._first
        last = self._source.last_frame
        while not stop.is_set() and (last is None or number <= last):
            missed = self._pace.wait(stop)
            if stop.is_set():
                return
            if last is not None:
                # The last frame is always seen, however late: the source ends with it.
                missed = min(missed, last - number)
            number += missed
            grey = self._line.frame(number).image[..., None]
            image = grey if self._channels == 1 else grey.repeat(3, axis=2)
            yield Frame(number, self._clock.now(), image, missed)
            number += 1
