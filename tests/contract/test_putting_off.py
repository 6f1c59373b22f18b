"""A node's uplink and the trainer's ingest together: what one puts off the other keeps, and nothing else waits for it."""

import random
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_agent.courier.spool import Item, Spool
from edge_agent.courier.uplink import Uplink
from shared import codec, topics
from shared.bus import MemoryBroker, MemoryBus, Received
from shared.clock import ManualClock
from shared.config import LineConfig, load_line
from shared.identity import CandidateId
from shared.images import encode_image
from shared.messages import Ack, Candidate, Nack, WorkerState
from shared.transport import IngestTable
from trainer.pool.ingest import Ingest
from trainer.pool.pool import Pool

LINE = """
line = "{name}"
classes = [{{name = "background"}}, {{name = "scratch"}}]
[geometry]
tile_px = 64
patch_px = 32
margin_px = 16
cell_px = 16
channels = 1
"""


def candidate(seq: int) -> Candidate:
    pixels = np.random.default_rng(seq).integers(0, 256, (64, 64, 1), dtype=np.uint8)
    crop = encode_image(pixels, form="jpeg", quality=60)
    return Candidate(
        id=str(CandidateId.make(node="n1", boot="0000abcd", seq=seq, crop=crop)),
        camera="top",
        frame=seq,
        captured_at=1.0,
        row=0,
        col=0,
        inside=(32, 32),
        release=None,
        score=None,
        reason="floor",
        gain=None,
        space=None,
        embedding=None,
        crop_format="jpeg",
        crop=crop,
    )


class Plant:
    """One node of two lines and a centre, turn by turn."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.clock = ManualClock()
        self.broker = MemoryBroker()
        self.pool = Pool.open(root / "trainer", clock=self.clock)
        self.spool = Spool.open(root / "spool.db", cap_bytes=10_000_000, ballast_bytes=0)
        self.node = MemoryBus(self.broker, filters=(topics.ack("mill", "n1"), topics.all_workers("mill")))
        self.node.start()
        self.uplink = Uplink(self.spool, self.node, site="mill", node="n1", window=10, rng=random.Random(1))  # noqa: S311  # jitter is no secret
        self.centre: MemoryBus | None = None

    def line(self, name: str) -> LineConfig:
        file = self.root / f"{name}.toml"
        file.write_text(LINE.format(name=name), encoding="utf-8")
        return load_line(file)

    def start_trainer(self, *lines: str, quota: IngestTable | None = None) -> None:
        self.presence(online=False)
        if self.centre is not None:
            self.centre.stop()
        self.centre = MemoryBus(self.broker, filters=(topics.ingest("mill"),))
        self.centre.start()
        known = {name: self.line(name) for name in lines}
        self.ingest = Ingest(self.pool, site="mill", lines=known, bus=self.centre, clock=self.clock, quota=quota)
        self.presence(online=True)

    def presence(self, *, online: bool) -> None:
        state = codec.encode(WorkerState(boot="00000001", online=online))
        self.broker.route(Received(topics.worker_state("mill", "main"), state), retain=True)
        self.turn()

    def turn(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        now = self.clock.now()
        self.uplink.handle(self.node.events(timeout_s=0.0), wall=now, now=now)
        self.uplink.send(wall=now, now=now)
        if self.centre is not None:
            self.ingest.step(timeout_s=0)

    def spooled(self, line: str) -> list[str]:
        return [name for _, name in self.spool.ids_after(line, 0, limit=1000)]

    def fill(self, line: str, numbers: range) -> list[str]:
        made = [candidate(number) for number in numbers]
        self.spool.accept([Item(found.id, line, 1.0, codec.encode(found)) for found in made])
        return [found.id for found in made]


@pytest.fixture
def plant(tmp_path: Path) -> Iterator[Plant]:
    plant = Plant(tmp_path)
    yield plant
    plant.spool.close()
    plant.pool.close()


def test_a_line_that_the_site_lacks_waits_alone_until_the_site_knows_it(plant: Plant) -> None:
    known, unknown = plant.fill("known", range(40)), plant.fill("unknown", range(40, 80))
    plant.start_trainer("known")

    for _ in range(40):
        plant.turn(0.1)

    assert plant.pool.ids("known") == known
    assert plant.spooled("known") == []
    assert plant.spooled("unknown") == unknown
    assert plant.spool.counts().dead == 0

    plant.start_trainer("known", "unknown")
    for _ in range(40):
        plant.turn(0.1)

    assert sorted(plant.pool.ids("unknown")) == sorted(unknown)
    assert plant.spool.counts().items == 0


def test_what_is_above_the_quota_comes_when_the_quota_allows_and_nothing_is_lost(plant: Plant) -> None:
    names = plant.fill("known", range(60))
    plant.start_trainer("known", quota=IngestTable(candidates_per_h=100, saved_h=0.1))

    for _ in range(100):
        plant.turn(0.1)
    assert 10 <= len(plant.pool.ids("known")) <= 12

    for _ in range(2000):
        plant.turn(5.0)
    assert sorted(plant.pool.ids("known")) == sorted(names)
    assert (plant.spool.counts().items, plant.spool.counts().dead) == (0, 0)
    # What was sent in vain is bounded: it waits longer each time.
    assert plant.uplink.sent < 4 * len(names)


def test_an_older_node_keeps_what_is_put_off() -> None:
    class OldAck(msgspec.Struct, frozen=True, kw_only=True):
        schema: int = 1
        acked: tuple[str, ...] = ()
        nacked: tuple[str, ...] = ()

    told = codec.encode(Ack(deferred=(Nack(id="a", reason="not now"),)))

    assert msgspec.msgpack.decode(told, type=OldAck) == OldAck()
