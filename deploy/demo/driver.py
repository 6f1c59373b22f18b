"""The driver: listens to all of the demo's processes and decides what comes next.

One thread owns the record. Readers, the bus and the rollouts only put events into its inbox.
"""

import json
import os
import queue
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, Protocol, TextIO

import msgspec

from deploy.broker import free_port
from deploy.bus import open_bus
from deploy.demo.crew import Crew
from deploy.demo.hearing import take_in
from deploy.demo.machine import memory_of_tree
from deploy.demo.profile import LINE, Profile, write_files
from deploy.demo.record import Record, RoundRecord, Told
from deploy.demo.rolling import Roller
from deploy.store import Store, store_root
from shared import codec, topics
from shared.bus import Bus, Event, Received
from shared.clock import Clock
from shared.config import load_site
from shared.errors import StateError, WireError
from shared.messages import Heartbeat, NodeState, Reported

_TURN_S: Final = 0.25
_MEMORY_EVERY_S: Final = 4.0
_KINDS: Final[dict[str, type[Heartbeat | NodeState | Reported]]] = {
    "heartbeat": Heartbeat,
    "state": NodeState,
    "reported": Reported,
}

Show = Callable[[Record, float], None]


class Hands(Protocol):
    """What the driver asks of the crew."""

    def tell(self, name: str, message: dict[str, Any]) -> None:
        """Write one JSON line to a child."""

    def revive(self) -> Iterable[str]:
        """Start again whoever ended, and name each."""

    def dismiss(self, names: tuple[str, ...]) -> None:
        """Ask children to end; they are not started again."""

    def draw_map(self) -> None:
        """Start the drawing of the map."""

    def map_drawn(self) -> bool:
        """Say whether the drawing is over."""


class Rollouts(Protocol):
    """What the driver asks of the rollouts."""

    @property
    def idle(self) -> bool:
        """Say whether everything asked for is over."""

    def add(self, release: str) -> None:
        """Bring this release to the nodes next."""

    def finished(self) -> None:
        """Take note that one release's end has been heard."""


def run_demo(profile: Profile, out: Path, *, clock: Clock, show: Show) -> Record:
    """Hold all rounds of a demo; return when everything that its report needs has been told."""
    (out / "logs").mkdir(parents=True, exist_ok=True)
    began = clock.monotonic()
    inbox: queue.Queue[Told] = queue.Queue(100_000)

    def since_start() -> float:
        return clock.monotonic() - began

    with ExitStack() as stack:
        events = stack.enter_context((out / "events.jsonl").open("w", encoding="utf-8"))
        crew = Crew(out, clock=clock, inbox=inbox, since_start=since_start)
        stack.callback(crew.stop)
        files = write_files(profile, out / "site", broker_port=crew.start_broker(), http_port=free_port())
        site, _ = load_site(files.site)
        bus, _ = open_bus(files.site, site)
        stack.callback(bus.stop)
        bus.start()
        roller = Roller(files.site, site, LINE, inbox=inbox, since_start=since_start, clock=clock)
        stack.callback(roller.stop)
        roller.start()
        crew.start(files)
        store = Store(store_root(files.site, site))
        driver = Driver(profile, crew, roller, bus, store, inbox=inbox, since_start=since_start, events=events)
        while not driver.over():
            driver.turn()
            show(driver.record, since_start())
            if since_start() > profile.deadline_s:
                raise StateError(
                    f"demo: not over after {since_start():.0f} s, it stands at {driver.record.stage}; see {out}/logs"
                )
        driver.tell("ended")
        driver.turn()
    return driver.record


class Driver:
    """Takes in every event, keeps the record, and asks the crew for what must happen next."""

    def __init__(
        self,
        profile: Profile,
        crew: Hands,
        roller: Rollouts,
        bus: Bus,
        store: Store,
        *,
        inbox: "queue.Queue[Told]",
        since_start: Callable[[], float],
        events: TextIO,
    ) -> None:
        self.record = Record()
        self._profile = profile
        self._crew = crew
        self._roller = roller
        self._bus = bus
        self._store = store
        self._inbox = inbox
        self._since_start = since_start
        self._events = events
        self._measured_at = 0.0
        self._asked: set[str] = set()
        self._fed: set[int] = set()
        self._map_asked = False

    def turn(self) -> None:
        """Hear what there is, react to it, look after the crew, move on."""
        for event in self._bus.events(timeout_s=0.0):
            self._hear(event)
        try:
            self._take(self._inbox.get(timeout=_TURN_S))
            while True:
                self._take(self._inbox.get_nowait())
        except queue.Empty:
            pass
        for name in self._crew.revive():
            self._catch_up(name)
        self._measure_memory()
        if self._rounds_over():
            self._wind_down()

    def over(self) -> bool:
        """Say whether all rounds are held, rolled out, measured and drawn."""
        held = [round_ for round_ in self.record.rounds.values() if round_.done_at is not None]
        return (
            self._rounds_over()
            and all(round_.answered for round_ in held)
            and self._map_asked
            and self._crew.map_drawn()
        )

    def tell(self, name: str, **fields: Any) -> None:
        """Put an event of the driver's own into the record."""
        self._inbox.put(Told(self._since_start(), "driver", name, fields))

    def _hear(self, event: Event) -> None:
        if not isinstance(event, Received):
            return
        try:
            topic = topics.parse(event.topic)
            if (kind := _KINDS.get(topic.what)) is not None:
                fields = msgspec.to_builtins(codec.decode(event.payload, kind))
                self._take(Told(self._since_start(), "bus", topic.what, {"node": topic.node, **fields}))
        except WireError as error:
            self.tell("said", text=str(error))

    def _take(self, told: Told) -> None:
        line = {"at": round(told.at, 3), "source": told.source, "event": told.name, **told.fields}
        self._events.write(json.dumps(line) + "\n")
        take_in(self.record, told)
        match (told.source, told.name):
            case ("trainer", "released"):
                self._roll_out(told.fields["release"])
            case ("trainer", "round_done"):
                self._feed(self.record.round(told.fields["round"]))
            case ("conductor", "rollout_ended"):
                self._roller.finished()

    def _roll_out(self, release: str) -> None:
        """Ask for a release's rollout, once."""
        if release not in self._asked:
            self._asked.add(release)
            self._roller.add(release)

    def _feed(self, round_: RoundRecord) -> None:
        """Give a finished round to the arms, once."""
        run = round_.done.get("run")
        if run is None or round_.number in self._fed:
            return
        self._fed.add(round_.number)
        message = {key: round_.done[key] for key in ("run", "train_total", "labels_total")}
        self._crew.tell("arms", {"round": round_.number, **message, "seen": round_.seen})

    def _catch_up(self, name: str) -> None:
        """Make good what a child that was started again may have missed, or could not tell any more."""
        if name == "trainer":
            for stored in self._store.releases(LINE)[-1:]:
                self._roll_out(stored.manifest.release)
        if name == "arms":
            self._fed = {number for number in self._fed if self.record.round(number).answered}
            for round_ in self.record.rounds_in_order():
                self._feed(round_)

    def _rounds_over(self) -> bool:
        return self.record.all_done_at is not None and self._roller.idle

    def _wind_down(self) -> None:
        """Let the nodes rest, and have the pool's map drawn."""
        self._crew.dismiss(self._profile.nodes)
        if not self._map_asked:
            self._map_asked = True
            self._crew.draw_map()

    def _measure_memory(self) -> None:
        if self._since_start() - self._measured_at >= _MEMORY_EVERY_S:
            self._measured_at = self._since_start()
            self.tell("memory", bytes=memory_of_tree(os.getpid()))
