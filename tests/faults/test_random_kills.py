"""Node, broker or trainer is killed at random, end to end, with a broker that keeps nothing; nothing is lost or doubled."""

import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import Mosquitto
from tests.faults.accounting import look, violations
from tests.faults.conftest import Say
from tests.faults.node import Node
from tests.faults.nursery import Nursery
from tests.faults.plant import LINES, wait_until, write_agent, write_site
from tests.faults.processes import EVERYTHING, Trainer, WholeNode
from trainer.pool.pool import Pool

#: Who is killed how often among thirty. A supervisor waits longer after each death of a child, so those are few.
SHARES: Final = {"node": 9, "broker": 7, "trainer": 7, "supervisor": 3, "courier": 2, "inspection": 2}


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery.opened(tmp_path_factory.mktemp("logs"), *EVERYTHING) as opened:
        yield opened


class Plant:
    """A node that is fed by hand, a whole node, a broker and a trainer, each of which may die at any moment."""

    def __init__(self, folder: Path, mosquitto: Mosquitto, nursery: Nursery) -> None:
        self.broker = mosquitto
        self.site_toml = write_site(folder / "centre", port=mosquitto.port)
        self.trainer = Trainer(self.site_toml, nursery)
        self.node = Node(write_agent(folder / "fed", port=mosquitto.port), nursery)
        whole = write_agent(folder / "whole", port=mosquitto.port, node="press-02", frames_per_s=1.0)
        self.whole = WholeNode(whole, nursery)
        #: The whole node's spool is drained by a courier without a supervisor.
        self.last = Node(whole, nursery, name="press-02")
        self.pool = Pool.open(self.trainer.directory)

    def start(self) -> None:
        self.trainer.start()
        self.node.start()
        self.whole.start()

    def kill(self, victim: str) -> None:
        """Kill one of them, and start it again at once."""
        revive: Callable[[], None] | None = None
        match victim:
            case "node":
                self.node.kill()
                revive = self.node.start
            case "broker":
                self.broker.kill()
                revive = self.broker.start
            case "trainer":
                self.trainer.kill()
                revive = self.trainer.start
            case "supervisor":
                self.whole.kill()
                revive = self.whole.start
            case child:
                self.whole.kill_child(f"edge_agent.{child}")
        if revive is not None:
            revive()

    def feed(self) -> None:
        """Keep something under way, but no heap that would take long to arrive at the end."""
        if self.node.feeder.is_done and len(self.node.ledger.look()) < self.received() + 40:
            self.node.feed(20)

    def received(self) -> int:
        return sum(self.pool.counters(line)["received"] for line in LINES)

    def wait_for(self, more: int, what: str) -> None:
        """Go on feeding until the pool has that many more."""
        wanted = self.received() + more

        def done() -> bool:
            self.feed()
            return self.received() >= wanted

        wait_until(done, what)

    def end(self) -> None:
        """Let everything that was accepted arrive, and end in order."""
        assert self.whole.stop() == 0
        self.last.start()
        for node in (self.last, self.node):
            node.drain()
            assert node.stop() == 0
        assert self.trainer.stop() == 0
        self.pool.close()


@pytest.mark.parametrize("kills", [30, pytest.param(1000, marks=pytest.mark.soak)])
def test_random_kills_lose_nothing_and_double_nothing(
    tmp_path: Path, mosquitto: Mosquitto, nursery: Nursery, say: Say, kills: int
) -> None:
    seed = 3
    dice = random.Random(seed)  # noqa: S311  # no secret
    victims: list[str] = []
    while len(victims) < kills:
        some = list(Counter(SHARES).elements())
        dice.shuffle(some)
        victims += some
    plant = Plant(tmp_path, mosquitto, nursery)
    plant.start()
    killed: Counter[str] = Counter()

    while killed.total() < kills:
        plant.wait_for(dice.randrange(1, 30), f"candidates arrive, seed={seed} after {dict(killed)}")
        # Now and then several die together.
        for victim in victims[killed.total() : min(kills, killed.total() + dice.choice([1, 1, 1, 2, 3]))]:
            plant.kill(victim)
            killed[victim] += 1
    plant.end()

    found = look([plant.node.paths.spool, plant.whole.paths.spool], plant.trainer.directory)
    accepted = plant.node.ledger.look() | plant.whole.ledger.look()
    offered = plant.node.feeder.offered | {name for name in found.held if name.startswith("press-02-")}
    wrong = violations(found, accepted=accepted, offered=offered, drained=True)
    of_the_whole = sum(name.startswith("press-02-") for name in found.pool)
    say(
        f"random kills: seed={seed}, {killed.total()} kills ({dict(killed)}), {len(accepted)} accepted, {len(found.pool)} "
        f"in the pool ({of_the_whole} of the whole node), {found.again} redelivered, {len(wrong)} violations"
    )
    assert wrong == [], f"seed={seed}"
    assert of_the_whole > 0
