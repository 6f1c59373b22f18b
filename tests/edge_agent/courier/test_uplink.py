"""The uplink against a broker and a trainer that come and go."""

import itertools
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from edge_agent.courier.spool import Item, Spool
from edge_agent.courier.uplink import Uplink
from edge_agent.courier.window import FIRST_WAIT_S, MOST_WAIT_S, Window
from shared import codec, topics
from shared.backoff import backoff_s
from shared.bus import Disconnected, MemoryBroker, MemoryBus, Received
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


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "spool.db")
    yield world
    world.spool.close()


def test_nothing_is_sent_while_no_trainer_is_there(world: World) -> None:
    world.fill("a")

    assert world.step() == []
    assert world.step(3600.0) == []
    world.trainer(online=True)

    assert world.step() == ["a"]


def test_nothing_leaves_the_spool_before_the_trainer_says_so(world: World) -> None:
    world.fill("a", "b")
    world.trainer(online=True)

    world.step()
    assert world.left == ["a", "b"]
    world.ack("a")
    world.step()

    assert world.left == ["b"]
    assert (world.uplink.sent, world.uplink.sent_bytes, world.uplink.acked) == (2, 200, 1)


def test_no_more_than_the_window_is_on_its_way(world: World) -> None:
    world.fill("a", "b", "c", "d", "e")
    world.trainer(online=True)

    assert world.step() == ["a", "b", "c"]
    assert world.step() == []
    world.ack("b")

    assert world.step() == ["d"]


def test_a_lost_acknowledgement_is_answered_by_sending_again(world: World) -> None:
    world.fill("a")
    world.trainer(online=True)
    assert world.step() == ["a"]

    assert world.step(0.7 * FIRST_WAIT_S) == []
    assert world.step(0.6 * FIRST_WAIT_S) == ["a"]
    world.ack("a")
    world.step()
    world.ack("a")
    world.step()

    assert world.left == []
    assert world.uplink.acked == 1


def test_each_try_waits_longer(world: World) -> None:
    world.fill("a")
    world.trainer(online=True)

    times = [world.clock.now() for _ in range(4000) if world.step(1.0)]

    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert len(times) < 25
    for number, wait in enumerate(waits):
        plain = min(MOST_WAIT_S, FIRST_WAIT_S * 2**number)
        assert 0.75 * plain <= wait <= 1.25 * plain + 1.0


def test_a_broker_that_goes_away_loses_nothing(world: World) -> None:
    world.fill("a", "b")
    world.trainer(online=True)
    world.step()

    world.broker.set_online(False)
    assert world.step(60.0) == []
    world.fill("c")
    assert world.step(60.0) == []
    world.broker.set_online(True)
    sent = world.step() + world.step(1.0)

    assert sorted(sent) == ["a", "b", "c"]
    assert world.left == ["a", "b", "c"]


def test_a_publish_that_fails_does_not_count_as_a_try(world: World) -> None:
    world.fill("a")
    world.trainer(online=True)
    world.uplink.handle(world.bus.events(timeout_s=0.0), wall=0.0, now=0.0)
    world.broker.online = False

    world.uplink.send(wall=world.clock.now(), now=world.clock.now())

    assert world.uplink.sent == 0
    world.broker.online = True
    assert world.step() == ["a"]


def test_a_trainer_that_comes_back_is_sent_to_at_once(world: World) -> None:
    world.fill("a", "b")
    world.trainer(online=True)
    world.step()
    for _ in range(6):
        world.step(400.0)
    assert world.step(100.0) == []

    world.trainer(online=False)
    assert world.step(5.0) == []
    world.trainer(online=True)
    sent = world.step() + world.step(1.0)

    assert sorted(sent) == ["a", "b"]


def test_any_worker_is_enough(world: World) -> None:
    world.fill("a")
    world.trainer(online=True, worker="one")
    world.trainer(online=True, worker="two")
    world.trainer(online=False, worker="one")

    assert world.step() == ["a"]


def test_a_refused_candidate_is_buried_and_holds_up_nothing(world: World) -> None:
    world.fill("a", "b", "c", "d")
    world.trainer(online=True)
    world.step()

    world.ack(nacked=(Nack(id="a", reason="no such line"),))

    assert world.step() == ["d"]
    assert world.left == ["b", "c", "d"]
    assert world.buried == [("a", "the trainer says: no such line")]


