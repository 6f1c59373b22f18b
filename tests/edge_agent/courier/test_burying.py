"""Candidates that nobody will ever take: set aside with a reason, and the rest goes on."""

from pathlib import Path

from edge_agent.courier.window import FIRST_WAIT_S
from shared import codec
from shared.bus import Disconnected
from shared.messages import Nack
from tests.edge_agent.courier.centre import World


def test_a_refused_candidate_is_buried_and_holds_up_nothing(world: World) -> None:
    world.fill("a", "b", "c", "d")
    world.trainer(online=True)
    world.step()

    world.ack(nacked=(Nack(id="a", reason="no such line"),))

    assert world.step() == ["d"]
    assert world.left == ["b", "c", "d"]
    assert world.buried == [("a", "the trainer says: no such line")]


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
