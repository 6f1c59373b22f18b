"""What a supervisor makes of children that are silent, stumble or never speak, turn by turn."""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_agent.child import Said
from edge_agent.handoff import Counters, PacketLimit, Troubled
from edge_agent.supervisor import Ending, Supervisor
from shared.clock import ManualClock
from shared.config import load_agent
from shared.console import Console
from shared.errors import StateError
from shared.messages import CameraState
from tests.edge_agent.running import PATIENCE_S

AgentToml = Callable[..., Path]


class Still(Supervisor):
    """A node whose inspection says once how far it is, and then nothing any more."""

    def _inspection_argv(self) -> list[str]:
        says = "import sys; from edge_agent.handoff import Counters, write_line\n"
        says += "write_line(sys.stdout.buffer, Counters((), 0, inspecting=True, provider='cpu'))\n"
        return [sys.executable, "-c", f"{says}import signal; signal.pause()"]


def test_an_inspection_that_gives_no_sign_is_started_again(
    agent_toml: AgentToml, caplog: pytest.LogCaptureFixture
) -> None:
    path, clock, stop = agent_toml(), ManualClock(), threading.Event()
    agent, lines = load_agent(path)
    node = Still(path, agent, tuple(lines), ending=Ending(), console=Console(as_json=True), clock=clock)
    node._courier.tick = lambda _: False  # no courier is needed here
    node._start_children()
    node._take(PATIENCE_S, stop)

    # The whole machine was asleep: a long time in one turn is none that inspection was silent in.
    clock.advance(100_000.0)
    node._start_children()
    assert node._inbox.empty()
    assert not caplog.records
    for _ in range(180):
        clock.advance(1.0)
        node._start_children()
    node._take(PATIENCE_S, stop)

    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "inspection: no sign of it for 180 s; it is killed and started again",
        "inspection died of SIGKILL; it is started again",
    ]
    assert not node._inspection.is_running
    node._inspection.stop()
    node._store.close()


class Stumbling(Supervisor):
    """A node whose inspection ends as soon as it starts."""

    def _inspection_argv(self) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit(3)"]


def test_why_a_courier_ended_is_told_by_the_next_one(agent_toml: AgentToml, tmp_path: Path) -> None:
    path = agent_toml()
    agent, lines = load_agent(path)
    node = Supervisor(path, agent, tuple(lines), ending=Ending(), console=Console(as_json=True), clock=ManualClock())
    assert not any(word.startswith("--trouble") for word in node._courier_argv())

    node._inbox.put(Said("courier", Troubled("spool: disk I/O error" + "!" * 1000)))
    node._take(PATIENCE_S, threading.Event())
    (tmp_path / "agent/activation.db.corrupt-1").touch()

    told = [word.removeprefix("--trouble=") for word in node._courier_argv() if word.startswith("--trouble")]
    assert [word[:60] for word in told] == [
        "activation.db.corrupt-1: was not readable and is set aside i",
        "the courier was started again: spool: disk I/O error!!!!!!!!",
    ]
    assert max(map(len, told)) == 300
    node._store.close()


def test_the_next_inspection_is_told_what_the_last_one_saw_and_what_the_broker_takes(agent_toml: AgentToml) -> None:
    """A simulated strip goes on, and crops are sized as before."""
    path = agent_toml()
    agent, lines = load_agent(path)
    node = Supervisor(path, agent, tuple(lines), ending=Ending(), console=Console(as_json=True), clock=ManualClock())
    sent: list[object] = []
    node._inspection.send = sent.append  # no child is started here
    node._inspection.tick = lambda _: True
    node._courier.tick = lambda _: False
    assert not any(word.startswith("--after") for word in node._inspection_argv())

    node._inbox.put(Said("courier", PacketLimit(9000)))
    node._take(PATIENCE_S, threading.Event())
    counters = Counters((CameraState(camera="top", line="strip", frame_number=41),), 0, inspecting=True, provider="cpu")
    node._inbox.put(Said("inspection", counters))
    node._take(PATIENCE_S, threading.Event())
    node._keep_counters()
    node._start_children()

    assert [word for word in node._inspection_argv() if word.startswith("--after")] == ["--after=top=41"]
    assert sent.count(PacketLimit(9000)) == 2
    node._store.close()


def live_until_it_gives_up(kind: type[Supervisor], agent_toml: Path, *, words: str) -> Supervisor:
    """Let a finite node live a second a turn until it ends with an error, and return it."""
    agent, lines = load_agent(agent_toml)
    clock, ending = ManualClock(), Ending(until_done=True)
    node = kind(agent_toml, agent, tuple(lines), ending=ending, console=Console(as_json=True), clock=clock)

    def live() -> None:
        for _ in range(1000):
            clock.advance(1.0)
            node._start_children()
            # While every child waits for its next start there is nobody to hear.
            if node._courier._process is not None or node._inspection._process is not None:
                node._take(PATIENCE_S, threading.Event())

    try:
        with pytest.raises(StateError, match=words):
            live()
    finally:
        node._end()
    return node


def test_an_inspection_that_cannot_stay_up_ends_a_finite_run_with_an_error(agent_toml: AgentToml) -> None:
    live_until_it_gives_up(Stumbling, agent_toml(), words="inspection ended 4 times before it was done")


class Mute(Supervisor):
    """A node whose courier ends before it can say anything, and whose inspection never starts: nobody would hear it."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._inspection.tick = lambda _: False  # a child that is never due

    def _courier_argv(self) -> list[str]:
        return [sys.executable, "-c", "raise SystemExit(3)"]


def test_a_courier_that_never_says_a_word_ends_a_finite_run_and_no_spool_is_called_empty(
    agent_toml: AgentToml, capsys: pytest.CaptureFixture[str]
) -> None:
    live_until_it_gives_up(Mute, agent_toml(), words="the courier ended 4 times before it said what is in the spool")

    ended = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (ended["event"], ended["spooled"]) == ("ended", None)


class Silenced(Mute):
    """One whose first courier says how much is in the spool before it ends, and no later one does."""

    def _courier_argv(self) -> list[str]:
        if self._courier.starts > 1:
            return super()._courier_argv()
        says = (
            "import sys; from edge_agent.handoff import Drained, write_line; write_line(sys.stdout.buffer, Drained(7))"
        )
        return [sys.executable, "-c", says]


def test_the_end_of_a_courier_that_had_spoken_is_none_without_a_word(agent_toml: AgentToml) -> None:
    node = live_until_it_gives_up(
        Silenced, agent_toml(), words="the courier ended 4 times before it said what is in the spool"
    )

    assert node._courier.starts == 5