def test_a_line_that_the_centre_does_not_know_starves_no_other(world: World) -> None:
    """What only the centre's configuration refuses kept its places in the window: a node's other line stood still."""
    world.fill(*(f"lost{number}" for number in range(40)), line="lost")
    world.fill(*(f"good{number}" for number in range(40)))
    world.trainer(online=True)
    arrived: list[str] = []

    for _ in range(200):
        sent = world.step(0.1)
        arrived += sent
        world.answer(sent, lambda name: name.startswith("good"))

    good = [name for name in arrived if name.startswith("good")]
    assert good == [f"good{number}" for number in range(40)]
    assert world.left == [f"lost{number}" for number in range(40)]
    # In 20 s a line that rests is asked for at 0, about 5 and about 15 s.
    assert len(arrived) - len(good) <= 12
    assert world.buried == []
    assert world.uplink.deferred == len(arrived) - len(good)


def test_a_line_that_nobody_answers_starves_no_other(world: World) -> None:
    world.fill(*(f"lost{number}" for number in range(10)), line="lost")
    world.fill(*(f"good{number}" for number in range(10)))
    world.trainer(online=True)

    for _ in range(60):
        world.ack(*(name for name in world.step(0.1) if name.startswith("good")))

    assert world.left == [f"lost{number}" for number in range(10)]


def test_what_was_put_off_is_sent_again_later_each_time_and_leaves_when_it_is_taken(world: World) -> None:
    world.fill("a")
    world.trainer(online=True)
    times = []

    for _ in range(20_000):
        sent = world.step(1.0)
        world.answer(sent, lambda _: False)
        times += [world.clock.now()] if sent else []

    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(45.0 <= wait <= 4501.0 for wait in waits)
    assert len(times) < 15
    assert max(waits) > 2500.0
    world.step(5000.0)
    world.step(400.0)
    world.ack("a")
    world.step()
    assert (world.left, world.buried) == ([], [])


