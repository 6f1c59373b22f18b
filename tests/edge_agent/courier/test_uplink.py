"""The uplink against a broker and a trainer that come and go."""

import itertools

import pytest

from edge_agent.courier.window import FIRST_WAIT_S, MOST_WAIT_S, Window
from shared import codec, topics
from shared.backoff import backoff_s
from shared.bus import Received
from shared.messages import Ack, Nack
from tests.edge_agent.courier.centre import NODE, SITE, World, chance


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
