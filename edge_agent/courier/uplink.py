"""The uplink: candidates from the spool to the trainer.

A window of candidates is on its way at a time, only while a trainer worker is online. Each waits longer after
every try. A candidate leaves the spool when the trainer says it is committed; what the broker says proves
nothing. What the trainer refuses, or what is larger than a message may be, is buried.
"""

import random
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edge_agent.courier.backoff import backoff_s
from edge_agent.courier.spool import Spool
from edge_agent.log import LOG
from shared import codec, topics
from shared.bus import Bus, Connected, Disconnected, Event, Received, matches
from shared.errors import LinkError, WireError
from shared.messages import Ack, Nack, WorkerState

FIRST_WAIT_S: Final = 5.0
MOST_WAIT_S: Final = 300.0
#: After the trainer comes back, what waits is sent within this time.
_WAKE_S: Final = 1.0
#: What MQTT puts around a payload beside the topic, at most.
_PACKET_OVERHEAD_BYTES: Final = 16


@dataclass(slots=True)
class Flight:
    """One candidate on its way."""

    id: str
    tries: int
    due: float


class Window:
    """Which candidates are on their way, and when each is sent (again). Pure."""

    def __init__(self, size: int, rng: random.Random) -> None:
        self._size = size
        self._rng = rng
        self._flights: dict[str, Flight] = {}

    @property
    def room(self) -> int:
        """How many more may come in."""
        return self._size - len(self._flights)

    def admit(self, ids: Iterable[str], now: float) -> None:
        """Take candidates in, due at once."""
        for candidate in ids:
            self._flights.setdefault(candidate, Flight(candidate, tries=0, due=now))

    def due(self, now: float) -> list[str]:
        """List what is to be sent, in the order it came in."""
        return [flight.id for flight in self._flights.values() if flight.due <= now]

    def sent(self, candidate: str, now: float) -> None:
        """Note a try."""
        flight = self._flights[candidate]
        flight.tries += 1
        flight.due = now + backoff_s(flight.tries, self._rng, first_s=FIRST_WAIT_S, most_s=MOST_WAIT_S)

    def leave(self, candidate: str) -> None:
        """Make room; the candidate is done with, whatever became of it."""
        self._flights.pop(candidate, None)

    def wake(self, now: float) -> None:
        """Send soon what waits: a peer came back that may never have seen it."""
        for flight in self._flights.values():
            flight.due = min(flight.due, now + self._rng.uniform(0.0, _WAKE_S))


class Uplink:
    """The window between one spool and one bus."""

    def __init__(self, spool: Spool, bus: Bus, *, site: str, node: str, window: int, rng: random.Random) -> None:
        self.sent = 0
        self.sent_bytes = 0
        self.acked = 0
        self._spool = spool
        self._bus = bus
        self._site = site
        self._node = node
        self._window = Window(window, rng)
        self._last_seq = 0
        self._connected = False
        self._max_packet_bytes: int | None = None
        self._workers: dict[str, bool] = {}

    @property
    def is_open(self) -> bool:
        """Whether somebody is there to commit candidates."""
        return self._connected and any(self._workers.values())

    def handle(self, events: Iterable[Event], *, wall: float, now: float) -> None:
        """Take what the bus brought; acknowledgements of one call leave the spool in one transaction."""
        acked: list[str] = []
        for event in events:
            match event:
                case Connected(max_packet_bytes):
                    self._connected = True
                    self._max_packet_bytes = max_packet_bytes
                    self._workers.clear()
                case Disconnected():
                    self._connected = False
                    self._workers.clear()
                case Received(topic, payload) if matches(topics.all_workers(self._site), topic):
                    self._hear_worker(topic, payload, now)
                case Received(topic, payload) if topic == topics.ack(self._site, self._node):
                    acked += self._hear_ack(payload, wall)
                case _:
                    continue
        removed = self._spool.confirm(acked) if acked else None
        # What a full disk kept is sent again: the next acknowledgement removes it.
        if removed is not None:
            self.acked += removed
            for candidate in acked:
                self._window.leave(candidate)

    def send(self, *, wall: float, now: float) -> None:
        """Send what is due, while somebody is there to commit it."""
        if not self.is_open:
            return
        fresh = self._spool.ids_after(self._last_seq, limit=self._window.room) if self._window.room else []
        if fresh:
            self._last_seq = fresh[-1][0]
            self._window.admit((candidate for _, candidate in fresh), now)
        for candidate in self._window.due(now):
            spooled = self._spool.read(candidate)
            if spooled is None:
                # Evicted meanwhile: counted there.
                self._window.leave(candidate)
                continue
            topic = topics.candidates(self._site, self._node, spooled.line)
            limit = self._limit(topic)
            if len(spooled.payload) > limit:
                if not self._bury(candidate, f"{len(spooled.payload)} bytes, a message may have {limit}", wall):
                    self._window.sent(candidate, now)
                continue
            try:
                self._bus.publish(topic, spooled.payload)
            except LinkError:
                # Its Disconnected is on the way; the try does not count.
                return
            self._window.sent(candidate, now)
            self.sent += 1
            self.sent_bytes += len(spooled.payload)

    def _limit(self, topic: str) -> int:
        if self._max_packet_bytes is None:
            return codec.MAX_MESSAGE_BYTES
        room = self._max_packet_bytes - len(topic.encode()) - _PACKET_OVERHEAD_BYTES
        return min(codec.MAX_MESSAGE_BYTES, room)

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
            self._window.wake(now)

    def _hear_ack(self, payload: bytes, wall: float) -> tuple[str, ...]:
        try:
            ack = codec.decode(payload, Ack)
        except WireError as error:
            LOG.warning("trainer: %s; the candidates stay", error)
            return ()
        for nack in ack.nacked:
            self._refused(nack, wall)
        return ack.acked

    def _refused(self, nack: Nack, wall: float) -> None:
        self._bury(nack.id, f"the trainer says: {nack.reason[:200]}", wall)

    def _bury(self, candidate: str, reason: str, wall: float) -> bool:
        """Bury a candidate, and say whether the spool is rid of it."""
        buried = self._spool.bury(candidate, reason=reason, now=wall)
        if buried is None:
            return False
        self._window.leave(candidate)
        if buried:
            LOG.warning("candidate %s: %s; moved to the dead table", candidate[:120], reason)
        return True
