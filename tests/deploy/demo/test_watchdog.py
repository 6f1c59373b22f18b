"""Nothing of a demo outlives it."""

import os
import select
import signal
import subprocess
import sys

from deploy.demo.watchdog import end, follow
from shared.clock import SystemClock

DEMO = """
import subprocess, sys, time
from deploy.demo.watchdog import Watchdog
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
watchdog = Watchdog()
watchdog.watch(child.pid)
print(child.pid, flush=True)
time.sleep(600)
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


def test_a_process_that_is_gone_is_no_trouble() -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()

    end({gone.pid}, SystemClock())
