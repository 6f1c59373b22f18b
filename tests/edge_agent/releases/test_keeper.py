"""The keeper: a rollout's way through fetching, trial, swap and probation, and what stops it."""

from edge_agent.handoff import Fetch, Swap
from tests.edge_agent.releases.kept import Build, Node, Order


def test_a_rollout_goes_from_the_store_to_running(node: Node, order: Order, build_release: Build) -> None:
    held = build_release(node.root / "made", 1)
    node.keeper.rollout_seen(order(None, held, 1))
    assert node.fetches == [Fetch("strip", held.release, held.sha256)]
    assert node.report.state == "fetching"

    (node.shelf.incoming / "strip").mkdir()
    arrived = node.shelf.incoming / "strip" / held.release
    (node.root / "made" / "releases" / "strip" / held.release).rename(arrived)
    node.bring(held)
    assert node.trials == [("strip", held, arrived)]
    assert node.report.state == "trial"

    node.try_(held)
    place = node.shelf.place("strip", held.release)
    assert node.swaps == [Swap("strip", str(place), held.sha256)]
    assert place.is_dir()
    assert (node.report.state, node.report.release) == ("probation", None)

    node.prove(held)
    assert (node.report.state, node.report.release, node.report.manifest_sha256) == ("idle", held.release, held.sha256)


def test_what_is_fetched_is_verified_before_it_is_tried(node: Node, order: Order) -> None:
    held = node.arrive(1)
    file = node.shelf.incoming / "strip" / held.release / "task.bin"
    file.write_bytes(file.read_bytes()[:-1])
    node.keeper.rollout_seen(order(None, held, 1))

    node.bring(held)

    assert node.trials == []
    assert (node.report.state, node.report.release) == ("failed", None)
    assert "does not verify" in node.report.reason


def test_a_failed_trial_keeps_the_old_release(node: Node, order: Order) -> None:
    old, new = node.arrive(1), node.arrive(2)
    node.install(old, order(None, old, 1))
    node.keeper.rollout_seen(order(None, new, 2))
    swaps = list(node.swaps)

    node.keeper.tried("strip", new, "golden scores: 0.3 apart")

    assert node.swaps == swaps
    assert (node.report.state, node.report.release, node.report.reason) == (
        "failed",
        old.release,
        "golden scores: 0.3 apart",
    )
    assert not node.shelf.place("strip", new.release).exists()


def test_inspection_dying_on_probation_brings_the_old_release_back(node: Node, order: Order) -> None:
    old, new = node.arrive(1), node.arrive(2)
    node.install(old, order(None, old, 1))
    node.keeper.rollout_seen(order(None, new, 2))
    node.try_(new)
    node.keeper.swapped("strip", new.release)

    node.keeper.inspection_ended("died of SIGSEGV")
    node.swaps.clear()
    node.keeper.inspection_started()

    assert [swap.manifest_sha256 for swap in node.swaps] == [old.sha256]
    assert (node.report.state, node.report.release) == ("failed", old.release)
    assert "died of SIGSEGV" in node.report.reason


def test_inspection_ending_over_the_nodes_own_files_leaves_a_release_on_probation(node: Node, order: Order) -> None:
    held = node.arrive(1)
    node.keeper.rollout_seen(order(None, held, 1))
    node.try_(held)
    node.keeper.swapped("strip", held.release)

    node.keeper.inspection_ended("ended over the node's own configuration", blamed=False)
    node.keeper.inspection_started()
    assert (node.report.state, node.keeper.lines["strip"].bad) == ("probation", {})
    node.prove(held)

    assert (node.report.state, node.report.release) == ("idle", held.release)


def test_a_blamed_release_is_tried_again_once_the_node_forgot_it_and_not_before(node: Node, order: Order) -> None:
    held = node.arrive(1)
    node.keeper.rollout_seen(order(None, held, 1))
    node.keeper.tried("strip", held, "golden scores: 0.3 apart")
    node.keeper.rollout_seen(order(None, held, 2))
    assert "failed on this node before: golden scores: 0.3 apart" in node.report.reason
    node.keeper.stop()
    node.store.close()

    (node.root / "activation.db").rename(node.root / "activation.db.away")
    node.boot()
    node.install(held, order(None, held, 2))

    assert node.report.release == held.release


def test_a_silent_inspection_on_probation_is_started_again(node: Node, order: Order) -> None:
    held = node.arrive(1)
    node.keeper.rollout_seen(order(None, held, 1))
    node.try_(held)
    node.keeper.swapped("strip", held.release)

    node.clock.advance(31.0)
    node.keeper.tick()

    assert node.restarts == 1
    assert node.report.state == "failed"


def test_inspection_dying_outside_probation_blames_nobody(node: Node, order: Order) -> None:
    held = node.arrive(1)
    node.install(held, order(None, held, 1))
    node.swaps.clear()

    node.keeper.inspection_ended("died of SIGKILL")
    node.keeper.inspection_started()

    assert [swap.manifest_sha256 for swap in node.swaps] == [held.sha256]
    assert node.report.state == "idle"


def test_a_rollout_during_a_trial_waits_for_its_outcome(node: Node, order: Order) -> None:
    first, second = node.arrive(1), node.arrive(2)
    node.keeper.rollout_seen(order(None, first, 1))

    node.keeper.rollout_seen(order(None, second, 2))
    assert [held for _, held, _ in node.trials] == [first]
    node.keeper.tried("strip", first, "golden scores: 0.3 apart")

    assert [held for _, held, _ in node.trials] == [first, second]


def test_an_old_rollout_changes_nothing(node: Node, order: Order) -> None:
    old, new = node.arrive(1), node.arrive(2)
    node.install(new, order(None, new, 5))
    before = node.keeper.lines["strip"]

    node.keeper.rollout_seen(order(None, old, 4))
    node.keeper.rollout_seen(order(None, old, 5))

    assert node.keeper.lines["strip"] == before


def test_a_rollback_needs_no_network(node: Node, order: Order) -> None:
    old, new = node.arrive(1), node.arrive(2)
    node.install(old, order(None, old, 1))
    node.install(new, order(None, new, 2))

    node.install(old, order(None, old, 3))

    assert node.fetches == []
    assert (node.report.release, node.report.previous) == (old.release, new.release)


def test_a_third_release_pushes_the_first_off_the_disk(node: Node, order: Order) -> None:
    held = [node.arrive(number) for number in (1, 2, 3)]

    for number, release in enumerate(held, start=1):
        node.install(release, order(None, release, number))

    names = sorted(path.name for path in (node.shelf.releases / "strip").iterdir())
    assert names == ["strip-0002", "strip-0003"]
