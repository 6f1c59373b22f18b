"""The conductor against a fleet on a bus in memory."""

import threading
from collections.abc import Callable

import pytest

from deploy.conductor import Conductor
from deploy.fleet import Fleet, NodeView, fleet_filters
from deploy.rollout import Progress
from deploy.store import Store
from shared import codec, topics
from shared.bus import MemoryBroker, MemoryBus, Received
from shared.clock import ManualClock
from shared.errors import LinkError, ReleaseError, StateError
from shared.messages import CameraState, Heartbeat, Hint, LineReport, NodeState, Reported
from shared.release import Rollout, release_path

SITE = "plant"


class Node:
    """A node that answers a hint with the release that the store's document asks for."""

    def __init__(
        self, broker: MemoryBroker, name: str, store: Store, *, refuses: str = "", silent: bool = False
    ) -> None:
        self.bus = MemoryBus(broker, filters=(topics.hint(SITE),))
        self.name, self.store, self.refuses, self.silent = name, store, refuses, silent
        self.bus.start()
        state = codec.encode(NodeState(boot="a", online=True))
        self.bus.publish(topics.state(SITE, name), state, retain=True)
        self.report(LineReport(line="steel", state="idle"))

    def report(self, line: LineReport) -> None:
        message = codec.encode(Reported(boot="a", at=0.0, lines=(line,)))
        self.bus.publish(topics.reported(SITE, self.name), message, retain=True)

    def act(self) -> None:
        for event in self.bus.events(timeout_s=0.0):
            if isinstance(event, Received) and not self.silent:
                hint = codec.decode(event.payload, Hint)
                document = self.store.rollout(hint.line)
                assert document is not None
                self.report(
                    LineReport(
                        line="steel",
                        state="failed" if self.refuses else "idle",
                        manifest_sha256=None if self.refuses else document.manifest_sha256,
                        rollout=hint.rollout,
                        reason=self.refuses,
                    )
                )


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker()


def _conductor(store: Store, broker: MemoryBroker) -> Conductor:
    bus = MemoryBus(broker, filters=fleet_filters(SITE))
    return Conductor(site=SITE, store=store, bus=bus, clock=ManualClock(), stop=threading.Event(), where="memory")


def _acting(*nodes: Node) -> Callable[[Rollout, Progress], None]:
    def tell(_: Rollout, __: Progress) -> None:
        for node in nodes:
            node.act()

    return tell


def test_a_rollout_is_over_when_every_node_runs_the_hash(store: Store, broker: MemoryBroker) -> None:
    nodes = [Node(broker, name, store) for name in ("n1", "n2")]

    progress = _conductor(store, broker).conduct("steel", "steel-0002", nodes=(), timeout_s=30, tell=_acting(*nodes))

    document = store.rollout("steel")
    assert document is not None
    assert (document.rollout, document.release) == (1, "steel-0002")
    assert document.manifest_sha256 == store.release("steel", "steel-0002").sha256
    assert progress.done == ("n1", "n2")


def test_a_rollback_has_a_higher_number(store: Store, broker: MemoryBroker) -> None:
    node = Node(broker, "n1", store)
    conductor = _conductor(store, broker)
    for release in ("steel-0002", "steel-0001"):
        conductor.conduct("steel", release, nodes=(), timeout_s=30, tell=_acting(node))

    document = store.rollout("steel")
    assert document is not None
    assert (document.rollout, document.release) == (2, "steel-0001")


def test_a_silent_node_is_named_and_the_document_stands(store: Store, broker: MemoryBroker) -> None:
    nodes = [Node(broker, "n1", store), Node(broker, "n2", store, silent=True)]

    with pytest.raises(StateError, match="1 of 2 nodes run steel-0001; no word from n2 within 30 s"):
        _conductor(store, broker).conduct("steel", "steel-0001", nodes=(), timeout_s=30, tell=_acting(*nodes))
    assert store.rollout("steel") is not None


def test_a_refusal_ends_the_watch_with_its_reason(store: Store, broker: MemoryBroker) -> None:
    node = Node(broker, "n1", store, refuses="parity 0.3, allowed 0.001")

    with pytest.raises(ReleaseError, match=r"parity 0\.3"):
        _conductor(store, broker).conduct("steel", "steel-0001", nodes=(), timeout_s=30, tell=_acting(node))


def test_a_broken_release_is_refused_before_anything_is_written(store: Store, broker: MemoryBroker) -> None:
    node = Node(broker, "n1", store)
    (store.root / release_path("steel", "steel-0002", "space.onnx")).write_bytes(b"graph 3")

    with pytest.raises(ReleaseError, match="sha256"):
        _conductor(store, broker).conduct("steel", "steel-0002", nodes=(), timeout_s=30, tell=_acting(node))
    assert store.rollout("steel") is None
    assert not [sent for sent in broker.sent if sent.topic == topics.hint(SITE)]


def test_without_a_broker_nothing_is_written(store: Store, broker: MemoryBroker) -> None:
    broker.online = False

    with pytest.raises(LinkError, match="broker memory: no answer within 10 s"):
        _conductor(store, broker).conduct("steel", "steel-0002", nodes=(), timeout_s=30, tell=_acting())
    assert store.rollout("steel") is None


def test_an_announcement_without_a_broker_stands_and_says_that_no_hint_went_out(
    store: Store, broker: MemoryBroker
) -> None:
    broker.online = False

    document, hinted = _conductor(store, broker).announce("steel", "steel-0001", nodes=("n1",))

    assert hinted is False
    assert store.rollout("steel") == document
    assert document.nodes == ("n1",)


def test_an_unreadable_message_is_counted_and_changes_nothing(broker: MemoryBroker, store: Store) -> None:
    Node(broker, "n1", store)
    fleet = Fleet()
    for topic, payload in broker.retained.items():
        fleet.hear(Received(topic, payload))
    before = dict(fleet.nodes)

    fleet.hear(Received(topics.reported(SITE, "n1"), b"\x81\xa1"))
    fleet.hear(Received("winnow/v2/plant/n1/state", b""))

    assert (fleet.nodes, fleet.refused) == (before, 2)
    assert fleet.of_line("steel") == ("n1",)


def test_a_camera_that_needs_care_is_a_trouble_of_its_node() -> None:
    cameras = (
        CameraState(camera="left", line="steel", needs=("blurred", "dirty")),
        CameraState(camera="right", line="steel"),
        CameraState(camera="top", line="steel", away="rtsp://cam: connection refused"),
    )
    view = NodeView(
        state=NodeState(boot="00000001", online=True, troubles=("the disk is nearly full",)),
        heartbeat=Heartbeat(boot="00000001", at=0.0, cameras=cameras),
    )

    assert view.troubles == (
        "the disk is nearly full",
        "camera top: rtsp://cam: connection refused",
        "camera left is blurred, dirty: see to it",
    )
