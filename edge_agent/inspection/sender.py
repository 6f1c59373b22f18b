"""The hand-off to the courier: a bounded queue in front of a unix socket.

The frame loop puts a candidate in and goes on; a full queue is counted. The sender's own thread connects,
and connects again. A candidate that was not sent whole is sent again; the courier makes it accepted, not the
socket: what the socket holds when the courier dies is gone and not counted.
"""

import queue
import socket
import threading
from pathlib import Path
from typing import Final

from edge_agent.handoff import Handed, frame_handed
from edge_agent.log import LOG
from edge_agent.paths import dial
from shared.clock import Clock

QUEUE_SIZE: Final = 64
_RETRY_S: Final = 0.2
#: How often an idle sender looks whether it should end.
_LOOK_S: Final = 0.2
#: A courier that takes nothing for this long is treated as gone.
_SEND_TIMEOUT_S: Final = 10.0


class Sender:
    """Candidates on their way to the spool."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.dropped = 0
        self._path = path
        self._clock = clock
        self._queue: queue.Queue[Handed] = queue.Queue(QUEUE_SIZE)
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._away = False

    def offer(self, handed: Handed) -> bool:
        """Put a candidate on its way without waiting, and say whether there was room."""
        try:
            self._queue.put_nowait(handed)
        except queue.Full:
            self._drop()
            return False
        return True

    @property
    def is_empty(self) -> bool:
        """Whether everything offered was sent."""
        return self._queue.unfinished_tasks == 0

    def run(self, stop: threading.Event) -> None:
        """Send until told to stop, then what is left while the courier still takes it."""
        while not (stop.is_set() and self.is_empty):
            try:
                handed = self._queue.get(timeout=_LOOK_S)
            except queue.Empty:
                continue
            if not self._deliver(frame_handed(handed), stop):
                self._drop()
            self._queue.task_done()
        self._hang_up()

    def _deliver(self, data: bytes, stop: threading.Event) -> bool:
        """Send until it is sent; after ``stop``, try once more."""
        while True:
            last_try = stop.is_set()
            try:
                connection = self._connect()
                connection.sendall(data)
            except OSError as error:
                self._hang_up()
                self._say_away(error)
                if last_try:
                    return False
                self._clock.wait(stop, _RETRY_S)
                continue
            self._away = False
            return True

    def _connect(self) -> socket.socket:
        if self._connection is None:
            self._connection = dial(self._path)
            self._connection.settimeout(_SEND_TIMEOUT_S)
        return self._connection

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _say_away(self, error: OSError) -> None:
        if not self._away:
            LOG.warning(
                "courier: away (%s); up to %d candidates wait, more are dropped", error.strerror or error, QUEUE_SIZE
            )
        self._away = True

    def _drop(self) -> None:
        # The cameras' threads and the sender's own all come here.
        with self._lock:
            self.dropped += 1
