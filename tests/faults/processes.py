"""The trainer's service and a whole node as processes, and the ways to kill them."""

import os
import signal
from pathlib import Path

from tests.faults.node import COURIER
from tests.faults.nursery import ROOT, Life, Nursery
from tests.faults.plant import paths_of, wait_until
from tests.faults.witness import LEDGER, Ledger

#: What a nursery loads to bear all of them.
EVERYTHING = (*COURIER, "deploy.cli", "trainer.service", "trainer.commands.serve", "edge_agent.supervisor")


class Trainer:
    """``winnow trainer serve``."""

    def __init__(self, site_toml: Path, nursery: Nursery) -> None:
        self.directory = site_toml.parent / "trainer"
        self._site_toml = site_toml
        self._nursery = nursery
        self._life: Life | None = None

    @property
    def life(self) -> Life:
        assert self._life is not None, "the trainer does not live"
        return self._life

    def start(self) -> None:
        arguments = ("trainer", "serve", str(self._site_toml))
        self._life = self._nursery.bear("tests.faults.lives:winnow", *arguments, log="trainer.log", is_heard=False)

    def kill(self) -> None:
        self.life.kill()
        self._life = None

    def stop(self) -> int:
        """End it in order and return its exit status."""
        os.kill(self.life.pid, signal.SIGTERM)
        return self.life.wait()


class WholeNode:
    """``winnow agent run``: a supervisor, its inspection with a simulated line, its courier with a witness."""

    def __init__(self, agent_toml: Path, nursery: Nursery) -> None:
        self.paths = paths_of(agent_toml)
        self.ledger = Ledger(agent_toml.parent / "ledger")
        self._agent_toml = agent_toml
        self._nursery = nursery
        self._life: Life | None = None

    @property
    def life(self) -> Life:
        assert self._life is not None, "the node does not live"
        return self._life

    def start(self) -> None:
        self._life = self._nursery.bear(
            "tests.faults.lives:winnow",
            *("agent", "run", str(self._agent_toml)),
            log="node.log",
            is_heard=False,
            **{LEDGER: str(self.ledger.path), "PYTHONPATH": f"{ROOT / 'tests/faults/witnessed'}{os.pathsep}{ROOT}"},
        )

    def kill(self) -> None:
        """Kill the supervisor; its children notice, and are gone before this returns."""
        children = self._children()
        self.life.kill()
        self._life = None
        wait_until(lambda: not any(_is_alive(pid) for pid in children), "the children end with their supervisor")

    def kill_child(self, module: str) -> None:
        """Kill one of the supervisor's children by what it runs; it is started again."""
        found = [pid for pid, what in self._children().items() if module in what]
        if not found:
            wait_until(lambda: any(module in what for what in self._children().values()), f"{module} is started again")
            found = [pid for pid, what in self._children().items() if module in what]
        os.kill(found[0], signal.SIGKILL)

    def stop(self) -> int:
        """End it in order and return its exit status."""
        self.life.stdin.close()
        return self.life.wait()

    def _children(self) -> dict[int, str]:
        """List the supervisor's children by their pids, with their command lines."""
        pids = [
            int(word)
            for task in Path(f"/proc/{self.life.pid}/task").glob("*/children")
            for word in task.read_text(encoding="ascii").split()
        ]
        return {pid: _command(pid) for pid in pids if _is_alive(pid)}


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def _is_alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be asked for its status does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except OSError:
        return False
    return status.rsplit(")", 1)[1].split()[0] != "Z"
