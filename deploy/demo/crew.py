"""The demo's crew: the broker, the `winnow` commands and the watchdog over all of them."""

import os
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from deploy.broker import PrivateBroker
from deploy.demo.children import Child
from deploy.demo.profile import LINE, DemoFiles, child_environment
from deploy.demo.record import Told
from deploy.demo.watchdog import Watchdog
from shared.clock import Clock
from shared.errors import StateError

#: A child that keeps dying is a fault to report, not one to hide by starting it for ever.
_MAX_RESTARTS: Final = 6


class Crew:
    """Every process of a demo. Whoever ends without being asked to is started again."""

    def __init__(
        self, out: Path, *, clock: Clock, inbox: "queue.Queue[Told]", since_start: Callable[[], float]
    ) -> None:
        self.map_directory = out / "map"
        self._out = out
        self._inbox = inbox
        self._since_start = since_start
        self._watchdog = Watchdog()
        self._broker = PrivateBroker(out / "broker", clock=clock)
        self._children: dict[str, Child] = {}
        self._restarts: dict[str, int] = {}
        self._off_duty: set[str] = {"map"}

    def start_broker(self) -> int:
        """Start the broker and return its port."""
        self._broker.start()
        self._watch_broker()
        return self._broker.port

    def start(self, files: DemoFiles) -> None:
        """Start everyone but the one who draws the map."""
        site = str(files.site)
        self._add("trainer", "trainer", ["trainer", "serve", site, "--rounds", "--json"])
        self._add("arms", "arms", ["experiment", "arms", site, "--line", LINE, "--json"])
        self._add("map", "map", ["experiment", "map", site, "--line", LINE, "--out", str(self.map_directory)])
        for node, path in files.agents.items():
            self._add(node, "agent", ["agent", "run", str(path)])
        for name, child in self._children.items():
            if name not in self._off_duty:
                child.start()

    def tell(self, name: str, message: dict[str, Any]) -> None:
        """Write one JSON line to a child."""
        self._children[name].tell(message)

    def revive(self) -> Iterator[str]:
        """Start again whoever ended, and name each."""
        if not self._broker.alive():
            self._count_restart("broker", self._broker.log, "it is gone")
            self._release_broker()
            self._broker.restart()
            self._watch_broker()
            self._tell("restarted", child="broker", text="the broker ended and is started again")
            yield "broker"
        for name, child in self._children.items():
            status = child.status()
            if status is None or name in self._off_duty:
                continue
            self._count_restart(name, child.log, child.last_words())
            child.reap()
            child.start()
            self._tell("restarted", child=name, text=f"{name} ended (status {status}) and is started again")
            yield name

    def dismiss(self, names: tuple[str, ...]) -> None:
        """Ask children to end; they are not started again."""
        for name in names:
            if name not in self._off_duty:
                self._off_duty.add(name)
                self._children[name].ask_to_stop()

    def draw_map(self) -> None:
        """Start the drawing of the map."""
        self.map_directory.mkdir(parents=True, exist_ok=True)
        self._children["map"].start()

    def map_drawn(self) -> bool:
        """Say whether the drawing is over; how a failed one ended is told."""
        child = self._children["map"]
        if child.running:
            return False
        if child.status() not in {None, 0}:
            self._tell("said", text=f"the map of the pool is missing: {child.last_words()}; see {child.log}")
            child.reap()
        return True

    def stop(self) -> None:
        """End everyone, the broker last."""
        for child in self._children.values():
            child.ask_to_stop()
        for child in self._children.values():
            child.stop()
        self._release_broker()
        self._broker.stop()
        self._watchdog.close()

    def _add(self, name: str, source: str, arguments: list[str]) -> None:
        self._children[name] = Child(
            name,
            arguments,
            source=source,
            logs=self._out / "logs",
            environment=child_environment(dict(os.environ)),
            inbox=self._inbox,
            since_start=self._since_start,
            watchdog=self._watchdog,
        )

    def _count_restart(self, name: str, log: Path, words: str) -> None:
        self._restarts[name] = self._restarts.get(name, 0) + 1
        if self._restarts[name] > _MAX_RESTARTS:
            raise StateError(f"demo: {name} ended {self._restarts[name]} times, last: {words}; see {log}")

    def _watch_broker(self) -> None:
        if self._broker.pid is not None:
            self._watchdog.watch(self._broker.pid)

    def _release_broker(self) -> None:
        if self._broker.pid is not None:
            self._watchdog.release(self._broker.pid)

    def _tell(self, name: str, **fields: Any) -> None:
        self._inbox.put(Told(self._since_start(), "driver", name, fields))
