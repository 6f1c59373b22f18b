"""The whole demo, with real processes: everything works together, also when the trainer is killed in a round."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shared.clock import Clock, SystemClock

PATIENCE_S = 420.0
#: A node that had to be killed takes its own children along by their pipes, a moment later.
MOMENT_S = 20.0


def _wait_for(words: str, events: Path, demo: subprocess.Popen[bytes], clock: Clock) -> None:
    deadline = clock.monotonic() + PATIENCE_S
    while clock.monotonic() < deadline and demo.poll() is None:
        if events.is_file() and words in events.read_text():
            return
        try:
            demo.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    raise AssertionError(f"the demo never told {words}")


def _family(root: int) -> dict[int, str]:
    """Find the processes that descend from one, with their command lines."""
    found: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_text().replace("\0", " ")
        except (OSError, IndexError):
            continue
        if parent == root:
            found |= {int(folder.name): command, **_family(int(folder.name))}
    return found


def _handles(family: dict[int, str]) -> dict[int, str]:
    """Hold processes by more than their number, which may be another's when they have ended."""
    held: dict[int, str] = {}
    for pid, command in family.items():
        with suppress(ProcessLookupError):
            held[os.pidfd_open(pid)] = command
    return held


def _left(handles: dict[int, str]) -> list[str]:
    """Name those that do not end in a moment."""
    # A handle is readable once its process is gone.
    left = [command for handle, command in handles.items() if not select.select([handle], [], [], MOMENT_S)[0]]
    for handle in handles:
        os.close(handle)
    return left


@pytest.fixture
def demo(tmp_path: Path) -> Iterator["subprocess.Popen[bytes]"]:
    # A suite that runs in the background of a shell hands down an ignored Ctrl-C.
    terminal = ["env", "--default-signal=INT"]
    demo_here = [sys.executable, "-m", "deploy.cli", "demo", "--quick", "--seed", "3", "--out", str(tmp_path / "out")]
    command = [*terminal, *demo_here]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen([*command, "--json", str(tmp_path / "summary.json")], stdout=said, stderr=said)
        yield process
    process.kill()
    process.wait()


@pytest.mark.slow
def test_a_demo_whose_trainer_is_killed_in_a_round_still_ends_with_its_report(
    demo: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    _wait_for('"stage": "train"', tmp_path / "out" / "events.jsonl", demo, SystemClock())
    (trainer,) = (pid for pid, command in _family(demo.pid).items() if "trainer serve" in command)

    os.kill(trainer, signal.SIGKILL)
    status = demo.wait(PATIENCE_S)

    said = (tmp_path / "said").read_text()
    assert status == 0, said
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert [entry["child"] for entry in summary["restarts"]] == ["trainer"]
    assert [round_["round"] for round_ in summary["rounds"]] == [0, 1]
    assert all(round_[key] is not None for round_ in summary["rounds"] for key in ("miou", "miou_random_pool"))
    last = summary["rollouts"][-1]
    assert (last["error"], last["done"]) == (None, ["press-01", "press-02", "press-03"])
    assert summary["patches_sent"] > summary["labels"] > 0
    assert (tmp_path / "out" / "report.html").stat().st_size > 100_000
    assert (tmp_path / "out" / "map" / "map.png").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nobody_behind(
    demo: "subprocess.Popen[bytes]", tmp_path: Path, ending: signal.Signals
) -> None:
    _wait_for('"event": "ready"', tmp_path / "out" / "events.jsonl", demo, SystemClock())
    family = _handles(_family(demo.pid))
    assert len(family) >= 12

    demo.send_signal(ending)
    status = demo.wait(60)

    assert status == 130
    assert (tmp_path / "said").read_text().count("Traceback") == 0
    assert _left(family) == []
