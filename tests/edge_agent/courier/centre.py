"""A node's uplink, a broker, and a trainer that is played by hand."""

import random
from collections.abc import Callable, Iterable
from pathlib import Path

from edge_agent.courier.spool import Item, Spool
from edge_agent.courier.uplink import Uplink
from shared import codec, topics
from shared.bus import MemoryBroker, MemoryBus, Received
from shared.clock import ManualClock
from shared.messages import Ack, Nack, WorkerState

SITE, NODE = "plant", "press-01"


UNKNOWN = "not a line of site plant"


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # jitter is no secret


class World:
    """A node's uplink, a broker, and a trainer that is played by hand."""

    def __init__(self, path: Path, *, max_packet_bytes: int | None = None) -> None:
        self.clock = ManualClock()
        self.broker = MemoryBroker()
        self.spool = Spool.open(path, cap_bytes=10_000_000, ballast_bytes=0)
        filters = (topics.ack(SITE, NODE), topics.all_workers(SITE))
        self.bus = MemoryBus(self.broker, filters=filters, max_packet_bytes=max_packet_bytes)
        self.uplink = Uplink(self.spool, self.bus, site=SITE, node=NODE, window=3, rng=chance(5))
        self.bus.start()

    def step(self, seconds: float = 0.0) -> list[str]:
        """Let time pass, do one turn and return what was sent in it."""
        self.clock.advance(seconds)
        before = len(self.broker.sent)
        now = self.clock.now()
        self.uplink.handle(self.bus.events(timeout_s=0.0), wall=now, now=now)
        self.uplink.send(wall=now, now=now)
        return [message.payload.decode().strip(".") for message in self.sent(before)]

    def sent(self, since: int = 0) -> list[Received]:
        return [message for message in self.broker.sent[since:] if "/cand/" in message.topic]

    def trainer(self, *, online: bool, worker: str = "main") -> None:
        state = codec.encode(WorkerState(boot="00000001", online=online))
        self.broker.route(Received(topics.worker_state(SITE, worker), state), retain=True)

    def ack(self, *acked: str, nacked: tuple[Nack, ...] = (), put_off: Iterable[str] = (), why: str = UNKNOWN) -> None:
        deferred = tuple(Nack(id=name, reason=why) for name in put_off)
        answer = codec.encode(Ack(acked=acked, nacked=nacked, deferred=deferred))
        self.broker.route(Received(topics.ack(SITE, NODE), answer), retain=False)

    def fill(self, *names: str, size: int = 100, line: str = "strip") -> None:
        self.spool.accept(
            [Item(id=name, line=line, value=1.0, payload=name.encode().ljust(size, b".")) for name in names]
        )

    def answer(self, sent: Iterable[str], takes: Callable[[str], bool]) -> None:
        """Play a trainer that takes some candidates and puts the others off."""
        sent = list(sent)
        self.ack(*filter(takes, sent), put_off=[name for name in sent if not takes(name)])

    @property
    def buried(self) -> list[tuple[str, str]]:
        return list(self.spool._connection.execute("SELECT id, reason FROM dead"))

    def fill_the_disk(self) -> None:
        """Let the file grow no further and have every removal need room: SQLite then says that the disk is full."""
        connection = self.spool._connection
        connection.execute("CREATE TABLE journal (data BLOB)")
        connection.execute(
            "CREATE TRIGGER full BEFORE DELETE ON candidate BEGIN INSERT INTO journal VALUES (zeroblob(1000000)); END"
        )
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")

    def empty_the_disk(self) -> None:
        self.spool._connection.execute("DROP TRIGGER full")

    @property
    def left(self) -> list[str]:
        return [candidate for line in self.spool.lines for _, candidate in self.spool.ids_after(line, 0, limit=1000)]
