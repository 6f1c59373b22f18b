"""The service as a process, with a real broker."""

import json
import queue
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import pytest

from shared import topics
from shared.bus import Connected, Received
from shared.codec import decode, encode
from shared.messages import Ack, Candidate, WorkerState
from shared.mqtt import MqttBus
from shared.transport import BrokerTable
from trainer.pool.pool import Pool

MakeCandidate = Callable[..., Candidate]
SERVE = (sys.executable, "-m", "deploy.cli", "trainer", "serve")
WITHIN_S = 30.0
PRESENCE = topics.worker_state("mill", "main")


class Serving:
    """A service in a process of its own; its events come out of a queue."""

    def __init__(self, site_toml: Path) -> None:
        self.process = subprocess.Popen(
            [*SERVE, str(site_toml), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.heard: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._events.put(json.loads(line))

    def event(self, name: str) -> dict[str, Any]:
        """Wait for the next event of this name."""
        while True:
            self.heard.append(self._events.get(timeout=WITHIN_S))
            if self.heard[-1]["event"] == name:
                return self.heard[-1]

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Send a signal and return exit status and standard error."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> tuple[int, str]:
        assert self.process.stderr is not None
        assert self.process.stdout is not None
        said = self.process.stderr.read()
        status = self.process.wait(WITHIN_S)
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()
        while not self._events.empty():
            self.heard.append(self._events.get())
        return status, said

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGKILL)


class Node:
    """What a node has of the bus: it hears its acknowledgements and the workers' presence."""

    def __init__(self, port: int) -> None:
        self.bus = MqttBus(
            BrokerTable(port=port), client_id="n1", filters=(topics.ack("mill", "n1"), topics.all_workers("mill"))
        )
        self.bus.start()
        self._waiting: list[Received] = []
        self.until(lambda event: isinstance(event, Connected))

    def until(self, wanted: Callable[[object], bool]) -> object:
        """Wait for an event; those before it are passed over."""
        while events := self.bus.events(timeout_s=WITHIN_S, limit=1):
            if wanted(events[0]):
                return events[0]
        raise AssertionError("the bus stayed silent")

    def send(self, *candidates: Candidate) -> None:
        for candidate in candidates:
            self.bus.publish(topics.candidates("mill", "n1", "strip"), encode(candidate))

    def ack(self) -> Ack:
        event = self.until(lambda event: isinstance(event, Received) and event.topic.endswith("/ack"))
        assert isinstance(event, Received)
        return decode(event.payload, Ack)

    def presence(self, *, online: bool) -> WorkerState:
        """Wait until the worker says it is there, or is said to be gone."""

        def is_it(event: object) -> bool:
            return (
                isinstance(event, Received)
                and event.topic == PRESENCE
                and decode(event.payload, WorkerState).online is online
            )

        event = self.until(is_it)
        assert isinstance(event, Received)
        return decode(event.payload, WorkerState)


@pytest.fixture
def site_toml(tmp_path: Path, line_toml: str, mosquitto: Any) -> Path:
    (tmp_path / "strip.toml").write_text(line_toml, encoding="utf-8")
    file = tmp_path / "site.toml"
    file.write_text(
        f'site = "mill"\nlines = ["strip.toml"]\n[broker]\nport = {mosquitto.port}\n[trainer]\nhttp_port = 0\n',
        encoding="utf-8",
    )
    return file


@pytest.fixture
def node(mosquitto: Any) -> Iterator[Node]:
    made = Node(mosquitto.port)
    yield made
    made.bus.stop()


def test_a_candidate_goes_from_the_broker_into_the_pool_and_is_acknowledged(
    site_toml: Path, node: Node, make_candidate: MakeCandidate
) -> None:
    with Serving(site_toml) as serving:
        port = serving.event("ready")["http_port"]
        state = node.presence(online=True)
        candidate = make_candidate(1)

        node.send(candidate)
        ack = node.ack()

        told = serving.event("ingest")
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=WITHIN_S) as answer:
            health = json.load(answer)
        status, said = serving.end()

    assert ack.acked == (candidate.id,)
    assert (told["line"], told["pool"], told["new"], told["again"], told["refused"]) == ("strip", 1, 1, 0, 0)
    assert told["bytes"] == len(candidate.crop)
    assert health == {"ok": True, "site": "mill", "broker": True, "pool": "ok"}
    assert (status, said) == (0, "")
    assert node.presence(online=False).boot == state.boot
    with Pool.open(site_toml.parent / "trainer") as pool:
        assert pool.ids("strip") == [candidate.id]


def test_a_killed_service_is_said_to_be_gone_and_keeps_what_it_acknowledged(
    site_toml: Path, node: Node, make_candidate: MakeCandidate
) -> None:
    candidates = [make_candidate(number) for number in range(5)]
    with Serving(site_toml) as serving:
        first = node.presence(online=True)
        node.send(*candidates[:4])
        acked: set[str] = set()
        while len(acked) < 4:
            acked |= set(node.ack().acked)
        serving.end(signal.SIGKILL)
        assert node.presence(online=False).boot == first.boot

    with Serving(site_toml) as serving:
        assert node.presence(online=True).boot != first.boot
        node.send(*candidates)
        again: set[str] = set()
        while len(again) < 5:
            again |= set(node.ack().acked)
        assert serving.end(signal.SIGINT) == (0, "")

    with Pool.open(site_toml.parent / "trainer") as pool:
        assert sorted(pool.ids("strip")) == sorted(candidate.id for candidate in candidates)
        assert pool.counters("strip")["received"] == 5


def test_a_second_service_on_the_same_directory_is_refused(site_toml: Path, node: Node) -> None:
    with Serving(site_toml) as first:
        first.event("ready")
        node.presence(online=True)

        with Serving(site_toml) as second:
            status, said = second.wait()

        assert status == 1
        assert said.count("\n") == 1
        assert f'"serve" is held by process {first.process.pid}' in said
        assert first.process.poll() is None
        assert first.end() == (0, "")


def test_a_broker_that_is_not_there_is_said_once_and_waited_for(
    site_toml: Path, mosquitto: Any, make_candidate: MakeCandidate
) -> None:
    # mosquitto forgets a SIGTERM that comes before it has served anybody.
    Node(mosquitto.port).bus.stop()
    mosquitto.stop()
    with Serving(site_toml) as serving:
        serving.event("ready")
        assert serving.event("broker")["connected"] is False

        mosquitto.start()
        assert serving.event("broker")["connected"] is True
        node = Node(mosquitto.port)
        node.presence(online=True)
        node.send(make_candidate(1))
        assert node.ack().acked == (make_candidate(1).id,)
        node.bus.stop()
        ended = serving.end()

    assert ended == (0, "")
    assert [event["connected"] for event in serving.heard if event["event"] == "broker"] == [False, True]


def test_an_http_address_in_use_ends_the_service_with_one_line(site_toml: Path, mosquitto: Any) -> None:
    site_toml.write_text(site_toml.read_text().replace("http_port = 0", f"http_port = {mosquitto.port}"))

    with Serving(site_toml) as serving:
        status, said = serving.wait()

    assert status == 1
    assert said.count("\n") == 1
    assert f"trainer.http_port {mosquitto.port}" in said
    assert "Address already in use" in said
