"""The examination of a node: with everything there, with nothing there, and while the node runs."""

import json
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from edge_agent.cli import app
from edge_agent.courier.spool import Spool
from edge_agent.doctor import examination
from edge_agent.releases.activation import Held
from edge_agent.releases.store import ActivationStore
from shared.clock import SystemClock
from shared.errors import ConfigError

AgentToml = Callable[..., Path]
Build = Callable[..., Held]


class Store(BaseHTTPRequestHandler):
    """A trainer's static files, with a clock of its own."""

    root = Path()
    ahead_s = 0.0

    def do_GET(self) -> None:
        file = self.root / self.path.lstrip("/")
        self._answer(200 if file.is_file() else 404)
        if file.is_file():
            self.wfile.write(file.read_bytes())

    def do_HEAD(self) -> None:
        self._answer(404)

    def _answer(self, status: int) -> None:
        self.send_response_only(status)
        self.send_header("Date", formatdate(SystemClock().now() + self.ahead_s, usegmt=True))
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ThreadingHTTPServer]:
    handler = type("Here", (Store,), {"root": tmp_path / "store"})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def doctor(path: Path) -> tuple[int, dict[str, dict[str, Any]]]:
    answer = CliRunner().invoke(app, ["doctor", str(path), "--json"], catch_exceptions=False)
    rows = [json.loads(line) for line in answer.stdout.splitlines()]
    return answer.exit_code, {row["about"]: row for row in rows}


@pytest.fixture
def installed(tmp_path: Path, build_release: Build, order: Callable[..., Any]) -> str:
    """A release in the store, ordered, and on the node."""
    held = build_release(tmp_path / "store", 3)
    order(tmp_path / "store", held, 1)
    place = tmp_path / "agent" / "releases" / "strip" / held.release
    shutil.copytree(tmp_path / "store" / "releases" / "strip" / held.release, place)
    return held.release


def test_a_sound_node_has_no_fault_and_says_what_it_runs(
    agent_toml: AgentToml, installed: str, tmp_path: Path, mosquitto: Any, store: ThreadingHTTPServer
) -> None:
    path = agent_toml()
    connect(path, mosquitto.port, f"http://127.0.0.1:{store.server_port}")

    status, found = doctor(path)

    assert {name: row["state"] for name, row in found.items()} == {
        "runtime": "ok",
        "trial strip": "ok",
        "provider": "ok",
        "disk": "ok",
        "spool": "ok",
        "broker": "ok",
        "releases": "ok",
        "clock": "ok",
    }
    assert status == 0
    assert f"{installed} answers its golden tiles on cpu in fp32" in found["trial strip"]["says"]
    assert "speaks MQTT 5" in found["broker"]["says"]
    assert not list((tmp_path / "agent").rglob("*.onnx"))


def test_a_running_node_may_be_examined_and_keeps_its_databases(
    agent_toml: AgentToml, tmp_path: Path, mosquitto: Any
) -> None:
    path = agent_toml()
    (tmp_path / "agent").mkdir()
    connect(path, mosquitto.port, (tmp_path / "store").as_uri())
    spool = Spool.open(tmp_path / "agent" / "spool.db", cap_bytes=10**6, ballast_bytes=1)
    activation = ActivationStore.open(tmp_path / "agent" / "activation.db")
    before = sorted(file.name for file in (tmp_path / "agent").iterdir())

    status, found = doctor(path)

    assert (status, found["broker"]["state"], found["disk"]["state"]) == (0, "ok", "ok")
    assert found["trial strip"]["state"] == "note"
    assert found["clock"]["state"] == found["releases"]["state"] == "note"
    assert sorted(file.name for file in (tmp_path / "agent").iterdir()) == before
    assert spool.counts().items == 0
    spool.close()
    activation.close()


