"""The watchdog: ends the demo's children when the demo is gone, however it went.

Its standard input is a pipe that the demo holds. `+PID` puts a process under watch, `-PID` takes it out; the
end of input means that the demo is gone.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable
from typing import Final

from shared.clock import Clock, SystemClock

_GRACE_S: Final = 8.0


class Watchdog:
    """The demo's end of the pipe."""

    def __init__(self) -> None:
        self._child = subprocess.Popen(
            [sys.executable, "-m", "deploy.demo.watchdog"], stdin=subprocess.PIPE, start_new_session=True
        )

    def watch(self, pid: int) -> None:
        """Put a process under watch."""
        self._say(f"+{pid}")

    def release(self, pid: int) -> None:
        """Take an ended process out, before its number can belong to another."""
        self._say(f"-{pid}")

    def close(self) -> None:
        """End the watch; whatever is still under it is ended too."""
        if self._child.stdin is not None:
            self._child.stdin.close()
        self._child.wait()

    def _say(self, text: str) -> None:
        try:
            if self._child.stdin is not None:
                self._child.stdin.write(f"{text}\n".encode())
                self._child.stdin.flush()
        except BrokenPipeError:
            pass


def follow(lines: Iterable[str]) -> set[int]:
    """Read the pipe to its end and return who is still under watch."""
    watched: set[int] = set()
    for line in lines:
        sign, number = line[:1], line[1:].strip()
        if not number.isdigit():
            continue
        if sign == "+":
            watched.add(int(number))
        elif sign == "-":
            watched.discard(int(number))
    return watched


def end(pids: set[int], clock: Clock) -> None:
    """Ask processes to end, and end those that do not."""
    never = threading.Event()
    for pid in pids:
        _send(pid, signal.SIGTERM)
    deadline = clock.monotonic() + _GRACE_S
    while clock.monotonic() < deadline and any(_send(pid, 0) for pid in pids):
        clock.wait(never, 0.1)
    for pid in pids:
        _send(pid, signal.SIGKILL)


def _send(pid: int, number: int) -> bool:
    try:
        os.kill(pid, number)
    except OSError:
        return False
    return True


if __name__ == "__main__":
    end(follow(sys.stdin), SystemClock())
