"""The activation database."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_agent.releases.activation import Activation, Held, State
from edge_agent.releases.store import ActivationStore
from shared.errors import StateError

LINE = Activation(
    line="strip",
    state=State.PROBATION,
    rollout=7,
    min_release=2,
    current=Held("strip-0002", 2, "a" * 64),
    previous=None,
    wanted=Held("strip-0003", 3, "b" * 64),
    tries=1,
    bad={"c" * 64: "scores apart"},
    reason="",
    swapped_at=12.5,
)


def test_a_line_comes_back_as_it_was_written(tmp_path: Path) -> None:
    store = ActivationStore.open(tmp_path / "activation.db")
    store.save(LINE)
    store.close()

    store = ActivationStore.open(tmp_path / "activation.db")

    assert store.load("strip") == LINE
    assert store.load("another") == Activation(line="another")
    assert store.set_aside is None
    store.close()


def test_the_database_is_the_nodes_alone(tmp_path: Path) -> None:
    store = ActivationStore.open(tmp_path / "activation.db")

    assert (tmp_path / "activation.db").stat().st_mode & 0o777 == 0o600
    store.close()


def test_a_second_agent_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    store = ActivationStore.open(tmp_path / "activation.db")
    store.save(LINE)

    with pytest.raises(StateError, match="in use by another agent"):
        ActivationStore.open(tmp_path / "activation.db")
    assert store.load("strip") == LINE
    store.close()


def test_an_unreadable_database_is_set_aside_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "activation.db"
    path.write_bytes(b"not a database, but long enough to look like one " * 100)

    store = ActivationStore.open(path)

    assert store.set_aside is not None
    assert store.set_aside.read_bytes().startswith(b"not a database")
    assert store.load("strip") == Activation(line="strip")
    store.close()


WRITER = """
import sys
from dataclasses import replace
from pathlib import Path
from edge_agent.releases.activation import Activation
from edge_agent.releases.store import ActivationStore

store = ActivationStore.open(Path(sys.argv[1]))
number = store.load("strip").rollout
while True:
    number += 1
    store.save(replace(Activation(line="strip"), rollout=number))
    print(number, flush=True)
"""


def test_the_rollout_number_never_goes_back_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "activation.db"
    written = 0

    for lines in (3, 17, 40):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            for _ in range(lines):
                written = int(child.stdout.readline())
            os.kill(child.pid, signal.SIGKILL)
            written = int((child.stdout.read().split() or [written])[-1])
        store = ActivationStore.open(path)
        assert store.load("strip").rollout >= written
        store.close()
