"""One child process of the supervisor: started, listened to, started again when it dies.

Talk goes over the child's standard input and output. The child ends at the end of its input, so a supervisor
that is killed leaves no child behind.
"""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Full, Queue
from types import FrameType
from typing import BinaryIO, Final, cast

from msgspec import Struct

from edge_agent.handoff import Stop, read_lines, write_line
from edge_agent.log import LOG
from shared.errors import WireError

#: Restarts wait from one second up to this, doubling; a child that stays up that long begins anew.
_MAX_BACKOFF_S: Final = 60.0
#: A child that leaves this many messages unread hangs.
_OUTBOX: Final = 256
#: What a terminal or systemd sends to every process it sees; the supervisor alone acts on it.
_SENT_TO_ALL: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


@dataclass(frozen=True, slots=True)
class Said:
    """A child said something."""

    child: str
    message: Struct


@dataclass(frozen=True, slots=True)
class Ended:
    """A child is gone; ``status`` as subprocess gives it, negative for a signal."""

    child: str
    status: int


class Child:
    """A process that lives until it is stopped, through as many starts as that takes."""

    def __init__(self, name: str, *, argv: Callable[[], Sequence[str]], says: object, inbox: "Queue[object]") -> None:
        self.name = name
        self.starts = 0
        self._argv = argv
        self._says = says
        self._inbox = inbox
        self._process: subprocess.Popen[bytes] | None = None
        self._outbox: Queue[Struct | None] = Queue(_OUTBOX)
        self._started_at = 0.0
        self._wait_s = 1.0
        self._due: float | None = 0.0

    @property
    def is_running(self) -> bool:
        """Whether a process is there, whatever it does."""
        return self._process is not None

    def tick(self, now: float) -> bool:
        """Start the child if it should run and its back-off is over, and say whether it was started."""
        if self._process is not None or self._due is None or now < self._due:
            return False
        self.starts += 1
        self._started_at = now
        # A group of its own: a Ctrl-C in the terminal reaches the supervisor alone, which stops the children in order.
        with deaf():
            process = subprocess.Popen(
                list(self._argv()), stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
            )
        self._process = process
        self._outbox = Queue(_OUTBOX)
        threading.Thread(target=self._listen, args=(process,), name=f"{self.name}-reader", daemon=True).start()
        talk = threading.Thread(
            target=self._talk, args=(process, self._outbox), name=f"{self.name}-writer", daemon=True
        )
        talk.start()
        return True

    def send(self, message: Struct) -> None:
        """Tell the child something, without waiting; one that is gone is told again when it comes back."""
        if self._process is None:
            return
        try:
            self._outbox.put_nowait(message)
        except Full:
            LOG.error("%s: leaves %d messages unread; it is killed and started again", self.name, _OUTBOX)
            self._process.kill()

    def ended(self, now: float) -> None:
        """Note that the process is gone and when the next start is due."""
        self._forget()
        if self._due is None:
            return
        if now - self._started_at >= _MAX_BACKOFF_S:
            self._wait_s = 1.0
        self._due = now + self._wait_s
        self._wait_s = min(2 * self._wait_s, _MAX_BACKOFF_S)

    def kill(self) -> None:
        """End the running process without asking; it comes back like one that died."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """Ask the child to end, for good."""
        self._due = None
        self.send(Stop())

    def end(self, *, within_s: float) -> int | None:
        """Wait for a stopped child and end it by force when it takes too long.

        Returns:
            Its exit status, None when it was not running.
        """
        process = self._process
        if process is None:
            return None
        self._due = None
        try:
            status = process.wait(within_s)
        except subprocess.TimeoutExpired:
            LOG.warning("%s: still there %.0f s after it was told to end; it is killed", self.name, within_s)
            process.kill()
            status = process.wait()
        self._forget()
        return status

    def _forget(self) -> None:
        self._process = None
        try:
            self._outbox.put_nowait(None)
        except Full:
            # The writer meets the closed pipe by itself.
            return

    def _talk(self, process: "subprocess.Popen[bytes]", outbox: "Queue[Struct | None]") -> None:
        assert process.stdin is not None
        try:
            with process.stdin:
                while (message := outbox.get()) is not None:
                    write_line(cast(BinaryIO, process.stdin), message)
        except OSError:
            # Its end comes through the inbox; whoever restarts it says again what it must know.
            return

    def _listen(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        with process.stdout:
            try:
                says: type[Struct] = self._says  # type: ignore[assignment]  # mypy knows no type of a union
                for message in read_lines(cast(BinaryIO, process.stdout), says):
                    self._inbox.put(Said(self.name, message))
            except WireError as error:
                LOG.error("%s: %s", self.name, error)
                process.kill()
        self._inbox.put(Ended(self.name, process.wait()))


@contextmanager
def deaf() -> Iterator[None]:
    """Have the processes that are started meanwhile hear no signal that is meant for the supervisor.

    They inherit what is blocked, so that there is no moment before they could say so themselves.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SENT_TO_ALL)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_the_supervisor_alone() -> None:
    """In a child: hear what is meant for the supervisor and do nothing.

    Whatever the child starts itself, as the driver of a camera may, inherits neither deafness nor an ignored signal and
    can be ended as usual.
    """
    for number in _SENT_TO_ALL:
        signal.signal(number, _pass_over)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SENT_TO_ALL)


def _pass_over(_number: int, _frame: FrameType | None) -> None:
    return


def describe(status: int) -> str:
    """Say how a process ended."""
    if status == os.EX_CONFIG:
        return "ended over the node's own configuration"
    if status < 0:
        try:
            return f"died of {signal.Signals(-status).name}"
        except ValueError:
            return f"died of signal {-status}"
    return f"ended with status {status}"
