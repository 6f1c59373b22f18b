"""The round workers of a service: children that are kept alive."""

import queue
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from shared.clock import ManualClock
from shared.console import Console
from trainer.service import Voice
from trainer.workers import Worker, worker_command

WITHIN_S = 30.0
#: Says that it is there, then that its input ended.
PATIENT = 'import sys; print(\'{"event": "up"}\', flush=True); sys.stdin.read(); print(\'{"event": "eof"}\')'
STUBBORN = (
    "import signal, threading; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    'print(\'{"event": "up"}\', flush=True); threading.Event().wait()'
)


class Stage:
    """A worker under a manual clock, and what it said."""

    def __init__(self, program: str) -> None:
        self.clock = ManualClock()
        self.said: queue.Queue[dict[str, Any]] = queue.Queue()
        self.worker = Worker("strip", [sys.executable, "-c", program], clock=self.clock, hear=self.said.put)

    def event(self) -> dict[str, Any]:
        return self.said.get(timeout=WITHIN_S)

    def end_of_life(self) -> str:
        """Let the worker start and end, and return what is said of it."""
        assert self.worker.tend() is None
        process = self.worker._process
        assert process is not None
        process.wait(WITHIN_S)
        said = self.worker.tend()
        assert said is not None
        return said


def test_a_workers_events_are_passed_on_and_other_output_is_a_log() -> None:
    stage = Stage("print('{\"event\": \"stage\", \"round\": 3}'); print('hello'); print('[1]')")

    assert "done" in stage.end_of_life()

    assert stage.event() == {"event": "stage", "round": 3}
    assert stage.event() == {"event": "log", "text": "hello"}
    assert stage.said.empty()


def test_a_worker_that_dies_starts_again_and_waits_longer_each_time() -> None:
    stage = Stage("import sys; sys.exit(3)")

    said = []
    for wait_s in (1, 2, 4):
        said.append(stage.end_of_life())
        stage.clock.advance(wait_s - 0.1)
        assert stage.worker.tend() is None
        assert stage.worker._process is None
        stage.clock.advance(0.2)

    assert [text.rpartition("; ")[2] for text in said] == [f"it starts again in {s} s" for s in (1, 2, 4)]
    assert "ended with status 3" in said[0]


def test_a_worker_that_was_well_for_long_starts_again_at_once() -> None:
    stage = Stage("import sys; sys.stdin.readline(); sys.exit(1)")
    for _ in range(2):
        stage.worker.tend()
        process = stage.worker._process
        assert process is not None
        assert process.stdin is not None
        stage.clock.advance(500)
        process.stdin.write(b"go\n")
        process.stdin.flush()
        process.wait(WITHIN_S)

        said = stage.worker.tend()

        assert said is not None
        assert said.endswith("starts again in 1 s")
        stage.clock.advance(2)


def test_a_worker_that_has_finished_is_not_started_again() -> None:
    stage = Stage("")

    assert "done" in stage.end_of_life()

    stage.clock.advance(1000)
    assert stage.worker.tend() is None
    assert stage.worker._process is None


def test_a_worker_ends_when_its_input_does() -> None:
    stage = Stage(PATIENT)
    stage.worker.tend()
    assert stage.event() == {"event": "up"}

    stage.worker.stop()

    assert stage.event() == {"event": "eof"}
    assert stage.worker.tend() is None


def test_a_worker_that_does_not_go_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.workers._STOP_WITHIN_S", 0.1)
    stage = Stage(STUBBORN)
    stage.worker.tend()
    assert stage.event() == {"event": "up"}
    process = stage.worker._process
    assert process is not None

    stage.worker.stop()

    assert process.returncode == -9


def test_workers_are_started_as_modules_of_this_python() -> None:
    from pathlib import Path

    command = worker_command(Path("/etc/site.toml"), "strip")

    assert command == [sys.executable, "-m", "trainer.rounds", "/etc/site.toml", "--line", "strip", "--json"]


def test_a_worker_that_a_signal_ended_does_not_say_that_its_rounds_are_done(steel_site: Any) -> None:
    command = worker_command(steel_site.site_toml, "steel")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        # It waits for its first candidates.
        assert any(b'"collecting"' in line for line in process.stdout)

        process.send_signal(signal.SIGTERM)

        assert process.wait(WITHIN_S) == 128 + signal.SIGTERM


def test_people_hear_of_a_workers_progress_at_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    voice = Voice(Console(), threading.Event())

    def pass_on(work: str, number: int, *steps: tuple[int, int]) -> None:
        for done, total in steps:
            fields = {"line": "steel", "round": number, "work": work, "done": done, "total": total}
            voice.pass_on({"event": "progress", **fields})

    pass_on("train", 1, *((done, 300) for done in range(0, 121, 3)))
    pass_on("embed", 1, (5, 5), (5, 5))
    pass_on("train", 2, (10, 300), (30, 300))

    assert capsys.readouterr().out.splitlines() == [
        *(f"steel, round 1: train {done} of 300" for done in (30, 60, 90, 120)),
        "steel, round 2: train 30 of 300",
    ]
