"""The courier is killed while it starts, writes or sends, again and again; what its spool had accepted is not lost."""

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Mosquitto
from tests.faults.accounting import look, violations
from tests.faults.centre import Centre
from tests.faults.conftest import Say
from tests.faults.node import COURIER, Node
from tests.faults.nursery import Nursery
from tests.faults.plant import wait_until, write_agent, write_site

#: Never reached: everything accepted must be somewhere.
PLENTY = 2_000_000_000
#: Reached while the trainer is not there: what the spool gives up for room must be counted.
SCANT = 1_000_000
#: The chance that the trainer comes or goes between two lives of the courier.
TURN = 0.2


@dataclass(frozen=True, slots=True)
class Plan:
    """How often to kill, and how much the spool may hold."""

    kills: int
    cap_bytes: int


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery.opened(tmp_path_factory.mktemp("logs"), *COURIER) as opened:
        yield opened


def moment(dice: random.Random, node: Node, centre: Centre | None) -> str:
    """Wait for the moment of a kill, and say of what kind it is."""
    match dice.choice(["starting", "writing", "sending"] if centre else ["starting", "writing"]):
        case "starting":
            wanted = len(node.feeder.offered) + dice.randrange(3)
            wait_until(lambda: len(node.feeder.offered) >= wanted, "something is offered")
            return "starting"
        case "sending" if centre is not None:
            wanted = centre.received() + dice.randrange(1, 20)
            wait_until(lambda: centre.received() >= wanted, "something is received")
            return "sending"
        case _:
            wanted = len(node.ledger.look()) + dice.randrange(1, 20)
            wait_until(lambda: len(node.ledger.look()) >= wanted, "something is accepted")
            return "writing"


@pytest.mark.parametrize(
    "plan",
    [
        Plan(50, PLENTY),
        Plan(20, SCANT),
        pytest.param(Plan(1000, PLENTY), marks=pytest.mark.soak),
        pytest.param(Plan(1000, SCANT), marks=pytest.mark.soak),
    ],
    ids=str,
)
def test_a_courier_killed_at_any_moment_loses_nothing_that_it_accepted(
    tmp_path: Path, mosquitto: Mosquitto, nursery: Nursery, say: Say, plan: Plan
) -> None:
    seed = 1
    dice = random.Random(seed)  # noqa: S311  # no secret
    node = Node(write_agent(tmp_path / "node", port=mosquitto.port, cap_bytes=plan.cap_bytes), nursery)
    site_toml = write_site(tmp_path / "centre", port=mosquitto.port)
    kinds: Counter[str] = Counter()

    with ExitStack() as serving:
        centre: Centre | None = serving.enter_context(Centre.opened(site_toml))
        for _ in range(plan.kills):
            if dice.random() < TURN:
                serving.close()
                centre = None if centre else serving.enter_context(Centre.opened(site_toml))
            node.start()
            node.feed(dice.randrange(20, 120))
            kinds.update([moment(dice, node, centre)])
            node.kill()
        serving.close()
        before = look([node.paths.spool], site_toml.parent / "trainer")
        wrong = violations(before, accepted=node.ledger.look(), offered=node.feeder.offered)
        assert wrong == [], f"seed={seed}"

        serving.enter_context(Centre.opened(site_toml))
        node.start()
        node.drain()
        assert node.stop() == 0

    found = look([node.paths.spool], site_toml.parent / "trainer")
    wrong = violations(found, accepted=node.ledger.look(), offered=node.feeder.offered, drained=True)
    say(
        f"kill -9 of the courier, spool of {plan.cap_bytes} bytes: seed={seed}, {plan.kills} kills ({dict(kinds)}), {len(node.ledger.accepted)} accepted, "
        f"{len(found.pool)} in the pool, {found.evicted} evicted, {found.again} redelivered, {len(wrong)} violations"
    )
    assert wrong == [], f"seed={seed}"
    assert (found.evicted > 0) == (plan.cap_bytes == SCANT)
