"""The courier's end of the hand-off: a unix socket that inspection sends candidates to.

Readers wait when the queue is full, so the pressure goes back through the socket to inspection, which counts
what it cannot hand over and never waits itself.
"""

import queue
import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final, cast

from edge_agent.handoff import Handed, read_handed
from edge_agent.log import LOG
from edge_agent.paths import listen
from shared.errors import WireError

_QUEUE: Final = 64


class Intake:
    """Candidates that came over the socket and are not yet in the spool."""

    def __init__(self, path: Path, *, wake: threading.Event) -> None:
        self._wake = wake
        self._server = listen(path)
        self._queue: queue.Queue[Handed] = queue.Queue(_QUEUE)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._closed = False
        threading.Thread(target=self._accept, name="intake", daemon=True).start()

    @property
    def pending(self) -> int:
        """What may still come into the spool: candidates in hand, and one for each connection not yet closed."""
        # The connections first: one that ends in between has put its candidates into the queue by then.
        with self._lock:
            connections = len(self._connections)
        return connections + self._queue.unfinished_tasks

    def take(self, *, limit: int) -> list[Handed]:
        """Return what is there, without waiting; ``stored`` follows."""
        handed: list[Handed] = []
        try:
            while len(handed) < limit:
                handed.append(self._queue.get_nowait())
        except queue.Empty:
            pass
        return handed

    def stored(self, count: int) -> None:
        """Say that candidates which were taken are in the spool or refused."""
        for _ in range(count):
            self._queue.task_done()

    def close(self) -> None:
        """Take no further connection; those that are open may send what they have."""
        self._closed = True
        with suppress(OSError):
            # Closing alone does not wake the thread that waits in accept.
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError as error:
                if not self._closed:
                    LOG.error("hand-off: %s; the courier takes no more candidates", error.strerror)
                return
            with self._lock:
                self._connections.add(connection)
            threading.Thread(target=self._read, args=(connection,), name="handoff-reader", daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as stream:
                while (handed := read_handed(cast(BinaryIO, stream))) is not None:
                    self._queue.put(handed)
                    self._wake.set()
        except (OSError, WireError) as error:
            LOG.warning("%s", error)
        finally:
            with self._lock:
                self._connections.discard(connection)
            self._wake.set()
