"""The courier as the supervisor starts it, with a real broker: what it says when its disk is at fault."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.handoff import Drained, FromCourier, Stop, Troubled, read_lines, write_line
from shared import codec, topics
from shared.bus import Received
from shared.messages import Heartbeat, NodeState
from shared.mqtt import MqttBus
from shared.transport import BrokerTable

AgentToml = Callable[..., Path]
PATIENCE_S = 60.0
STATE = topics.state("plant", "press-01")


class Ear:
    """Who listens to the node at the broker."""

    def __init__(self, port: int) -> None:
        filters = (STATE, topics.heartbeat("plant", "press-01"))
        self.bus = MqttBus(BrokerTable(port=port), client_id="ear", filters=filters)
        self.bus.start()

    def wait_for(self, kind: type[Any], wanted: Callable[[Any], bool]) -> Any:
        topic = STATE if kind is NodeState else topics.heartbeat("plant", "press-01")
        while events := self.bus.events(timeout_s=PATIENCE_S):
            for event in events:
                if isinstance(event, Received) and event.topic == topic:
                    found = codec.decode(event.payload, kind)
                    if wanted(found):
                        return found
        raise AssertionError("the node stayed silent")


@pytest.fixture
def ear(mosquitto: Any) -> Iterator[Ear]:
    ear = Ear(mosquitto.port)
    yield ear
    ear.bus.stop()


@pytest.fixture
def toml(agent_toml: AgentToml, mosquitto: Any, tmp_path: Path) -> Path:
    path = agent_toml()
    path.write_text(
        path.read_text(encoding="utf-8").replace("port = 1\n", f"port = {mosquitto.port}\n"), encoding="utf-8"
    )
    for folder in ("agent", "agent/run", "agent/incoming"):
        (tmp_path / folder).mkdir()
    return path


def courier(toml: Path, *options: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "edge_agent.courier", str(toml), "--boot", "0000abcd", *options]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def said(process: "subprocess.Popen[bytes]") -> list[object]:
    """End a courier and return what it said to its supervisor."""
    with process:
        assert process.stdin is not None
        assert process.stdout is not None
        write_line(process.stdin, Stop())
        return list(read_lines(process.stdout, FromCourier))


def test_an_unreadable_spool_is_told_with_every_birth_until_it_is_taken_away(
    toml: Path, ear: Ear, tmp_path: Path
) -> None:
    (tmp_path / "agent/spool.db").write_bytes(b"no database at all" * 1000)

    place = tmp_path / "agent"
    aside = f"spool.db.corrupt-1: was not readable and is set aside in {place}; look at the disk, then remove it"

    for _ in range(2):
        process = courier(toml, "--trouble=the courier was started again: spool: disk I/O error")
        born = ear.wait_for(NodeState, lambda state: state.online)
        beat = ear.wait_for(Heartbeat, lambda _: True)
        assert Drained(0) in said(process)
        assert (process.returncode, born.boot) == (0, "0000abcd")
        assert born.troubles == (
            "the courier was started again: spool: disk I/O error",
            aside,
        )
        assert 0 < beat.spool_cap_bytes <= 2_000_000_000
        ear.wait_for(NodeState, lambda state: not state.online)

    (tmp_path / "agent/spool.db.corrupt-1").unlink()
    process = courier(toml)
    assert ear.wait_for(NodeState, lambda state: state.online).troubles == ()
    said(process)


def test_a_courier_that_cannot_open_its_spool_says_why_to_the_fleet_and_to_its_supervisor(
    toml: Path, ear: Ear, tmp_path: Path
) -> None:
    (tmp_path / "agent/spool.db").mkdir()

    process = courier(toml)
    # The broker still holds what a node said that was there before.
    gone = ear.wait_for(NodeState, lambda state: state.troubles != ())
    with process:
        words = list(read_lines(process.stdout, FromCourier))

    reason = f"{tmp_path / 'agent/spool.db'}: unable to open database file; the node cannot start without it"
    assert (gone.online, gone.troubles) == (False, (reason,))
    assert words == [Troubled(reason)]
    assert process.returncode == 1


def test_a_courier_whose_configuration_cannot_be_read_says_so_by_its_status(toml: Path) -> None:
    toml.write_text("node = 1", encoding="utf-8")

    process = courier(toml)
    with process:
        words = list(read_lines(process.stdout, FromCourier))

    assert [type(word) for word in words] == [Troubled]
    assert process.returncode == os.EX_CONFIG
