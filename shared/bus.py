"""The bus seam: what the courier, the ingest and the conductor see of MQTT.

Events come out of a bounded queue; nothing here blocks the one who publishes. ``MemoryBus`` is the fake at
this seam: the same protocol, in one process, without a broker.
"""

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from shared.errors import LinkError


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker took us; ``max_packet_bytes`` is its Maximum Packet Size, None when it names none."""

    max_packet_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The broker is away; the bus tries again by itself. ``complains``: it went because of a packet of ours."""

    reason: str
    complains: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """A message came."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Denied:
    """The broker lets us not publish or hear something; the connection stays."""

    reason: str


Event = Connected | Disconnected | Received | Denied

#: What waits for its owner at most: a flood must not fill the memory.
MAX_INBOX_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker says for us when we go without a word."""

    topic: str
    payload: bytes


class Bus(Protocol):
    """A connection that comes and goes."""

    @property
    def dropped(self) -> int:
        """How many messages found the inbox full."""

    def start(self) -> None:
        """Begin to connect, and go on trying."""

    def stop(self) -> None:
        """Disconnect cleanly."""

    def events(self, *, timeout_s: float, limit: int = 256) -> list[Event]:
        """Wait for the first event up to ``timeout_s`` and return what is there, at most ``limit``."""

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send with QoS 1; a ``LinkError`` when there is no connection."""


class Inbox:
    """A queue of events, bounded in number and bytes. What does not fit is dropped and counted: the protocol sends it again.

    ``wake`` is set whenever something comes, for an owner that waits for more than the bus.
    """

    def __init__(
        self, size: int = 4096, *, max_bytes: int = MAX_INBOX_BYTES, wake: threading.Event | None = None
    ) -> None:
        self.dropped = 0
        self._size = size
        self._max_bytes = max_bytes
        self._wake = wake
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._there = threading.Condition()

    def put(self, event: Event) -> None:
        size = _payload_bytes(event)
        with self._there:
            if isinstance(event, Received):
                if len(self._events) >= self._size or self._bytes + size > self._max_bytes:
                    self.dropped += 1
                    return
            elif len(self._events) >= self._size:
                # A change of connection must not be lost among messages: make room for it.
                self._bytes -= _payload_bytes(self._events.popleft())
                self.dropped += 1
            self._events.append(event)
            self._bytes += size
            self._there.notify()
        if self._wake is not None:
            self._wake.set()

    def take(self, *, timeout_s: float, limit: int) -> list[Event]:
        with self._there:
            if timeout_s > 0:
                self._there.wait_for(lambda: self._events, timeout_s)
            events = [self._events.popleft() for _ in range(min(limit, len(self._events)))]
            self._bytes -= sum(map(_payload_bytes, events))
        return events


def _payload_bytes(event: Event) -> int:
    return len(event.payload) if isinstance(event, Received) else 0


def matches(pattern: str, topic: str) -> bool:
    """Say whether a topic filter (``+``, ``#``, ``$share/<group>/``) matches a topic."""
    if pattern.startswith("$share/"):
        pattern = pattern.split("/", 2)[2]
    wanted, found = pattern.split("/"), topic.split("/")
    if found[0].startswith("$") and wanted[0] != found[0]:
        # The broker's own topics ($SYS) are heard only by name: MQTT 5, 4.7.2.
        return False
    for index, part in enumerate(wanted):
        if part == "#":
            return True
        if index >= len(found) or part not in {"+", found[index]}:
            return False
    return len(wanted) == len(found)


@dataclass
class MemoryBroker:
    """The broker side of ``MemoryBus``; ``online = False`` is a broker that is away."""

    online: bool = True
    retained: dict[str, bytes] = field(default_factory=dict)
    sent: list[Received] = field(default_factory=list)
    _members: "list[MemoryBus]" = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def join(self, bus: "MemoryBus") -> None:
        with self._lock:
            self._members.append(bus)
            if self.online:
                bus.welcome(self.retained)

    def leave(self, bus: "MemoryBus") -> None:
        with self._lock:
            if bus in self._members:
                self._members.remove(bus)

    def set_online(self, online: bool) -> None:
        """Take the broker away or bring it back; its retained messages are kept."""
        with self._lock:
            self.online = online
            for bus in self._members:
                if online:
                    bus.welcome(self.retained)
                else:
                    bus.inbox.put(Disconnected("the broker is away"))

    def route(self, message: Received, *, retain: bool) -> None:
        with self._lock:
            if not self.online:
                raise LinkError("broker: away; the message stays with its sender")
            self.sent.append(message)
            if retain and message.payload:
                self.retained[message.topic] = message.payload
            elif retain:
                # An empty payload takes the retained message away: MQTT 5, 3.3.1.3.
                self.retained.pop(message.topic, None)
            for bus in self._members:
                if any(matches(pattern, message.topic) for pattern in bus.filters):
                    bus.inbox.put(message)


class MemoryBus:
    """One member of a ``MemoryBroker``."""

    def __init__(
        self,
        broker: MemoryBroker,
        *,
        filters: tuple[str, ...] = (),
        max_packet_bytes: int | None = None,
        wake: threading.Event | None = None,
    ) -> None:
        self.broker = broker
        self.filters = filters
        self.inbox = Inbox(wake=wake)
        self._max_packet_bytes = max_packet_bytes

    @property
    def dropped(self) -> int:
        return self.inbox.dropped

    def start(self) -> None:
        self.broker.join(self)

    def stop(self) -> None:
        self.broker.leave(self)

    def welcome(self, retained: Mapping[str, bytes]) -> None:
        self.inbox.put(Connected(self._max_packet_bytes))
        for topic, payload in retained.items():
            # A shared subscription is sent no retained messages: MQTT 5, 4.8.2.
            own = (pattern for pattern in self.filters if not pattern.startswith("$share/"))
            if any(matches(pattern, topic) for pattern in own):
                self.inbox.put(Received(topic, payload))

    def events(self, *, timeout_s: float, limit: int = 256) -> list[Event]:
        return self.inbox.take(timeout_s=timeout_s, limit=limit)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.broker.route(Received(topic, payload), retain=retain)
