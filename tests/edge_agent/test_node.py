"""The node as it runs: real processes, a folder of images, a store in a folder, and a broker or none."""

import os
import select
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.child import Ended
from edge_agent.courier.spool import Spool
from edge_agent.releases.activation import Activation, Held, State
from edge_agent.releases.store import ActivationStore
from edge_agent.supervisor import Ending, Supervisor
from shared.clock import ManualClock
from shared.config import load_agent
from shared.console import Console
from shared.identity import CandidateId
from shared.release import Rollout
from tests.edge_agent.releases.hostile import endless
from tests.edge_agent.running import PATIENCE_S, Node, Watcher

AgentToml = Callable[..., Path]
Build = Callable[..., Held]
Order = Callable[..., Rollout]


@pytest.fixture
def start() -> Iterator[Callable[..., Node]]:
    nodes: list[Node] = []

    def begin(agent_toml: Path, *options: str) -> Node:
        nodes.append(Node(agent_toml, *options))
        return nodes[-1]

    yield begin
    for node in nodes:
        if node.process.poll() is None:
            node.process.kill()
            node.end()


def spooled(directory: Path) -> int:
    spool = Spool.open(directory / "agent" / "spool.db", cap_bytes=10_000_000)
    count = spool.counts().items
    spool.close()
    return count


def test_three_images_without_a_broker_end_in_the_spool(
    agent_toml: AgentToml, tmp_path: Path, start: Callable[..., Node]
) -> None:
    node = start(agent_toml(), "--until-done", "--drain-s", "0.5")

    ended = node.wait_for(event="ended")

    # Whoever waits for the end is to know that it is not all delivered.
    assert node.end() == 1, node.log
    assert ended["spooled"] == spooled(tmp_path) > 0
    # The file is called agent.toml: no line may take the node for "agent".
    assert all(" node press-01 " in line for line in node.log)
    assert any("press-01 courier" in line and "stay in the spool" in line for line in node.log)
    assert oct((tmp_path / "agent").stat().st_mode & 0o777) == "0o700"


def test_a_finite_run_whose_images_are_delivered_ends_well(
    agent_toml: AgentToml, tmp_path: Path, start: Callable[..., Node], mosquitto: Any
) -> None:
    path = agent_toml()
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("port = 1\n", f"port = {mosquitto.port}\n"), encoding="utf-8")
    watcher = Watcher(mosquitto.port)

    node = start(path, "--until-done")
    watcher.wait_for(lambda: node.process.poll() is not None, "the node ends by itself")

    assert node.end() == 0, node.log
    assert node.wait_for(event="ended")["spooled"] == spooled(tmp_path) == 0
    assert watcher.candidates
    watcher.bus.stop()


def test_a_rollout_reaches_a_running_node_and_a_wrong_one_does_not(
    agent_toml: AgentToml, tmp_path: Path, start: Callable[..., Node], build_release: Build, order: Order
) -> None:
    store = tmp_path / "store"
    good = build_release(store, 1)
    node = start(agent_toml(loop=True))
    node.wait_for(event="line", state="idle", release=None)

    order(store, good, 1)
    for state in ("fetching", "trial", "probation"):
        node.wait_for(event="line", state=state, release=None)
    node.wait_for(event="line", state="idle", release=good.release)

    wrong = build_release(store, 2, bias=0.2, golden=(store / "releases/strip/strip-0001/golden.bin").read_bytes())
    order(store, wrong, 2)
    failed = node.wait_for(event="line", state="failed")
    assert (failed["release"], "golden scores: 2.00e-01 apart" in failed["reason"]) == (good.release, True)

    os.kill(node.child("edge_agent.inspection"), signal.SIGKILL)
    order(store, good, 3)
    node.wait_for(event="line", state="idle", release=good.release, rollout=3)
    node.process.terminate()

    assert node.end() == 0, node.log
    activations = ActivationStore.open(tmp_path / "agent" / "activation.db")
    line = activations.load("strip")
    activations.close()
    assert (line.current, line.rollout, list(line.bad)) == (good, 3, [wrong.sha256])
    assert any("inspection died of SIGKILL; it is started again" in entry for entry in node.log)


def test_a_node_at_a_broker_delivers_and_outlives_its_own_processes(
    *,
    agent_toml: AgentToml,
    tmp_path: Path,
    start: Callable[..., Node],
    build_release: Build,
    order: Order,
    mosquitto: Any,
) -> None:
    path = agent_toml(loop=True)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("port = 1\n", f"port = {mosquitto.port}\n"), encoding="utf-8")
    watcher = Watcher(mosquitto.port)
    node = start(path)
    watcher.wait_for(lambda: len(watcher.candidates) > 20, "candidates come")
    watcher.wait_for(lambda: watcher.beats and watcher.beats[-1].acked > 10, "acknowledged candidates leave")
    boot = watcher.beats[-1].boot
    assert [(line.line, line.release) for line in watcher.reports[-1].lines] == [("strip", None)]
    assert (watcher.states[-1].boot, watcher.states[-1].online) == (boot, True)

    held = build_release(tmp_path / "store", 1)
    order(tmp_path / "store", held, 1)
    watcher.wait_for(lambda: watcher.reports[-1].lines[0].manifest_sha256 == held.sha256, "the release is reported")
    watcher.wait_for(lambda: watcher.beats[-1].inspecting, "the node inspects")

    os.kill(node.child("edge_agent.courier"), signal.SIGKILL)
    watcher.wait_for(lambda: not watcher.states[-1].online, "the last will is heard")
    watcher.wait_for(lambda: watcher.states[-1].online, "the courier comes back")
    watcher.wait_for(lambda: watcher.beats[-1].inspecting, "and says again that the node inspects")
    assert watcher.reports[-1].lines[0].manifest_sha256 == held.sha256

    os.kill(node.child("edge_agent.inspection"), signal.SIGKILL)
    watcher.wait_for(lambda: not watcher.beats[-1].inspecting, "the node says that it does not inspect")
    watcher.wait_for(
        lambda: any(
            found.release == held.release and CandidateId.parse(found.id).boot != boot
            for found in watcher.candidates.values()
        ),
        "the next inspection runs the release",
    )
    watcher.wait_for(lambda: watcher.beats[-1].inspecting, "the node inspects again")

    frames = [beat.cameras[0].frames for beat in watcher.beats if beat.cameras]
    assert frames == sorted(frames)
    assert {beat.boot for beat in watcher.beats} == {boot}
    node.process.terminate()
    watcher.wait_for(lambda: not watcher.states[-1].online, "it says goodbye")
    assert node.end() == 0, node.log
    watcher.bus.stop()


