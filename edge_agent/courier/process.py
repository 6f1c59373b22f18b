"""The courier process: one thread that owns the spool and the bus's events, turn by turn.

Beside it a thread reads the supervisor, one the hand-off socket, one fetches; they only enqueue.
"""

import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from edge_agent.courier.downloads import Downloads
from edge_agent.courier.heartbeat import birth, heartbeat, will
from edge_agent.courier.intake import Intake
from edge_agent.courier.spool import Item, Spool
from edge_agent.courier.uplink import Uplink
from edge_agent.handoff import Beat, Drained, Fetch, FromCourier, Handed, PacketLimit, Report, Stop, ToCourier
from edge_agent.log import LOG
from shared import codec, topics
from shared.bus import Bus, Connected, Denied, Disconnected, Event, Received
from shared.clock import Clock
from shared.config import AgentConfig
from shared.errors import LinkError, WireError
from shared.messages import Candidate, Message, Reported

#: How many candidates one transaction takes.
GROUP: Final = 32
#: How long a turn waits for something to come up.
_TURN_S: Final = 0.05
#: A broker that is started together with the node may take this long.
_PATIENCE_S: Final = 2.0
#: How long the log hears nothing more of candidates that gave way.
_EVICTIONS_S: Final = 60.0
#: How long a courier that must end waits for inspection's last candidates.
_LAST_WORDS_S: Final = 2.0


