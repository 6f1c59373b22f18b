"""The fleet as the bus tells it: what every node last said of itself."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from shared import codec, topics
from shared.bus import Bus, Connected, Disconnected, Event, Received
from shared.clock import Clock
from shared.errors import LinkError, WireError
from shared.messages import Heartbeat, LineReport, NodeState, Reported

_POLL_S = 0.1


def fleet_filters(site: str) -> tuple[str, ...]:
    """Name the topics that tell about a site's nodes."""
    return tuple(topics.all_nodes(site, what) for what in ("state", "reported", "heartbeat"))


@dataclass(frozen=True, slots=True)
class NodeView:
    """One node's last words of each kind."""

    state: NodeState | None = None
    reported: Reported | None = None
    heartbeat: Heartbeat | None = None

    @property
    def online(self) -> bool:
        """Say whether the node, or the broker in its place, last said that it is there."""
        return self.state is not None and self.state.online

    @property
    def troubles(self) -> tuple[str, ...]:
        """List what a person should look at on the node, its cameras included."""
        cameras = () if self.heartbeat is None else self.heartbeat.cameras
        away = [f"camera {camera.camera}: {camera.away}" for camera in cameras if camera.away]
        needs = [
            f"camera {camera.camera} is {', '.join(camera.needs)}: see to it" for camera in cameras if camera.needs
        ]
        return (*(() if self.state is None else self.state.troubles), *away, *needs)

    def line(self, name: str) -> LineReport | None:
        """Return what the node reports of one line."""
        lines = () if self.reported is None else self.reported.lines
        return next((report for report in lines if report.line == name), None)


class Fleet:
    """Every node heard of. A message that breaks the protocol is counted and changes nothing."""

    def __init__(self) -> None:
        self.nodes: dict[str, NodeView] = {}
        self.refused = 0

    def hear(self, event: Event) -> None:
        """Take in one event of the bus."""
        if not isinstance(event, Received):
            return
        try:
            topic = topics.parse(event.topic)
            view = self.nodes.get(topic.node, NodeView())
            match topic.what:
                case "state":
                    view = replace(view, state=codec.decode(event.payload, NodeState))
                case "reported":
                    view = replace(view, reported=codec.decode(event.payload, Reported))
                case "heartbeat":
                    view = replace(view, heartbeat=codec.decode(event.payload, Heartbeat))
                case _:
                    return
        except WireError:
            self.refused += 1
            return
        self.nodes[topic.node] = view

    def of_line(self, line: str) -> tuple[str, ...]:
        """Name the nodes that report a line, in order."""
        return tuple(sorted(name for name, view in self.nodes.items() if view.line(line) is not None))


def connect(bus: Bus, *, clock: Clock, stop: threading.Event, timeout_s: float, where: str) -> list[Event]:
    """Start the bus and wait for the broker; return what came with the connection."""
    bus.start()
    deadline = clock.monotonic() + timeout_s
    heard: list[Event] = []
    while True:
        heard += bus.events(timeout_s=0.0)
        if any(isinstance(event, Connected) for event in heard):
            return heard
        if clock.monotonic() >= deadline:
            bus.stop()
            reasons = [event.reason for event in heard if isinstance(event, Disconnected)]
            why = f" ({reasons[-1]})" if reasons else ""
            raise LinkError(
                f"broker {where}: no answer within {timeout_s:g} s{why}; start it, or correct [broker] in site.toml"
            )
        if clock.wait(stop, _POLL_S):
            bus.stop()
            raise KeyboardInterrupt


def listen(
    fleet: Fleet,
    bus: Bus,
    *,
    clock: Clock,
    stop: threading.Event,
    timeout_s: float,
    enough: Callable[[Fleet], bool],
    heard: Iterable[Event] = (),
) -> bool:
    """Hear the bus until it is enough; say whether it was, or the time was up."""
    for event in heard:
        fleet.hear(event)
    deadline = clock.monotonic() + timeout_s
    while not enough(fleet):
        if clock.monotonic() >= deadline:
            return False
        if clock.wait(stop, _POLL_S):
            raise KeyboardInterrupt
        for event in bus.events(timeout_s=0.0):
            fleet.hear(event)
    return True
