"""A node's courier as a process, life after life, with what feeds it and the ledger of what it accepted."""

import itertools
import json
import threading
from pathlib import Path

from tests.faults.nursery import Life, Nursery
from tests.faults.plant import Feeder, candidate_of, paths_of, wait_until
from tests.faults.witness import LEDGER, Ledger

#: What a nursery loads to bear couriers.
COURIER = ("tests.faults.lives", "edge_agent.courier.__main__")


class Node:
    """One node without its cameras: whoever tests it hands candidates over in their place."""

    def __init__(self, agent_toml: Path, nursery: Nursery, *, name: str = "press-01") -> None:
        self.name = name
        self.paths = paths_of(agent_toml)
        self.ledger = Ledger(agent_toml.parent / "ledger")
        self.feeder = Feeder(self.paths.handoff_socket)
        self.lives = 0
        #: How much is still in the spool, as the courier says it; None until this life has said it.
        self.left: int | None = None
        self._agent_toml = agent_toml
        self._nursery = nursery
        self._numbers = itertools.count()
        self._life: Life | None = None

    @property
    def life(self) -> Life:
        assert self._life is not None, "the courier does not live"
        return self._life

    def start(self) -> None:
        """Start the courier, and hear what it says."""
        self.lives += 1
        self.left = None
        self._life = self._nursery.bear(
            "tests.faults.lives:courier",
            str(self._agent_toml),
            "--boot",
            f"{self.lives:08x}",
            log=f"{self.name}.log",
            **{LEDGER: str(self.ledger.path)},
        )
        threading.Thread(target=self._hear, args=(self._life,), name=f"hear-{self.name}", daemon=True).start()

    def kill(self) -> None:
        """Kill the courier; what was on its way to it is gone."""
        self.life.kill()
        self._life = None
        self.feeder.stop()

    def stop(self) -> int:
        """End the courier in order and return its exit status."""
        life = self.life
        life.stdin.close()
        status = life.wait()
        self._life = None
        self.feeder.stop()
        return status

    def feed(self, count: int, *, line: str = "small", size: int | None = None) -> None:
        """Begin to hand over that many more candidates."""
        numbers = list(itertools.islice(self._numbers, count))
        # The boot is the node's, not the courier's: ids go on counting over the courier's lives.
        self.feeder.feed((line, candidate_of(number, node=self.name, line=line, size=size)) for number in numbers)

    def drain(self) -> None:
        """Wait until everything is handed over and the spool says that it is empty."""
        self.feeder.join()
        wait_until(lambda: self.left == 0, f"the spool of {self.name} drains, {self.left} left")

    def _hear(self, life: Life) -> None:
        try:
            for line in life.stdout:
                said = json.loads(line)
                if said["type"] == "Drained" and self._life is life:
                    self.left = said["spooled"]
        except (OSError, ValueError):
            # Closed under the reader: the life is over.
            return
