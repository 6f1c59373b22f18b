"""What the driver does with what it hears."""

import io
import json
import queue
from collections.abc import Iterator
from typing import Any

import pytest

from deploy.demo.driver import Driver
from deploy.demo.profile import quick
from deploy.demo.record import ARMS, Told
from deploy.store import Store
from shared import codec, topics
from shared.bus import MemoryBroker, MemoryBus
from shared.messages import CameraState, Heartbeat


class Bench:
    """A driver with the crew, the rollouts and the bus in the test's hand."""

    def __init__(self, store: Store) -> None:
        self.inbox: queue.Queue[Told] = queue.Queue()
        self.events = io.StringIO()
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.rollouts: list[str] = []
        self.unfinished = 0
        self.ended: list[str] = []
        self.dismissed: list[str] = []
        self.maps = 0
        broker = MemoryBroker()
        self.node = MemoryBus(broker)
        self.node.start()
        bus = MemoryBus(broker, filters=("winnow/v1/#",))
        bus.start()
        self.driver = Driver(
            quick(0), self, self, bus, store, inbox=self.inbox, since_start=lambda: 1.0, events=self.events
        )

    def hear(self, source: str, name: str, **fields: Any) -> None:
        self.inbox.put(Told(1.0, source, name, fields))
        self.driver.turn()

    def tell(self, name: str, message: dict[str, Any]) -> None:
        self.told.append((name, message))

    def revive(self) -> Iterator[str]:
        while self.ended:
            yield self.ended.pop()

    def dismiss(self, names: tuple[str, ...]) -> None:
        self.dismissed = list(names)

    def draw_map(self) -> None:
        self.maps += 1

    def map_drawn(self) -> bool:
        return self.maps == 1

    @property
    def idle(self) -> bool:
        return self.unfinished == 0

    def add(self, release: str) -> None:
        self.rollouts.append(release)
        self.unfinished += 1

    def finished(self) -> None:
        self.unfinished -= 1

    def finish_round(self, number: int) -> None:
        fields = {"labels_total": 12 * (number + 1), "train_total": 9 * (number + 1), "run": f"run-{number}"}
        self.hear("trainer", "round_done", round=number, **fields)

    def answer(self, number: int) -> None:
        for arm in ARMS:
            self.hear("arms", "arm", round=number, arm=arm, labels=9, miou=0.5, per_class={})


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)


def test_a_release_is_rolled_out_once_however_often_it_is_told(bench: Bench) -> None:
    for _ in range(2):
        bench.hear("trainer", "released", release="steel-0002", round=0)

    assert bench.rollouts == ["steel-0002"]


def test_a_finished_round_goes_to_the_arms_once_with_what_the_cameras_had_seen(bench: Bench) -> None:
    camera = CameraState(camera="top", line="steel", frames=41, frame_number=40)
    beat = codec.encode(Heartbeat(boot="a", at=0.0, cameras=(camera,)))
    bench.node.publish(topics.heartbeat("demo", "press-01"), beat)
    bench.driver.turn()

    bench.finish_round(0)
    bench.finish_round(0)

    seen = {"press-01/top": 41}
    message = {"round": 0, "run": "run-0", "train_total": 9, "labels_total": 12, "seen": seen}
    assert bench.told == [("arms", message)]


def test_arms_that_were_started_again_hear_what_they_have_not_answered(bench: Bench) -> None:
    bench.finish_round(0)
    bench.finish_round(1)
    bench.answer(0)
    bench.told.clear()

    bench.ended.append("arms")
    bench.driver.turn()

    assert [message["round"] for _, message in bench.told] == [1]


def test_what_a_killed_trainer_could_not_tell_is_rolled_out(bench: Bench) -> None:
    bench.ended.append("trainer")

    bench.driver.turn()

    assert bench.rollouts == ["steel-0002"]


def test_the_nodes_work_until_the_last_rollout_is_over(bench: Bench) -> None:
    bench.hear("trainer", "released", release="steel-0002", round=0)
    bench.hear("trainer", "all_done", line="steel")
    assert bench.dismissed == []
    assert bench.maps == 0

    bench.hear("conductor", "rollout_ended", release="steel-0002", error=None)
    bench.driver.turn()

    assert bench.dismissed == list(quick(0).nodes)
    assert bench.maps == 1


def test_a_demo_is_over_when_every_round_is_measured_and_the_map_is_drawn(bench: Bench) -> None:
    bench.finish_round(0)
    bench.hear("trainer", "all_done", line="steel")
    assert not bench.driver.over()

    bench.answer(0)

    assert bench.driver.over()


def test_every_event_is_recorded_as_a_line(bench: Bench) -> None:
    bench.hear("trainer", "stage", round=0, stage="train")
    bench.node.publish(topics.heartbeat("demo", "press-01"), b"\xff")
    bench.driver.turn()
    bench.driver.turn()

    lines = [json.loads(line) for line in bench.events.getvalue().splitlines()]
    assert {"at": 1.0, "source": "trainer", "event": "stage", "round": 0, "stage": "train"} in lines
    assert any(line["event"] == "said" and "the message is refused" in line["text"] for line in lines)
