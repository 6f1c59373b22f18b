"""The demo's children: commands whose JSON lines become events."""

import os
import queue
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.demo.children import Child
from deploy.demo.profile import child_environment
from deploy.demo.record import Told
from deploy.demo.watchdog import Watchdog


@pytest.fixture
def watchdog() -> Iterator[Watchdog]:
    watchdog = Watchdog()
    yield watchdog
    watchdog.close()


def _child(arguments: list[str], logs: Path, watchdog: Watchdog, inbox: "queue.Queue[Told]") -> Child:
    return Child(
        "child",
        arguments,
        source="trainer",
        logs=logs,
        environment=child_environment(dict(os.environ)),
        inbox=inbox,
        since_start=lambda: 7.0,
        watchdog=watchdog,
    )


def test_json_lines_become_events(site_file: Path, tmp_path: Path, watchdog: Watchdog) -> None:
    inbox: queue.Queue[Told] = queue.Queue()
    child = _child(["release", "show", str(site_file), "steel-0001", "--json"], tmp_path, watchdog, inbox)

    child.start()

    told = inbox.get(timeout=20)
    child.reap()
    assert (told.at, told.source, told.name, told.fields["release"]) == (7.0, "trainer", "release", "steel-0001")


def test_what_is_no_event_goes_to_the_log(site_file: Path, tmp_path: Path, watchdog: Watchdog) -> None:
    inbox: queue.Queue[Told] = queue.Queue()
    child = _child(["release", "list", str(site_file)], tmp_path, watchdog, inbox)

    child.start()
    assert child._process is not None
    assert child._process.wait(20) == 0
    child.reap()

    assert inbox.empty()
    assert "steel-0002" in child.log.read_text()


def test_how_a_child_failed_is_known(tmp_path: Path, watchdog: Watchdog) -> None:
    child = _child(["release", "list", "nowhere.toml"], tmp_path, watchdog, queue.Queue())

    child.start()
    assert child._process is not None
    child._process.wait(20)

    assert (child.running, child.status()) == (False, 1)
    assert "nowhere.toml" in child.last_words()
    child.stop()
    assert child.status() is None
    child.tell({"nobody": "hears this"})
