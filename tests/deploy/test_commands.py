"""The commands of deploy, as a person types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.broker import PrivateBroker
from deploy.cli import main
from deploy.store import Store
from shared import codec, topics
from shared.bus import Connected
from shared.clock import SystemClock
from shared.messages import CameraState, Heartbeat, LineReport, NodeState, Reported
from shared.mqtt import MqttBus
from shared.release import release_path
from shared.transport import BrokerTable


def _rows(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_releases_are_listed_for_people_and_for_machines(site_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "list", str(site_file)]) == 0
    assert "steel-0002" in capsys.readouterr().out

    assert main(["release", "list", str(site_file), "--json"]) == 0
    rows = _rows(capsys)
    assert [(row["release"], row["graphs"], row["bytes"]) for row in rows] == [
        ("steel-0001", "space", 7),
        ("steel-0002", "space", 7),
    ]


def test_a_shown_release_was_verified(site_file: Path, store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["release", "show", str(site_file), "steel-0001", "--json"]) == 0
    (shown,) = _rows(capsys)
    assert shown["manifest_sha256"] == store.release("steel", "steel-0001").sha256
    assert [file["role"] for file in shown["files"]] == ["space"]

    (store.root / release_path("steel", "steel-0001", "space.onnx")).write_bytes(b"Graph 1")
    assert main(["release", "show", str(site_file), "steel-0001"]) == 1
    assert "space.onnx: sha256" in capsys.readouterr().err


def test_an_unknown_line_is_refused_with_the_known_ones(site_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rollout", "start", str(site_file), "steel-0001", "--line", "copper"]) == 1

    assert capsys.readouterr().err == '--line "copper": known lines are steel\n'


def test_without_a_broker_every_command_that_needs_it_says_so(
    site_file: Path, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("deploy.conductor", "deploy.commands.fleet", "deploy.commands.rollout"):
        monkeypatch.setattr(f"{module}._CONNECT_S", 0.1)
    commands = (["fleet", "status"], ["rollout", "status"], ["rollout", "start", "--line", "steel"])
    for command in commands:
        tail = ["steel-0001"] if "start" in command else []
        assert main([*command[:2], str(site_file), *tail, *command[2:]]) == 1

        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert "broker 127.0.0.1:1: no answer within 0.1 s" in said
    assert store.rollout("steel") is None


def test_an_announcement_stands_without_a_broker(
    site_file: Path, store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deploy.commands.rollout._CONNECT_S", 0.1)
    command = ["rollout", "start", str(site_file), "steel-0002", "--line", "steel", "--no-wait", "--json"]

    assert main([*command, "--node", "press-01"]) == 0

    said = capsys.readouterr()
    assert json.loads(said.out) == {
        "event": "announced",
        "line": "steel",
        "release": "steel-0002",
        "rollout": 1,
        "hinted": False,
    }
    assert "the nodes find the document at their next poll" in said.err
    document = store.rollout("steel")
    assert document is not None
    assert document.nodes == ("press-01",)


def test_the_fleet_and_its_rollouts_are_listed_from_the_bus(
    site_file: Path, store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broker = PrivateBroker(tmp_path / "broker", clock=SystemClock())
    broker.start()
    site_file.write_text(site_file.read_text().replace("port = 1", f"port = {broker.port}"))
    node = MqttBus(BrokerTable(port=broker.port), client_id="node", filters=("winnow/v1/plant/press-01/heartbeat",))
    try:
        _speak(node, store)
        assert main(["fleet", "status", str(site_file), "--json", "--wait-s", "0"]) == 0
        (row,) = _rows(capsys)
        assert (row["node"], row["online"], row["release"]) == ("press-01", True, "steel-0001")

        words = ("spool.db.corrupt-1: look at the disk",)
        state = NodeState(boot="00000001", online=True, troubles=words)
        camera = CameraState(camera="top", line="steel", frames=7, frames_bad=2)
        beat = Heartbeat(boot="00000001", at=1.0, cameras=(camera,), handoff_dropped=3, evicted=5, dead=7, deferred=11)
        node.publish("winnow/v1/plant/press-01/state", codec.encode(state), retain=True)
        node.publish("winnow/v1/plant/press-01/heartbeat", codec.encode(beat), retain=True)
        assert main(["fleet", "status", str(site_file), "--json", "--wait-s", "5"]) == 0
        told = capsys.readouterr()
        (row,) = (json.loads(line) for line in told.out.splitlines())
        assert (row["dropped"], row["evicted"], row["dead"], row["deferred"]) == (3, 5, 7, 11)
        assert (row["bad"], row["missed"], row["sent"]) == (2, 0, 0)
        assert "node press-01: spool.db.corrupt-1: look at the disk" in told.err

        assert main(["fleet", "status", str(site_file), "--wait-s", "5"]) == 0
        _, _, headings, _, values, _ = capsys.readouterr().out.splitlines()
        # Nothing was missed or sent anywhere: those columns would only take room.
        assert headings.replace("┃", "").split()[5:] == ["frames", "bad", "evicted", "dropped", "dead"]
        assert values.replace("│", "").split()[3:] == ["steel-0001", "idle", "7", "2", "5", "3", "7"]

        assert main(["rollout", "start", str(site_file), "steel-0001", "--line", "steel", "--json"]) == 0
        assert _rows(capsys)[-1]["nodes"] == ["press-01"]

        assert main(["rollout", "status", str(site_file), "--json"]) == 0
        (row,) = _rows(capsys)
        assert (row["rollout"], row["node"], row["standing"]) == (1, "press-01", "done")
    finally:
        node.stop()
        broker.stop()


def _speak(node: MqttBus, store: Store) -> None:
    """Say on the bus what a node says that took the first release in the first rollout."""
    node.start()
    while not any(isinstance(event, Connected) for event in node.events(timeout_s=5.0)):
        continue
    sha256 = store.release("steel", "steel-0001").sha256
    # The number of the document that the rollout below writes: a node counts as done once it has read that.
    report = LineReport(line="steel", state="idle", release="steel-0001", manifest_sha256=sha256, rollout=1)
    state = NodeState(boot="a", online=True)
    node.publish(topics.state("plant", "press-01"), codec.encode(state), retain=True)
    reported = Reported(boot="a", at=1.0, lines=(report,))
    node.publish(topics.reported("plant", "press-01"), codec.encode(reported), retain=True)
    camera = CameraState(camera="top", line="steel", frames=7)
    node.publish(topics.heartbeat("plant", "press-01"), codec.encode(Heartbeat(boot="a", at=1.0, cameras=(camera,))))
    # Its own heartbeat comes back once the broker has taken everything before it.
    assert node.events(timeout_s=5.0)
