"""The keeper: a rollout's way through fetching, trial, swap and probation, and what stops it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Struct

from edge_agent.handoff import Fetch, Report, Swap
from edge_agent.releases.activation import Held, State
from edge_agent.releases.keeper import Hands, Keeper
from edge_agent.releases.probation import FRAMES
from edge_agent.releases.shelf import Shelf
from edge_agent.releases.store import ActivationStore
from shared.clock import ManualClock
from shared.messages import CameraState, LineReport
from shared.release import Rollout

Build = Callable[..., Held]
Order = Callable[..., Rollout]


class Node:
    """A keeper with hands that only take notes."""

    def __init__(self, root: Path, build: Build) -> None:
        self.root = root
        self.clock = ManualClock()
        self.shelf = Shelf(incoming=root / "incoming", releases=root / "releases")
        for folder in (self.shelf.incoming, self.shelf.releases):
            folder.mkdir(exist_ok=True)
        self._build = build
        self.boot()

    def boot(self) -> None:
        self.swaps: list[Swap] = []
        self.to_courier: list[Struct] = []
        self.trials: list[tuple[str, Held, Path]] = []
        self.restarts = 0
        self.store = ActivationStore.open(self.root / "activation.db")
        self.keeper = Keeper(
            ("strip",),
            store=self.store,
            shelf=self.shelf,
            hands=Hands(
                to_inspection=self.swaps.append,
                to_courier=self.to_courier.append,
                begin_trial=lambda line, held, path: self.trials.append((line, held, path)),
                restart_inspection=self._restart,
                changed=lambda _: None,
            ),
            clock=self.clock,
            silence_s=30.0,
        )
        self.keeper.start()
        self.keeper.courier_started()
        self.keeper.inspection_started()

    def reboot(self, *, killed: bool = False) -> None:
        if not killed:
            self.keeper.stop()
        self.store.close()
        self.boot()

    def _restart(self) -> None:
        self.restarts += 1

    @property
    def report(self) -> LineReport:
        return next(message for message in reversed(self.to_courier) if isinstance(message, Report)).lines[0]

    @property
    def fetches(self) -> list[Fetch]:
        return [message for message in self.to_courier if isinstance(message, Fetch)]

    def arrive(self, number: int) -> Held:
        """Put a release into incoming/, as the courier does."""
        held = self._build(self.root / "made", number, bias=number / 100)
        place = self.shelf.incoming / "strip" / held.release
        place.parent.mkdir(exist_ok=True)
        (self.root / "made" / "releases" / "strip" / held.release).rename(place)
        return held

    def bring(self, held: Held) -> None:
        self.keeper.fetched("strip", held.release)

    def try_(self, held: Held) -> None:
        self.keeper.tried("strip", held, None)

    def prove(self, held: Held) -> None:
        self.keeper.swapped("strip", held.release)
        for frames in (0, FRAMES):
            self.keeper.counters([CameraState(camera="top", line="strip", frames=frames)])
        self.keeper.tick()

    def install(self, held: Held, rollout: Rollout) -> None:
        """Take a release all the way."""
        self.keeper.rollout_seen(rollout)
        if self.keeper.lines["strip"].state is State.FETCHING:
            self.bring(held)
        self.try_(held)
        self.prove(held)
        assert self.keeper.lines["strip"].current == held


@pytest.fixture
def node(tmp_path: Path, build_release: Build) -> Node:
    return Node(tmp_path, build_release)


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