def test_a_spool_that_was_set_aside_does_not_count_as_held(
    agent_toml: AgentToml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = agent_toml()
    (tmp_path / "agent").mkdir()
    connect(path, 1, "http://127.0.0.1:1")
    for name, size in (("spool.db", 30_000_000), ("spool.db-wal", 4_000_000), ("spool.db.corrupt-1", 500_000_000)):
        with (tmp_path / "agent" / name).open("wb") as file:
            file.truncate(size)
    full = shutil.disk_usage(tmp_path)._replace(free=0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)

    _, found = doctor(path)

    assert "(34 MB at" in found["spool"]["says"]


def test_the_doctor_of_a_node_that_never_ran_counts_on_what_its_spool_will_have(
    agent_toml: AgentToml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = tmp_path / "agent"
    node.mkdir(exist_ok=True)

    disk = shutil.disk_usage(node)

    def small_disk(_path: object) -> Any:
        used = sum(file.stat().st_size for file in node.rglob("*") if file.is_file())
        return disk._replace(total=24_000_000, free=24_000_000 - used)

    monkeypatch.setattr("shutil.disk_usage", small_disk)

    _, found = doctor(agent_toml())

    spool = Spool.open(node / "spool.db", cap_bytes=1 << 30)
    (said,) = re.findall(r"\((\d+) MB at", found["spool"]["says"])
    assert int(said) == round(spool.cap_bytes / 1e6)
    assert (node / "ballast").stat().st_size == 1_500_000


def test_without_broker_and_store_each_is_a_fault_with_its_advice(agent_toml: AgentToml, tmp_path: Path) -> None:
    path = agent_toml()
    # Port 1 of loopback: nobody listens.
    connect(path, 1, "http://127.0.0.1:1")

    status, found = doctor(path)

    assert status == 1
    assert found["broker"]["state"] == "fault"
    assert "check broker.host and broker.port" in found["broker"]["advice"]
    assert found["releases"]["state"] == "fault"
    assert "winnow trainer serve" in found["releases"]["advice"]
    assert not (tmp_path / "agent").exists()


def test_a_store_whose_folder_is_not_mounted_is_a_fault(agent_toml: AgentToml, tmp_path: Path) -> None:
    path = agent_toml()
    connect(path, 1, (tmp_path / "nowhere").as_uri())

    _, found = doctor(path)

    assert (found["releases"]["state"], found["releases"]["says"]) == (
        "fault",
        f"{tmp_path}/nowhere: no folder is there",
    )
    assert "that the folder is mounted" in found["releases"]["advice"]


def test_a_camera_whose_package_is_missing_is_a_fault(agent_toml: AgentToml) -> None:
    path = agent_toml()
    text = re.sub('type = "folder".*(?= })', 'type = "plugin", plugin = "acme"', path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")

    status, found = doctor(path)

    assert (status, found["camera top"]["state"]) == (1, "fault")
    assert found["camera top"]["says"].startswith('plugin "acme" is not installed')


def test_a_release_that_no_longer_answers_right_is_a_fault(
    agent_toml: AgentToml, tmp_path: Path, build_release: Build
) -> None:
    path = agent_toml()
    held = build_release(tmp_path / "agent", 2)
    build_release(tmp_path / "agent", 1)
    file = tmp_path / "agent" / "releases" / "strip" / held.release / "task.bin"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    status, found = doctor(path)

    assert status == 1
    assert found["trial strip"]["state"] == "fault"
    assert "task.bin: sha256" in found["trial strip"]["says"]
    assert "remove this one" in found["trial strip"]["advice"]


def test_a_clock_that_is_off_is_found_by_the_store_s(
    agent_toml: AgentToml, store: ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store.RequestHandlerClass, "ahead_s", 120.0)
    path = agent_toml()
    connect(path, 1, f"http://127.0.0.1:{store.server_port}")

    _, found = doctor(path)

    assert found["clock"]["state"] == "fault"
    assert "120 s behind" in found["clock"]["says"] or "119 s behind" in found["clock"]["says"]
    assert found["releases"]["state"] == "note"


def test_a_provider_that_is_not_there_is_a_fault(agent_toml: AgentToml, build_release: Build, tmp_path: Path) -> None:
    path = agent_toml()
    build_release(tmp_path / "agent", 1)
    text = path.read_text(encoding="utf-8").replace('provider = "cpu"', 'provider = "cuda"\nstrict = false')
    path.write_text(text, encoding="utf-8")

    status, found = doctor(path)

    if found["provider"]["says"].startswith("asked for cuda, cpu runs"):
        assert status == 1
        assert found["provider"]["state"] == "fault"
        assert found["trial strip"]["state"] == "ok"


def test_a_broker_that_never_answers_is_not_waited_for_for_ever(
    agent_toml: AgentToml, monkeypatch: pytest.MonkeyPatch
) -> None:
    import socket

    monkeypatch.setattr(examination, "_PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        path = agent_toml()
        connect(path, silent.getsockname()[1], "http://127.0.0.1:1")

        _, found = doctor(path)

    assert "no answer within 0 s" in found["broker"]["says"]


def test_a_configuration_that_cannot_be_read_is_said_as_everywhere(agent_toml: AgentToml) -> None:
    path = agent_toml(more="pol_s = 3")

    with pytest.raises(ConfigError, match="pol_s"):
        CliRunner().invoke(app, ["doctor", str(path)], catch_exceptions=False)


def connect(path: Path, port: int, store: str) -> None:
    """Point a node at a broker and a store, and give it a budget of this world."""
    line = path.with_name("line.toml")
    line.write_text(line.read_text(encoding="utf-8").replace("1e7", "200.0"), encoding="utf-8")
    lines = []
    for entry in path.read_text(encoding="utf-8").splitlines():
        kept = f"port = {port}" if entry.startswith("port =") else entry
        lines.append(f'releases_url = "{store}"' if entry.startswith("releases_url") else kept)
    path.write_text("\n".join(lines), encoding="utf-8")
