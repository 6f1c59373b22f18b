"""Nothing of a demo outlives it."""

import os
import select
import signal
import subprocess
import sys
import threading

from deploy.demo.watchdog import end, follow
from shared.clock import SystemClock

DEMO = """
import signal, subprocess, sys
from deploy.demo.watchdog import Watchdog
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
watchdog = Watchdog()
watchdog.watch(child.pid)
print(child.pid, flush=True)
signal.pause()
"""


def test_the_pipe_says_who_is_still_watched() -> None:
    assert follow(["+12\n", "+13\n", "-12\n", "nonsense\n", "+x\n"]) == {13}


def test_children_of_a_killed_demo_end() -> None:
    demo = subprocess.Popen([sys.executable, "-c", DEMO], stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    pid = int(demo.stdout.readline())
    handle = os.pidfd_open(pid)

    os.kill(demo.pid, signal.SIGKILL)

    demo.wait(10)
    demo.stdout.close()
    ended, _, _ = select.select([handle], [], [], 10)
    os.close(handle)
    assert ended, "the child is still there"


def test_a_process_is_asked_before_it_is_killed() -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(7)); print(flush=True); signal.pause()"
    )
    asked = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert asked.stdout is not None
    asked.stdout.readline()
    waiter = threading.Thread(target=asked.wait)
    waiter.start()

    end({asked.pid}, SystemClock())

    waiter.join()
    asked.stdout.close()
    assert asked.returncode == 7


def test_a_process_that_is_gone_is_no_trouble() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    end({gone.pid}, SystemClock())