def test_a_node_started_through_a_pipe_ends_with_it_and_says_what_is_left(
    agent_toml: AgentToml, tmp_path: Path, start: Callable[..., Node]
) -> None:
    path = agent_toml(loop=True)
    path.write_text(path.read_text(encoding="utf-8").replace("heartbeat_s = 0.2", "heartbeat_s = 60"), encoding="utf-8")
    node = start(path)
    node.wait_for_log("not there yet")

    assert node.process.stdin is not None
    node.process.stdin.close()

    ended = node.wait_for(event="ended")
    assert node.end() == 0, node.log
    assert ended["spooled"] == spooled(tmp_path)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGHUP, 0)])
def test_a_ctrl_c_and_a_closed_terminal_end_a_node_in_order(
    agent_toml: AgentToml, start: Callable[..., Node], number: signal.Signals, status: int
) -> None:
    # Whoever runs the tests under nohup has them ignore a closed terminal, and so would the node.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        node = start(agent_toml(loop=True))
    finally:
        signal.signal(signal.SIGHUP, before)
    node.wait_for_log("not there yet")

    # A terminal and systemd send to every process they see.
    for sent in (signal.SIGINT, signal.SIGTERM):
        for module in ("inspection", "courier"):
            os.kill(node.child(f"edge_agent.{module}"), sent)
    node.process.send_signal(number)

    assert node.end() == status, node.log
    assert not any("died of" in line for line in node.log)
    assert node.wait_for(event="ended")


def test_a_stop_of_every_process_during_a_trial_is_not_blamed_on_the_release(
    agent_toml: AgentToml, tmp_path: Path, start: Callable[..., Node], build_release: Build, order: Order
) -> None:
    held = build_release(tmp_path / "store", 1, task=endless())
    order(tmp_path / "store", held, 1)
    node = start(agent_toml(loop=True))
    node.wait_for(event="trial", line="strip")

    for number in (signal.SIGINT, signal.SIGTERM):
        for module in ("releases.trial", "inspection", "courier"):
            os.kill(node.child(f"edge_agent.{module}"), number)
    node.process.terminate()

    assert node.end() == 0, node.log
    activations = ActivationStore.open(tmp_path / "agent" / "activation.db")
    line = activations.load("strip")
    activations.close()
    assert (line.state, line.wanted, line.tries, line.bad) == (State.FETCHING, held, 0, {})
    assert not any("died of" in entry for entry in node.log)


def test_children_end_with_a_killed_supervisor(agent_toml: AgentToml, start: Callable[..., Node]) -> None:
    path = agent_toml(loop=True)
    node = start(path)
    node.wait_for(event="line", state="idle")
    node.wait_for_log("not there yet")
    inspection, courier = (os.pidfd_open(node.child(f"edge_agent.{name}")) for name in ("inspection", "courier"))

    node.process.kill()
    node.end()

    for handle in (inspection, courier):
        # A pidfd is readable once its process is gone.
        assert select.select([handle], [], [], PATIENCE_S)[0]
        os.close(handle)
    again = start(path)
    again.wait_for(event="line", state="idle")
    again.process.terminate()
    assert again.end() == 0, again.log


def test_what_ends_once_the_node_was_told_to_stop_is_nobodys_fault(
    agent_toml: AgentToml, caplog: pytest.LogCaptureFixture
) -> None:
    path = agent_toml()
    agent, lines = load_agent(path)
    node = Supervisor(path, agent, tuple(lines), ending=Ending(), console=Console(as_json=True), clock=ManualClock())
    stop = threading.Event()

    stop.set()
    node._inbox.put(Ended("inspection", -signal.SIGTERM))
    node._take(PATIENCE_S, stop)

    assert node._inbox.empty()
    assert caplog.records == []
    node._store.close()


@pytest.mark.parametrize(
    ("status", "state", "blamed"), [(os.EX_CONFIG, State.PROBATION, 0), (-signal.SIGSEGV, State.FAILED, 1)]
)
def test_an_inspection_that_ends_over_the_nodes_own_files_is_not_blamed_on_a_release(
    agent_toml: AgentToml, tmp_path: Path, status: int, state: State, blamed: int
) -> None:
    path = agent_toml()
    agent, lines = load_agent(path)
    (tmp_path / "agent").mkdir()
    activations = ActivationStore.open(tmp_path / "agent" / "activation.db")
    activations.save(Activation("strip", State.PROBATION, wanted=Held("strip-0001", 1, "a" * 64), tries=1))
    activations.close()
    node = Supervisor(path, agent, tuple(lines), ending=Ending(), console=Console(as_json=True), clock=ManualClock())
    node._keeper.inspection_started()

    node._ended("inspection", status)

    assert (node._keeper.lines["strip"].state, len(node._keeper.lines["strip"].bad)) == (state, blamed)
    node._store.close()
