"""The disk is full, in five shapes: the courier goes on taking what inspection hands over, and every loss is counted."""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Mosquitto
from tests.faults.accounting import Holdings, look, violations
from tests.faults.centre import Centre
from tests.faults.conftest import Say
from tests.faults.node import COURIER, Node
from tests.faults.nursery import Nursery
from tests.faults.plant import wait_until, write_agent, write_site
from tests.faults.stranger import Stranger


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery.opened(tmp_path_factory.mktemp("logs"), *COURIER) as opened:
        yield opened


class Scene:
    """A node whose directory lies on the small disk."""

    def __init__(self, node: Node, disk: Path, dice: random.Random) -> None:
        self.node = node
        self.stranger = Stranger(disk)
        self.dice = dice

    def hand_over(self, at_least: int) -> None:
        """Hand candidates over until all of them were taken."""
        self.node.feed(at_least + self.dice.randrange(50))
        self.taken()

    def taken(self) -> None:
        """Wait until the spool has said of everything that was handed over that it accepted it."""
        self.node.feeder.join()
        wait_until(lambda: len(self.node.ledger.look()) == len(self.node.feeder.offered), "everything is accepted")


def full_before_the_courier_starts(scene: Scene) -> None:
    scene.hand_over(5)
    assert scene.node.stop() == 0
    scene.stranger.take()
    scene.node.start()
    scene.hand_over(200)


def full_all_at_once(scene: Scene) -> None:
    scene.node.feed(300)
    wanted = scene.dice.randrange(1, 200)
    wait_until(lambda: len(scene.node.ledger.look()) >= wanted, "some are accepted")
    scene.stranger.take()
    scene.taken()
    # More than the ballast gives room for, also where everything before was taken in time.
    scene.hand_over(300)


def filled_by_the_spool_itself(scene: Scene) -> None:
    # The spool may hold more than there is.
    scene.hand_over(2_500)


def now_full_now_not(scene: Scene) -> None:
    # On a disk without room for a first byte no spool can be made: the courier says so and ends.
    scene.hand_over(5)
    for _ in range(4):
        scene.stranger.take()
        scene.hand_over(40)
        scene.stranger.give_back()
        scene.hand_over(40)
        # There is room again: what will be needed at the next time is held back again, and the file may grow.
        assert (scene.node.paths.root / "ballast").exists()


def full_over_a_restart(scene: Scene) -> None:
    scene.hand_over(scene.dice.randrange(50, 1_000))
    scene.stranger.take()
    scene.hand_over(100)
    assert scene.node.stop() == 0
    scene.node.start()
    scene.hand_over(100)


SHAPES: dict[str, Callable[[Scene], None]] = {
    shape.__name__.replace("_", " "): shape
    for shape in (
        full_before_the_courier_starts,
        full_all_at_once,
        filled_by_the_spool_itself,
        now_full_now_not,
        full_over_a_restart,
    )
}


@dataclass(frozen=True, slots=True)
class Grounds:
    """Where scenes are played: a small disk, a broker, and a folder for what does not lie on the disk."""

    folder: Path
    disk: Path
    port: int
    nursery: Nursery

    def play(
        self, number: int, act: Callable[[Scene], None], dice: random.Random
    ) -> tuple[Holdings, set[str], list[str]]:
        """Play one scene to its end; return what the stores hold, what was accepted, and what is wrong."""
        directory = self.disk / str(number)
        folder = self.folder / str(number)
        node = Node(write_agent(folder / "node", port=self.port, directory=directory), self.nursery)
        site_toml = write_site(folder / "centre", port=self.port)
        scene = Scene(node, self.disk, dice)
        node.start()
        act(scene)
        scene.stranger.give_back()
        with Centre.opened(site_toml):
            node.drain()
            assert node.stop() == 0
        found = look([node.paths.spool], site_toml.parent / "trainer")
        accepted = node.ledger.look()
        wrong = violations(found, accepted=accepted, offered=node.feeder.offered, drained=True, exact=True)
        shutil.rmtree(directory)
        return found, accepted, wrong


@pytest.fixture
def grounds(tmp_path: Path, small_disk: Path, mosquitto: Mosquitto, nursery: Nursery) -> Grounds:
    return Grounds(tmp_path, small_disk, mosquitto.port, nursery)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.soak)])
def test_a_full_disk_holds_nothing_up_and_every_loss_is_counted(
    grounds: Grounds, say: Say, shape: str, rounds: int
) -> None:
    seed = list(SHAPES).index(shape)
    dice = random.Random(seed)  # noqa: S311  # no secret
    totals: Counter[str] = Counter()

    for number in range(rounds):
        found, accepted, wrong = grounds.play(number, SHAPES[shape], dice)
        assert wrong == [], f"seed={seed} round={number}"
        assert found.evicted > 0, f"seed={seed} round={number}: the disk was never full"
        totals.update(accepted=len(accepted), pool=len(found.pool), evicted=found.evicted)

    say(
        f"full disk, {shape}: seed={seed}, {rounds} rounds, {totals['accepted']} accepted = {totals['pool']} in the pool "
        f"+ {totals['evicted']} evicted, 0 violations"
    )
