"""A node as a process, and a trainer and an operator at its broker."""

import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared import codec, topics
from shared.bus import Connected, Received
from shared.messages import Ack, Candidate, Heartbeat, NodeState, Reported, WorkerState
from shared.mqtt import MqttBus
from shared.transport import BrokerTable

#: Far above what anything here takes, also on a busy machine.
PATIENCE_S = 60.0


class Node:
    """``winnow agent run`` as a process."""

    def __init__(self, agent_toml: Path, *options: str) -> None:
        command = [sys.executable, "-c", "from edge_agent.cli import app; app()", "run", str(agent_toml), "--json"]
        self.process = subprocess.Popen(
            [*command, *options],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.log: list[str] = []
        self._heard = threading.Event()
        self._readers = [
            threading.Thread(target=self._read, daemon=True),
            threading.Thread(target=self._hear, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.events.put(json.loads(line))

    def _hear(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.decode())
            self._heard.set()

    def wait_for(self, **fields: object) -> dict[str, Any]:
        """Read events up to the first with these fields."""
        while True:
            try:
                event = self.events.get(timeout=PATIENCE_S)
            except queue.Empty:
                pytest.fail(f"no {fields}; log:\n{''.join(self.log)}")
            if fields.items() <= event.items():
                return event

    def wait_for_log(self, words: str) -> None:
        """Wait for a log line with these words."""
        for _ in range(int(PATIENCE_S * 20)):
            if any(words in line for line in self.log):
                return
            self._heard.wait(0.05)
            self._heard.clear()
        pytest.fail(f"nothing says {words}; log:\n{''.join(self.log)}")

    def end(self) -> int:
        """Wait for the end and return the exit status."""
        status = self.process.wait(timeout=PATIENCE_S)
        for reader in self._readers:
            reader.join(timeout=PATIENCE_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        return status

    def child(self, module: str) -> int:
        """Find a child process by what it runs."""
        for pid in Path(f"/proc/{self.process.pid}/task").glob("*/children"):
            for child in pid.read_text(encoding="ascii").split():
                if module.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        pytest.fail(f"no {module}; log:\n{''.join(self.log)}")


class Watcher:
    """A trainer and an operator at the broker, played by hand."""

    def __init__(self, port: int) -> None:
        filters = tuple(topics.all_nodes("plant", what) for what in ("state", "heartbeat", "reported", "cand/#"))
        self.bus = MqttBus(BrokerTable(port=port), client_id="watcher", filters=filters)
        self.bus.start()
        self.candidates: dict[str, Candidate] = {}
        self.states: list[NodeState] = []
        self.beats: list[Heartbeat] = []
        self.reports: list[Reported] = []
        while not any(isinstance(event, Connected) for event in self.bus.events(timeout_s=PATIENCE_S)):
            continue
        self.bus.publish(
            topics.worker_state("plant", "main"), codec.encode(WorkerState(boot="00000001", online=True)), retain=True
        )

    def wait_for(self, done: Callable[[], object], what: str) -> None:
        """Hear what comes and acknowledge every candidate until something is so."""
        for _ in range(int(PATIENCE_S * 10)):
            if done():
                return
            for event in self.bus.events(timeout_s=0.1):
                if isinstance(event, Received):
                    self._hear(event)
        pytest.fail(f"it did not happen: {what}")

    def _hear(self, event: Received) -> None:
        match event.topic.split("/")[4]:
            case "state":
                self.states.append(codec.decode(event.payload, NodeState))
            case "heartbeat":
                self.beats.append(codec.decode(event.payload, Heartbeat))
            case "reported":
                self.reports.append(codec.decode(event.payload, Reported))
            case "cand":
                found = codec.decode(event.payload, Candidate)
                self.candidates[found.id] = found
                self.bus.publish(topics.ack("plant", "press-01"), codec.encode(Ack(acked=(found.id,))))
