"""Candidates that the trainer cannot take yet: they wait without holding up any other."""

import itertools

import pytest

from tests.edge_agent.courier.centre import UNKNOWN, World


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