class Courier:
    """Everything of the process but its streams, signals and threads."""

    def __init__(
        self,
        agent: AgentConfig,
        *,
        boot: str,
        bus: Bus,
        spool: Spool,
        intake: Intake,
        uplink: Uplink,
        downloads: Downloads,
        clock: Clock,
        wake: threading.Event,
        said: Callable[[FromCourier], None],
        troubles: tuple[str, ...] = (),
    ) -> None:
        self._agent = agent
        self._boot = boot
        self._bus = bus
        self._spool = spool
        self._intake = intake
        self._uplink = uplink
        self._downloads = downloads
        self._clock = clock
        self._wake = wake
        self._said = said
        self._troubles = troubles
        self._beat: Beat | None = None
        self._reported: Reported | None = None
        self._beat_due = 0.0
        self._drained: int | None = None
        #: How many candidates gave way since that was said, and when it may be said again.
        self._evicted = 0
        self._say_evicted_at = 0.0
        #: What the broker takes at most, as inspection was told.
        self._packet_limit: int | None = None
        #: Why there is no connection.
        self._away = "no answer"
        #: When to say that the broker has not been there yet; None once that is said or no longer true.
        self._patience_until: float | None = clock.monotonic() + _PATIENCE_S

    def turn(self, commands: "queue.Queue[ToCourier | None]", words: "queue.Queue[FromCourier]") -> bool:
        """Do what has come up since the last turn, and say whether to go on.

        Args:
            commands: What the supervisor said; None when it is gone.
            words: What the downloads want the supervisor to hear.
        """
        self._clock.wait(self._wake, _TURN_S)
        # Cleared before looking: what comes in between is seen in the next turn.
        self._wake.clear()
        handed = self._intake.take(limit=GROUP)
        if len(handed) == GROUP:
            self._wake.set()
        self._take_in(handed)
        events = self._bus.events(timeout_s=0.0)
        now, wall = self._clock.monotonic(), self._clock.now()
        self._uplink.handle(events, wall=wall, now=now)
        for event in events:
            self._handle(event)
        self._uplink.send(wall=wall, now=now)
        while not words.empty():
            self._said(words.get_nowait())
        going_on = self._obey(commands)
        self._tell(now, wall)
        return going_on

    def finish(self) -> None:
        """Take in what inspection still sends, say goodbye and let go."""
        until = self._clock.monotonic() + _LAST_WORDS_S
        quiet = 0
        # A connection made just now shows a moment later.
        while quiet < 2 and self._clock.monotonic() < until:
            self._clock.wait(self._wake, _TURN_S)
            self._wake.clear()
            self._take_in(self._intake.take(limit=GROUP))
            quiet = 0 if self._intake.pending else quiet + 1
        self._intake.close()
        self._downloads.stop()
        self._publish(topics.state(self._agent.site, self._agent.node), will(self._boot), retain=True)
        self._bus.stop()
        self._say_evicted_at = 0.0
        self._say_evicted()
        left = self._spool.counts().items
        with suppress(BrokenPipeError):
            # A supervisor that is gone needs no last word.
            self._said(Drained(left))
        if left:
            LOG.info("%d candidates stay in the spool until the next start", left)
        self._spool.close()

    def _take_in(self, handed: list[Handed]) -> None:
        if not handed:
            return
        items = []
        for entry in handed:
            try:
                candidate = codec.decode(entry.candidate, Candidate)
            except WireError as error:
                LOG.error("hand-off: %s", error)
                continue
            items.append(Item(id=candidate.id, line=entry.line, value=entry.value, payload=entry.candidate))
        accepted = self._spool.accept(items)
        self._intake.stored(len(handed))
        self._evicted += accepted.evicted
        self._say_evicted()

    def _say_evicted(self) -> None:
        """Say what gave way, at once and then now and again: a log that is told of each fills a full disk."""
        now = self._clock.monotonic()
        if self._evicted and now >= self._say_evicted_at:
            LOG.warning("spool: full, %d of the least valuable candidates evicted", self._evicted)
            self._evicted, self._say_evicted_at = 0, now + _EVICTIONS_S

    def _handle(self, event: Event) -> None:
        match event:
            case Connected(max_packet_bytes):
                LOG.info("broker: connected")
                if max_packet_bytes != self._packet_limit:
                    self._packet_limit = max_packet_bytes
                    self._said(PacketLimit(max_packet_bytes))
                self._patience_until = None
                self._say_birth()
                self._say_reported()
            case Disconnected(reason):
                self._away = reason
                # A broker that is started together with the node is not complained of at once.
                if self._patience_until is None:
                    LOG.warning("broker: away (%s); candidates are spooled", reason)
            case Denied(reason):
                LOG.error("broker: the node %s; give it the right in the broker's access rules", reason)
            case Received(topic) if topic == topics.hint(self._agent.site):
                self._downloads.hint()
            case _:
                return

    def _obey(self, commands: "queue.Queue[ToCourier | None]") -> bool:
        while not commands.empty():
            match commands.get_nowait():
                case Fetch() as fetch:
                    self._downloads.want(fetch)
                case Report(lines):
                    self._reported = Reported(boot=self._boot, at=self._clock.now(), lines=lines)
                    self._say_reported()
                case Beat() as beat:
                    before, self._beat = self._beat, beat
                    if before is None or before.provider != beat.provider:
                        self._say_birth()
                case Stop() | None:
                    return False
        return True

    def _tell(self, now: float, wall: float) -> None:
        if self._patience_until is not None and now >= self._patience_until:
            broker = self._agent.broker
            where = f"{broker.host}:{broker.port}"
            LOG.warning("broker %s: not there yet (%s); candidates are spooled", where, self._away)
            self._patience_until = None
        self._say_evicted()
        counts = self._spool.counts()
        left = counts.items + self._intake.pending
        due = now >= self._beat_due
        if due:
            self._beat_due = now + self._agent.heartbeat_s
            self._spool.measure()
            beat = heartbeat(
                boot=self._boot,
                wall=wall,
                beat=self._beat,
                spool=counts,
                cap_bytes=self._spool.cap_bytes,
                uplink=self._uplink,
            )
            self._publish(topics.heartbeat(self._agent.site, self._agent.node), beat)
        if due or (left == 0) != (self._drained == 0):
            self._drained = left
            self._said(Drained(left))

    def _say_birth(self) -> None:
        state = birth(self._boot, provider=self._beat.provider if self._beat else "", troubles=self._troubles)
        self._publish(topics.state(self._agent.site, self._agent.node), state, retain=True)

    def _say_reported(self) -> None:
        if self._reported is not None:
            self._publish(topics.reported(self._agent.site, self._agent.node), self._reported, retain=True)

    def _publish(self, topic: str, message: Message, *, retain: bool = False) -> None:
        try:
            self._bus.publish(topic, codec.encode(message), retain=retain)
        except LinkError:
            # State is said again at the next connection; a heartbeat is followed by the next.
            return
