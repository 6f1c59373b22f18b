"""A child process: its messages, its death and its next start."""

import os
import queue
import signal
import sys
from typing import Any

import pytest

from edge_agent.child import Child, Ended, Said, describe
from edge_agent.handoff import Drained, Fetch, FromCourier

#: Answers every line with a Drained that counts the lines; ends with its input.
ECHO = """
import sys
for count, line in enumerate(sys.stdin, start=1):
    if "Stop" in line:
        sys.exit(0)
    print('{"type":"Drained","spooled":%d}' % count, flush=True)
sys.exit(3)
"""


def child(code: str = ECHO) -> tuple[Child, "queue.Queue[Any]"]:
    inbox: queue.Queue[Any] = queue.Queue()
    return Child("echo", argv=lambda: [sys.executable, "-c", code], says=FromCourier, inbox=inbox), inbox


def test_it_hears_and_says() -> None:
    echo, inbox = child()
    assert echo.tick(0.0)

    echo.send(Fetch("strip", "strip-0001", "a" * 64))
    echo.send(Fetch("strip", "strip-0002", "b" * 64))

    assert inbox.get(timeout=20) == Said("echo", Drained(1))
    assert inbox.get(timeout=20) == Said("echo", Drained(2))
    echo.stop()
    assert echo.end(within_s=20) == 0


def test_one_that_dies_comes_back_later_each_time() -> None:
    echo, inbox = child()
    waits = []
    now = 0.0
    for _ in range(4):
        assert echo.tick(now)
        assert echo._process is not None
        os.kill(echo._process.pid, signal.SIGKILL)
        assert inbox.get(timeout=20) == Ended("echo", -signal.SIGKILL)
        echo.ended(now)
        due = next(wait for wait in range(1000) if not echo._due or now + wait >= echo._due)
        assert not echo.tick(now + due - 0.5)
        waits.append(due)
        now += due

    assert waits == [1, 2, 4, 8]


def test_one_that_stayed_up_long_comes_back_at_once() -> None:
    echo, inbox = child()
    now = 0.0
    for lifetime in (1.0, 1.0, 1000.0):
        assert echo.tick(now)
        assert echo._process is not None
        os.kill(echo._process.pid, signal.SIGKILL)
        inbox.get(timeout=20)
        now += lifetime
        echo.ended(now)
        now += 1.0 if lifetime > 60.0 else 4.0

    assert echo.tick(now)
    echo.stop()
    echo.end(within_s=20)


def test_one_that_was_stopped_stays_away() -> None:
    echo, _ = child()
    echo.tick(0.0)
    echo.stop()
    echo.end(within_s=20)

    assert not echo.tick(1e9)


def test_one_that_talks_nonsense_is_ended() -> None:
    echo, inbox = child("print('nonsense', flush=True); import signal; signal.pause()")
    echo.tick(0.0)

    assert inbox.get(timeout=20) == Ended("echo", -signal.SIGKILL)


def test_one_that_does_not_end_is_killed() -> None:
    echo, _ = child("import signal; signal.pause()")
    echo.tick(0.0)

    echo.stop()

    assert echo.end(within_s=0.2) == -signal.SIGKILL


def test_one_that_does_not_listen_holds_nobody_up() -> None:
    echo, inbox = child("import signal; signal.pause()")
    echo.tick(0.0)

    for _ in range(2000):
        echo.send(Fetch("strip", "x" * 1000, "a" * 64))

    assert inbox.get(timeout=20) == Ended("echo", -signal.SIGKILL)


def test_one_that_is_sent_what_is_meant_for_the_node_goes_on_from_its_first_moment() -> None:
    echo, inbox = child()
    echo.tick(0.0)
    assert echo._process is not None

    # Python has not even begun in it.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(echo._process.pid, number)
    echo.send(Fetch("strip", "strip-0001", "a" * 64))

    assert inbox.get(timeout=20) == Said("echo", Drained(1))
    echo.stop()
    assert echo.end(within_s=20) == 0
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, ()) & {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def test_what_a_child_starts_itself_can_be_ended_as_usual() -> None:
    """A camera's driver may be a process of its own."""
    code = """
import subprocess, sys
from edge_agent.child import heed_the_supervisor_alone
heed_the_supervisor_alone()
driver = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
driver.terminate()
print('{"type":"Drained","spooled":%d}' % -driver.wait(), flush=True)
"""
    one, inbox = child(code)
    one.tick(0.0)

    assert inbox.get(timeout=20) == Said("echo", Drained(signal.SIGTERM))
    one.end(within_s=20)


def test_talking_to_one_that_is_gone_is_no_error() -> None:
    echo, inbox = child("pass")
    echo.send(Drained(1))
    echo.tick(0.0)
    assert inbox.get(timeout=20) == Ended("echo", 0)
    for _ in range(10):
        echo.send(Drained(1))
    echo.ended(0.0)

    assert echo._process is None


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "ended with status 0"),
        (3, "ended with status 3"),
        (os.EX_CONFIG, "ended over the node's own configuration"),
        (-11, "died of SIGSEGV"),
        (-99, "died of signal 99"),
    ],
)
def test_a_death_is_named(status: int, text: str) -> None:
    assert describe(status) == text
