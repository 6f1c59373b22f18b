"""The courier's turns: from the hand-off socket to the spool and the bus, and what it says of the node."""

import queue
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from edge_agent.courier.downloads import Downloads
from edge_agent.courier.heartbeat import will
from edge_agent.courier.intake import Intake
from edge_agent.courier.process import Courier
from edge_agent.courier.spool import Accepted, Spool
from edge_agent.courier.uplink import Uplink
from edge_agent.handoff import Beat, Drained, FromCourier, Handed, PacketLimit, Report, Stop, ToCourier, frame_handed
from edge_agent.paths import dial
from shared import codec, topics
from shared.bus import Connected, MemoryBroker, MemoryBus, Received
from shared.clock import ManualClock, SystemClock
from shared.config import AgentConfig
from shared.fetcher import FolderFetcher
from shared.identity import CandidateId
from shared.messages import Ack, CameraState, Candidate, Heartbeat, LineReport, NodeState, Reported, WorkerState
from shared.sources import CameraTable, FolderSource

AGENT = AgentConfig(
    node="press-01",
    site="plant",
    lines=("line.toml",),
    cameras=(CameraTable(name="top", line="strip", source=FolderSource(path="images")),),
    heartbeat_s=0.01,
)


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # jitter is no secret


def candidate(seq: int) -> Candidate:
    crop = b"crop %d" % seq
    return Candidate(
        id=str(CandidateId.make(node="press-01", boot="0000abcd", seq=seq, crop=crop)),
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


def handed(seq: int, *, value: float = 1.0) -> bytes:
    return frame_handed(Handed("strip", value, codec.encode(candidate(seq))))


class World:
    def __init__(self, root: Path) -> None:
        self.broker = MemoryBroker()
        filters = (topics.ack("plant", "press-01"), topics.all_workers("plant"), topics.hint("plant"))
        wake = threading.Event()
        self.bus = MemoryBus(self.broker, filters=filters, wake=wake)
        self.spool = Spool.open(root / "spool.db", cap_bytes=10_000_000, ballast_bytes=0)
        self.socket_path = root / "handoff.sock"
        self.intake = Intake(self.socket_path, wake=wake)
        self.said: list[FromCourier] = []
        self.commands: queue.Queue[ToCourier | None] = queue.Queue()
        clock = SystemClock()
        (root / "incoming").mkdir()
        downloads = Downloads(
            FolderFetcher(root),
            node="press-01",
            lines=("strip",),
            incoming=root / "incoming",
            poll_s=60.0,
            clock=clock,
            rng=chance(1),
            said=lambda _: None,
        )
        self.courier = Courier(
            AGENT,
            boot="0000abcd",
            bus=self.bus,
            spool=self.spool,
            intake=self.intake,
            uplink=Uplink(self.spool, self.bus, site="plant", node="press-01", window=20, rng=chance(1)),
            downloads=downloads,
            clock=clock,
            wake=wake,
            said=self.said.append,
        )

    def turn(self) -> bool:
        return self.courier.turn(self.commands, queue.Queue())

    def turn_until(self, done: object, *, turns: int = 200) -> None:
        for _ in range(turns):
            self.turn()
            if done():
                return
        pytest.fail("it did not happen")

    def retained(self, topic: str, kind: type) -> object:
        return codec.decode(self.broker.retained[topic], kind)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.intake.close()
    world.spool.close()


def test_what_comes_over_the_socket_is_spooled_and_delivered(world: World) -> None:
    world.bus.start()
    with dial(world.socket_path) as client:
        client.sendall(b"".join(handed(seq) for seq in range(100)))
    world.turn_until(lambda: world.spool.counts().items == 100)

    state = codec.encode(WorkerState(boot="00000001", online=True))
    world.broker.route(Received(topics.worker_state("plant", "main"), state), retain=True)
    sent: dict[str, Candidate] = {}
    while len(sent) < 100:
        world.turn()
        arrived = [m for m in world.broker.sent if m.topic == topics.candidates("plant", "press-01", "strip")]
        sent |= {found.id: found for found in (codec.decode(m.payload, Candidate) for m in arrived)}
        ack = codec.encode(Ack(acked=tuple(sent)))
        world.broker.route(Received(topics.ack("plant", "press-01"), ack), retain=False)
    world.turn_until(lambda: world.spool.counts().items == 0)

    assert sent == {str(found.id): found for found in map(candidate, range(100))}


def test_without_a_broker_candidates_are_spooled_by_value(world: World) -> None:
    with dial(world.socket_path) as client:
        client.sendall(handed(1, value=7.5))
    world.turn_until(lambda: world.spool.counts().items == 1)

    assert world.spool._connection.execute("SELECT line, value FROM candidate").fetchall() == [("strip", 7.5)]


@pytest.mark.parametrize(
    "rubbish",
    [
        b"\xff\xff\xff\xff",
        frame_handed(Handed("strip", 1.0, b"\xc1 no candidate")),
        (5).to_bytes(4, "big") + b"\xc1\xc1\xc1\xc1\xc1",
        handed(7)[:-3],
    ],
)
def test_a_broken_hand_off_costs_nothing_but_itself(world: World, rubbish: bytes) -> None:
    with dial(world.socket_path) as client:
        client.sendall(rubbish)
    with dial(world.socket_path) as client:
        client.sendall(handed(1))

    world.turn_until(lambda: world.spool.counts().items == 1 and world.intake.pending == 0)


def test_the_socket_is_the_nodes_alone(world: World) -> None:
    assert world.socket_path.stat().st_mode & 0o777 == 0o600


def test_a_socket_path_longer_than_an_address_works(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    wake = threading.Event()
    intake = Intake(deep / "handoff.sock", wake=wake)

    with dial(deep / "handoff.sock") as client:
        client.sendall(handed(3))
        assert wake.wait(5.0)
        (found,) = intake.take(limit=5)

    assert codec.decode(found.candidate, Candidate) == candidate(3)
    intake.stored(1)
    intake.close()


def test_a_node_is_born_with_its_boot_and_dies_with_it(world: World) -> None:
    world.bus.start()
    world.turn()
    topic = topics.state("plant", "press-01")
    born = world.retained(topic, NodeState)
    assert isinstance(born, NodeState)
    assert (born.boot, born.online) == ("0000abcd", True)

    world.commands.put(Beat(cameras=(), handoff_dropped=0, inspecting=True, provider="cpu"))
    world.turn()
    assert world.retained(topic, NodeState) == msgspec.structs.replace(born, provider="cpu")

    assert (will("0000abcd").boot, will("0000abcd").online) == ("0000abcd", False)
    world.courier.finish()
    last = world.retained(topic, NodeState)
    assert isinstance(last, NodeState)
    assert (last.boot, last.online) == ("0000abcd", False)


def test_the_report_is_said_again_at_every_connection(world: World) -> None:
    lines = (LineReport(line="strip", state="idle", release="strip-0001", rollout=3),)
    world.commands.put(Report(lines))
    world.turn()
    world.bus.start()

    world.turn()
    found = world.retained(topics.reported("plant", "press-01"), Reported)
    assert isinstance(found, Reported)
    assert (found.boot, found.lines) == ("0000abcd", lines)

    world.broker.retained.clear()
    world.broker.set_online(False)
    world.broker.set_online(True)
    world.turn()
    assert topics.reported("plant", "press-01") in world.broker.retained


def test_a_heartbeat_carries_the_counters_of_both_processes(world: World) -> None:
    world.bus.start()
    camera = CameraState(camera="top", line="strip", frames=12, verdicts={"floor": 2})
    world.commands.put(Beat(cameras=(camera,), handoff_dropped=4, inspecting=True, provider="cpu"))
    with dial(world.socket_path) as client:
        client.sendall(handed(1) + handed(2))
    topic = topics.heartbeat("plant", "press-01")

    def beats() -> list[Heartbeat]:
        return [codec.decode(m.payload, Heartbeat) for m in world.broker.sent if m.topic == topic]

    world.turn_until(lambda: beats() and beats()[-1].spooled == 2 and beats()[-1].cameras)

    beat = beats()[-1]
    assert (beat.boot, beat.cameras, beat.handoff_dropped, beat.inspecting) == ("0000abcd", (camera,), 4, True)
    assert beat.spooled_bytes == len(codec.encode(candidate(1))) + len(codec.encode(candidate(2)))


def test_drained_is_said_only_when_nothing_can_still_come(world: World) -> None:
    client = dial(world.socket_path)
    world.turn_until(lambda: world.intake.pending > 0)
    world.said.clear()
    world.turn_until(lambda: Drained(1) in world.said)
    assert Drained(0) not in world.said

    client.close()

    world.turn_until(lambda: Drained(0) in world.said)


@pytest.mark.parametrize("command", [Stop(), None])
def test_it_ends_on_a_word_or_with_the_supervisor_and_keeps_what_came(world: World, command: Stop | None) -> None:
    with dial(world.socket_path) as client:
        client.sendall(b"".join(handed(seq) for seq in range(60)))
    world.commands.put(command)

    while world.turn():
        continue
    world.courier.finish()

    again = Spool.open(world.socket_path.with_name("spool.db"), cap_bytes=10_000_000, ballast_bytes=0)
    assert again.counts().items == 60
    again.close()


def test_a_full_queue_holds_the_sender_back(tmp_path: Path) -> None:
    wake = threading.Event()
    intake = Intake(tmp_path / "handoff.sock", wake=wake)
    client = dial(tmp_path / "handoff.sock")
    client.settimeout(5.0)
    blob = frame_handed(Handed("strip", 1.0, bytes(100_000)))
    done = threading.Event()

    def send() -> None:
        try:
            for _ in range(400):
                client.sendall(blob)
        except (TimeoutError, OSError):
            return
        done.set()

    sender = threading.Thread(target=send)
    sender.start()
    taken = 0
    while taken < 400:
        assert wake.wait(5.0)
        wake.clear()
        found = intake.take(limit=32)
        if len(found) == 32:
            wake.set()
        assert len(found) <= 32
        taken += len(found)
        intake.stored(len(found))
    sender.join()

    assert done.is_set()
    client.shutdown(socket.SHUT_RDWR)
    client.close()
    intake.close()


def test_inspection_hears_of_the_brokers_limit_once_and_of_each_change(tmp_path: Path) -> None:
    world = World(tmp_path)
    try:
        for limit in (None, 9000, 9000, 5000, None):
            world.bus.inbox.put(Connected(limit))
            world.turn()

        said = [message.max_packet_bytes for message in world.said if isinstance(message, PacketLimit)]
        assert said == [9000, 5000, None]
    finally:
        world.courier.finish()


def test_a_log_is_not_filled_with_what_gives_way(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = ManualClock()
    world.courier._clock = clock
    monkeypatch.setattr(world.spool, "accept", lambda items: Accepted(new=0, again=0, evicted=len(items)))
    monkeypatch.setattr(world.intake, "stored", lambda _: None)
    entry = Handed("strip", 1.0, codec.encode(candidate(1)))

    for _ in range(50):
        clock.advance(1.0)
        world.courier._take_in([entry])
    before = [record.getMessage() for record in caplog.records]
    clock.advance(60.0)
    world.courier._say_evicted()

    assert before == ["spool: full, 1 of the least valuable candidates evicted"]
    assert caplog.records[-1].getMessage() == "spool: full, 49 of the least valuable candidates evicted"
