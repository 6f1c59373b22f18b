"""The keeper over a restart, on a disk that takes nothing for a while, and without its accelerator."""

import pytest

from edge_agent.handoff import Fetch
from edge_agent.releases.activation import State
from tests.edge_agent.releases.kept import Node, Order


@pytest.mark.parametrize("killed", [True, False])
def test_a_restart_goes_on_where_it_stopped(node: Node, order: Order, *, killed: bool) -> None:
    held = node.arrive(1)
    node.keeper.rollout_seen(order(None, held, 1))
    assert len(node.trials) == 1

    node.reboot(killed=killed)
    assert [tried for _, tried, _ in node.trials] == [held]
    node.try_(held)
    node.reboot(killed=False)
    assert [tried for _, tried, _ in node.trials] == [held]
    node.try_(held)
    node.prove(held)

    assert node.report.release == held.release


def test_a_restart_verifies_the_current_release_and_falls_back(node: Node, order: Order) -> None:
    old, new = node.arrive(1), node.arrive(2)
    node.install(old, order(None, old, 1))
    node.install(new, order(None, new, 2))
    file = node.shelf.place("strip", new.release) / "task.bin"
    file.write_bytes(b"x" + file.read_bytes()[1:])

    node.reboot()

    assert [swap.manifest_sha256 for swap in node.swaps] == [old.sha256]
    assert set(node.fetches) == {Fetch("strip", new.release, new.sha256)}
    assert node.report.release == old.release


def test_with_nothing_sound_the_node_says_that_it_does_not_inspect(node: Node, order: Order) -> None:
    held = node.arrive(1)
    node.install(held, order(None, held, 1))
    (node.shelf.place("strip", held.release) / "task.bin").unlink()

    node.reboot()

    assert node.swaps == []
    assert (node.report.release, node.report.state) == (None, "fetching")
    assert "no longer verifies" in node.report.reason


def test_the_rollout_number_survives_a_restart(node: Node, order: Order) -> None:
    old, new = node.arrive(1), node.arrive(2)
    node.install(new, order(None, new, 7))
    node.reboot(killed=True)

    node.keeper.rollout_seen(order(None, old, 6))

    assert (node.report.rollout, node.report.release) == (7, new.release)


def test_what_cannot_be_written_down_is_not_done(node: Node, order: Order) -> None:
    held = node.arrive(1)
    before = node.keeper.lines["strip"]
    node.store._connection.execute("PRAGMA query_only = ON")

    node.keeper.rollout_seen(order(None, held, 1))

    assert node.keeper.lines["strip"] == before
    assert node.trials == []
    node.store._connection.execute("PRAGMA query_only = OFF")
    node.keeper.rollout_seen(order(None, held, 1))
    assert [tried for _, tried, _ in node.trials] == [held]


def test_a_trials_answer_that_the_disk_could_not_take_is_taken_later(node: Node, order: Order) -> None:
    first, second = node.arrive(1), node.arrive(2)
    node.keeper.rollout_seen(order(None, first, 1))
    node.store._connection.execute("PRAGMA query_only = ON")

    node.keeper.tried("strip", first, "golden scores: 0.3 apart")
    node.keeper.tick()
    assert node.keeper.lines["strip"].state is State.TRIAL

    node.store._connection.execute("PRAGMA query_only = OFF")
    node.keeper.tick()
    assert (node.report.state, node.report.reason) == ("failed", "golden scores: 0.3 apart")
    node.install(second, order(None, second, 2))


def test_a_probations_outcome_is_taken_once_when_the_disk_has_room_again(node: Node, order: Order) -> None:
    held = node.arrive(1)
    node.keeper.rollout_seen(order(None, held, 1))
    node.try_(held)
    node.keeper.swapped("strip", held.release)
    node.store._connection.execute("PRAGMA query_only = ON")

    for _ in range(3):
        node.clock.advance(31.0)
        node.keeper.tick()
    assert (node.restarts, node.report.state) == (0, "probation")

    node.store._connection.execute("PRAGMA query_only = OFF")
    node.keeper.tick()
    node.keeper.tick()
    assert (node.restarts, node.report.state) == (1, "failed")


def test_a_current_refused_on_probation_leaves_the_wanted_release_on_probation(node: Node, order: Order) -> None:
    held = [node.arrive(number) for number in (1, 2, 3)]
    for number, release in enumerate(held[:2], start=1):
        node.install(release, order(None, release, number))
    node.keeper.rollout_seen(order(None, held[2], 3))
    node.reboot(killed=True)
    node.try_(held[2])
    swaps = list(node.swaps)

    node.keeper.swap_refused("strip", held[1].release, "no memory", blamed=True)
    assert node.swaps == swaps
    node.prove(held[2])

    assert (node.report.state, node.report.release) == ("idle", held[2].release)


def test_a_node_without_its_accelerator_runs_the_release_again_once_it_is_mended(node: Node, order: Order) -> None:
    held = node.arrive(1)
    node.install(held, order(None, held, 1))
    node.reboot()

    node.keeper.swap_refused("strip", held.release, "cuda did not come up", blamed=False)
    assert (node.report.state, node.report.swapped_at) == ("failed", None)
    node.reboot()

    assert [swap.manifest_sha256 for swap in node.swaps] == [held.sha256]
    node.keeper.rollout_seen(order(None, held, 2))
    assert (node.report.state, node.report.release, node.report.reason) == ("idle", held.release, "")