def test_why_a_line_is_put_off_is_said_once_and_again_when_it_is_another_reason(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.fill("a")
    world.trainer(online=True)

    for why in (UNKNOWN, UNKNOWN, "has brought enough", "has brought enough"):
        sent = next(sent for _ in range(2000) if (sent := world.step(5.0)))
        world.ack(put_off=sent, why=why)
    world.step()

    said = [record.getMessage() for record in caplog.records if "not now" in record.getMessage()]
    assert said == [
        f'line "strip": the trainer says: not now: {why}; it is sent again later'
        for why in (UNKNOWN, "has brought enough")
    ]


def test_a_reason_that_names_each_candidate_is_said_once_for_the_line(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.fill("a-1", "b-2", "c-3", "d-4")
    world.trainer(online=True)

    for _ in range(100):
        for name in world.step(5.0):
            world.ack(put_off=[name], why=f"candidate {name}: crop 300 x 300, the line's are 512 square")

    assert world.uplink.deferred > 4
    assert sum("not now" in record.getMessage() for record in caplog.records) == 1


def test_a_trainer_that_starts_again_is_offered_at_once_what_was_put_off(world: World) -> None:
    world.fill("a", "b", "c", "d", "e")
    world.trainer(online=True)
    for _ in range(100):
        world.answer(world.step(5.0), lambda _: False)

    world.trainer(online=False)
    world.step()
    world.trainer(online=True)
    sent: list[str] = []
    for _ in range(30):
        sent += (now := world.step(0.1))
        world.ack(*now)

    assert sorted(sent) == ["a", "b", "c", "d", "e"]
    assert world.left == []


def test_old_candidates_that_are_put_off_do_not_hold_up_the_new_ones_of_their_line(world: World) -> None:
    """After a change of the crop size the old ones wait for the centre; the new ones must not wait with them."""
    world.fill(*(f"old{number}" for number in range(30)))
    world.fill(*(f"new{number}" for number in range(30)))
    world.trainer(online=True)

    for _ in range(300):
        world.answer(world.step(1.0), lambda name: name.startswith("new"))

    assert world.left == [f"old{number}" for number in range(30)]


def test_what_the_broker_ends_the_connection_over_is_buried_and_the_rest_goes_on(world: World) -> None:
    """Not every limit is told at connect: one candidate above it was sent again and again, and nothing came through."""
    world.fill("poison", size=90_000)
    world.fill("a", "b", "c")
    world.trainer(online=True)

    for _ in range(3):
        assert "poison" in world.step() + world.step(1.0)
        world.bus.inbox.put(Disconnected("Packet too large", complains=True))
        assert world.step() == []
        world.broker.set_online(True)
    world.ack("a", "b", "c")
    world.step(1.0)
    world.ack("c")
    world.step()

    ((name, reason),) = world.buried
    assert (name, reason) == ("poison", "90000 bytes, and 3 times the broker ended the connection over it")
    assert world.left == []


def test_a_connection_that_ends_by_itself_buries_nothing(world: World) -> None:
    world.fill("a", "b")
    world.trainer(online=True)

    for _ in range(20):
        world.step(1.0)
        world.broker.set_online(False)
        world.step()
        world.broker.set_online(True)

    assert (world.left, world.buried) == (["a", "b"], [])


def test_what_a_full_disk_kept_is_sent_again_and_removed_by_the_next_acknowledgement(world: World) -> None:
    world.fill("a", "b")
    world.trainer(online=True)
    world.step()
    world.fill_the_disk()
    world.ack("a", nacked=(Nack(id="b", reason="no such line"),))
    world.step()
    assert (world.left, world.buried, world.uplink.acked) == (["a", "b"], [], 0)

    world.empty_the_disk()
    sent = world.step(2 * FIRST_WAIT_S)
    world.ack("a", nacked=(Nack(id="b", reason="no such line"),))
    world.step()

    assert sent == ["a", "b"]
    assert (world.left, world.uplink.acked) == ([], 1)
    assert world.buried == [("b", "the trainer says: no such line")]


def test_what_is_too_large_is_buried_later_when_the_disk_is_full(tmp_path: Path) -> None:
    world = World(tmp_path / "small.db", max_packet_bytes=1000)
    world.fill("vast", size=1000)
    world.fill_the_disk()
    world.trainer(online=True)
    assert world.step() == []
    assert world.left == ["vast"]

    world.empty_the_disk()
    world.step(2 * FIRST_WAIT_S)

    assert [name for name, _ in world.buried] == ["vast"]
    assert world.uplink.sent == 0
    world.spool.close()


def test_what_the_broker_would_choke_on_is_buried_unsent(tmp_path: Path) -> None:
    world = World(tmp_path / "small.db", max_packet_bytes=1000)
    world.fill("vast", size=1000)
    world.fill("small", size=900)
    world.trainer(online=True)

    assert world.step() == ["small"]
    assert world.left == ["small"]
    ((name, reason),) = world.buried
    assert (name, reason.split(",")[0]) == ("vast", "1000 bytes")
    world.spool.close()


def test_what_the_trainer_would_not_read_is_buried_unsent(world: World) -> None:
    world.fill("vast", size=codec.MAX_MESSAGE_BYTES + 1)
    world.fill("large", size=codec.MAX_MESSAGE_BYTES)
    world.trainer(online=True)

    assert world.step() == ["large"]
    assert world.spool.counts().dead == 1


def test_an_evicted_candidate_makes_room_in_the_window(world: World) -> None:
    world.fill("a", "b", "c", "d")
    world.trainer(online=True)
    world.step()

    world.spool.confirm(["a", "b", "c"])

    assert world.step(2 * FIRST_WAIT_S) == []
    assert world.step() == ["d"]


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x93", codec.encode(Ack(schema=99, acked=("a",)))])
def test_an_acknowledgement_that_nobody_understands_changes_nothing(world: World, payload: bytes) -> None:
    world.fill("a")
    world.trainer(online=True)
    world.step()

    world.broker.route(Received(topics.ack(SITE, NODE), payload), retain=False)
    world.broker.route(Received(topics.worker_state(SITE, "odd"), b"\xc1"), retain=False)

    assert world.step() == []
    assert world.left == ["a"]
    assert world.uplink.is_open


def test_the_window_wakes_within_a_second_and_never_later_than_planned() -> None:
    window = Window(2, chance(1))
    window.wanted(["strip"], 0.0)
    window.admit("strip", [(1, "a"), (2, "b")], now=0.0)
    window.sent("a", 0.0, size_bytes=1)

    window.wake(10_000.0)

    assert set(window.due(10_000.0)) == {"a", "b"}
    window.sent("a", 10_000.0, size_bytes=1)
    window.wake(10_001.0)
    assert set(window.due(10_002.0)) == {"a", "b"}


def test_the_wait_is_bounded_for_any_number_of_tries() -> None:
    rng = chance(2)

    waits = [backoff_s(tries, rng, first_s=5.0, most_s=300.0) for tries in (1, 2, 10, 10_000)]

    assert 3.75 <= waits[0] <= 6.25
    assert 7.5 <= waits[1] <= 12.5
    assert all(225.0 <= wait <= 375.0 for wait in waits[2:])
