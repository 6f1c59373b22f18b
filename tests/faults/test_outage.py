"""A day without the centre: everything is spooled, then drained, nothing is lost, and neither side grows for it."""

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
from tests.faults.processes import EVERYTHING, Trainer

#: What a day brings at the rates of a busy node: small crops from one line, large ones from another.
DAY: Final = {"small": 26_000, "large": 4_320}
#: How far a process may grow from the first tenth of its work to the end: far below what passes through it.
GROWTH_BYTES: Final = 12 << 20


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery.opened(tmp_path_factory.mktemp("logs"), *EVERYTHING) as opened:
        yield opened


class Watched:
    """The most memory that a process held before and after the first tenth of its work."""

    def __init__(self, resident: Callable[[], int]) -> None:
        self._resident = resident
        self.early = 0
        self.late = 0

    def look(self, share: float) -> None:
        held = self._resident()
        if share < 0.1:
            self.early = max(self.early, held)
        else:
            self.late = max(self.late, held)

    @property
    def growth(self) -> int:
        return self.late - self.early

    def __str__(self) -> str:
        return f"{self.early >> 20} to {self.late >> 20} MiB"


@pytest.mark.parametrize("share", [0.1, pytest.param(1.0, marks=pytest.mark.soak)])
def test_a_day_without_the_centre_is_kept_and_brought_in(
    tmp_path: Path, mosquitto: Mosquitto, nursery: Nursery, say: Say, share: float
) -> None:
    mosquitto.stop()
    node = Node(write_agent(tmp_path / "node", port=mosquitto.port, heartbeat_s=0.1), nursery)
    trainer = Trainer(write_site(tmp_path / "centre", port=mosquitto.port), nursery)
    node.start()
    spooling = Watched(lambda: node.life.resident_bytes)
    total = sum(int(share * number) for number in DAY.values())
    offered = 0

    for line, number in DAY.items():
        node.feed(int(share * number), line=line, size=LINES[line][1])
        offered += int(share * number)

        def kept(wanted: int = offered) -> bool:
            done = len(node.ledger.look())
            spooling.look(done / total)
            return done == wanted

        wait_until(kept, f"{offered} are spooled")
    wait_until(lambda: node.left == total, "the courier says how much it keeps")
    mosquitto.start()
    trainer.start()
    ends = {
        "courier": Watched(lambda: node.life.resident_bytes),
        "trainer": Watched(lambda: trainer.life.resident_bytes),
    }

    def drained() -> bool:
        for end in ends.values():
            end.look(1.0 - (node.left or 0) / total)
        return node.left == 0

    wait_until(drained, "the spool drains")
    assert node.stop() == 0
    assert trainer.stop() == 0

    found = look([node.paths.spool], trainer.directory)
    wrong = violations(found, accepted=node.ledger.look(), offered=node.feeder.offered, drained=True, exact=True)
    say(
        f"outage: {total} spooled ({', '.join(f'{int(share * n)} x {LINES[line][1]} bytes' for line, n in DAY.items())}) and "
        f"drained, {found.again} redelivered; memory while spooling {spooling}, while draining courier {ends['courier']}, "
        f"trainer {ends['trainer']}; {len(wrong)} violations"
    )
    assert wrong == []
    assert (len(found.pool), len(node.ledger.accepted)) == (total, total)
    assert {"spooling": spooling.growth > GROWTH_BYTES} | {
        name: end.growth > GROWTH_BYTES for name, end in ends.items()
    } == {"spooling": False, "courier": False, "trainer": False}
