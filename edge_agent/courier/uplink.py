"""The uplink: candidates from the spool to the trainer.

A window of candidates is on its way at a time, only while a trainer worker is online. A candidate leaves the
spool when the trainer says it is committed; what the broker says proves nothing. What the trainer refuses, or
what is larger than a message may be, is buried; what it puts off stays.
"""

import random
from collections.abc import Iterable, Sequence
from typing import Final

from edge_agent.courier.spool import Spool
from edge_agent.courier.window import Window
from edge_agent.log import LOG
from shared import codec, topics
from shared.bus import Bus, Connected, Disconnected, Event, Received, matches
from shared.errors import LinkError, WireError
from shared.messages import Ack, Nack, WorkerState

#: So often a candidate may end the connection.
_STRIKES: Final = 3


class Uplink:
    """The window between one spool and one bus."""

    def __init__(self, spool: Spool, bus: Bus, *, site: str, node: str, window: int, rng: random.Random) -> None:
        self.sent = 0
        self.sent_bytes = 0
        self.acked = 0
        self.deferred = 0
        self._spool = spool
        self._bus = bus
        self._site = site
        self._node = node
        self._window = Window(window, rng)
        #: Why the trainer took something of a line not just now, as it was said last: not said again until it comes back.
        self._put_off: dict[str, str] = {}
        self._connected = False
        self._max_packet_bytes: int | None = None
        self._workers: dict[str, bool] = {}

    @property
    def is_open(self) -> bool:
        """Whether somebody is there to commit candidates."""
        return self._connected and any(self._workers.values())

    def handle(self, events: Iterable[Event], *, wall: float, now: float) -> None:
        """Take what the bus brought; acknowledgements of one call leave the spool in one transaction."""
        acks: list[Ack] = []
        for event in events:
            match event:
                case Connected(max_packet_bytes):
                    self._connected = True
                    self._max_packet_bytes = max_packet_bytes
                    self._workers.clear()
                case Disconnected(complains=complains):
                    self._connected = False
                    self._workers.clear()
                    if complains:
                        self._blame(wall)
                case Received(topic, payload) if matches(topics.all_workers(self._site), topic):
                    self._hear_worker(topic, payload, now)
                case Received(topic, payload) if topic == topics.ack(self._site, self._node):
                    acks += self._hear_ack(payload)
                case _:
                    continue
        self._confirm([candidate for ack in acks for candidate in ack.acked])
        for ack in acks:
            for nack in ack.nacked:
                self._bury(nack.id, f"the trainer says: {nack.reason[:200]}", wall)
            for nack in ack.deferred:
                self._defer(nack, now)

    def send(self, *, wall: float, now: float) -> None:
        """Send what is due, while somebody is there to commit it."""
        if not self.is_open:
            return
        for wanted in self._window.wanted(self._spool.lines, now):
            found = self._spool.ids_after(wanted.line, wanted.seq, limit=wanted.count)
            newest = self._spool.newest(wanted.line) if wanted.newest and found else ()
            self._window.admit(wanted.line, found, now, newest=newest)
        for candidate in self._window.due(now):
            spooled = self._spool.read(candidate)
            if spooled is None:
                # Evicted meanwhile: counted there.
                self._window.leave(candidate)
                continue
            topic = topics.candidates(self._site, self._node, spooled.line)
            limit = topics.room(topic, self._max_packet_bytes)
            if len(spooled.payload) > limit:
                if not self._bury(candidate, f"{len(spooled.payload)} bytes, a message may have {limit}", wall):
                    self._window.sent(candidate, now, size_bytes=0)
                continue
            try:
                self._bus.publish(topic, spooled.payload)
            except LinkError:
                # Its Disconnected is on the way; the try does not count.
                return
            self._window.sent(candidate, now, size_bytes=len(spooled.payload))
            self.sent += 1
            self.sent_bytes += len(spooled.payload)

    def _hear_worker(self, topic: str, payload: bytes, now: float) -> None:
        was_open = self.is_open
        online = False
        if payload:
            try:
                online = codec.decode(payload, WorkerState).online
            except WireError as error:
                LOG.warning("%s: %s", topic, error)
                return
        self._workers[topic] = online
        if self.is_open and not was_open:
            self._put_off.clear()
            self._window.wake(now)

    def _hear_ack(self, payload: bytes) -> tuple[Ack, ...]:
        try:
            return (codec.decode(payload, Ack),)
        except WireError as error:
            LOG.warning("trainer: %s; the candidates stay", error)
            return ()

    def _confirm(self, acked: Sequence[str]) -> None:
        removed = self._spool.confirm(acked) if acked else None
        # What a full disk kept is sent again: the next acknowledgement removes it.
        if removed is None:
            return
        self.acked += removed
        for candidate in acked:
            self._window.committed(candidate)

    def _defer(self, nack: Nack, now: float) -> None:
        self.deferred += 1
        line = self._window.put_off(nack.id, now)
        # The same of another candidate is no other reason.
        reason = nack.reason.replace(nack.id, "")[:200]
        if line is not None and self._put_off.get(line) != reason:
            self._put_off[line] = reason
            LOG.warning('line "%s": the trainer says: not now: %s; it is sent again later', line, nack.reason[:200])

    def _blame(self, wall: float) -> None:
        """Suspect the largest candidate when the broker ended the connection over a packet; the third time it is buried.

        Not every limit of a broker is told at connect, and one that is sent again and again would hold up all others.
        """
        suspect = self._window.blame()
        if suspect is not None and suspect.strikes >= _STRIKES:
            size = suspect.size_bytes
            self._bury(suspect.id, f"{size} bytes, and {_STRIKES} times the broker ended the connection over it", wall)

    def _bury(self, candidate: str, reason: str, wall: float) -> bool:
        """Bury a candidate, and say whether the spool is rid of it."""
        buried = self._spool.bury(candidate, reason=reason, now=wall)
        if buried is None:
            return False
        self._window.leave(candidate)
        if buried:
            LOG.warning("candidate %s: %s; moved to the dead table", candidate[:120], reason)
        return True
