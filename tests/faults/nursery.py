"""The nursery: a process that has everything loaded and forks lives, because a kill loop starts hundreds of them.

A life is a command of ours from its ``main`` on, with its own arguments and streams, and ends by its own pid.
``python -m tests.faults.nursery FD MODULE...`` is the process, ``Nursery`` what a test sees of it.
"""

import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Self

ROOT = Path(__file__).resolve().parents[2]
#: How long one word to the nursery may take; the first waits for everything to be loaded.
_WITHIN_S = 300.0
_MESSAGE_BYTES = 1 << 16


class Life:
    """A process that the nursery forked; its streams are the test's."""

    def __init__(self, nursery: "Nursery", pid: int, stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self.pid = pid
        self.stdin = stdin
        self.stdout = stdout
        self._nursery = nursery
        self.status: int | None = None

    def kill(self) -> int:
        """Kill it, and wait until it is gone."""
        if self.status is None:
            # It may have ended by itself: its pid stays its own until the nursery has asked for its status.
            os.kill(self.pid, signal.SIGKILL)
        return self.wait()

    def pause(self) -> None:
        """Stop it where it stands."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a stopped life go on."""
        os.kill(self.pid, signal.SIGCONT)

    def wait(self) -> int:
        """Wait for its end and return its exit status, negative for a signal."""
        if self.status is None:
            self.status = int(self._nursery.ask({"wait": self.pid})["status"])
            for stream in (self.stdin, self.stdout):
                with suppress(OSError):
                    stream.close()
        return self.status

    @property
    def resident_bytes(self) -> int:
        """How much memory it holds."""
        for line in Path(f"/proc/{self.pid}/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmRSS:"):
                return 1024 * int(line.split()[1])
        raise AssertionError(f"no memory is told of {self.pid}")


class Nursery:
    """Where a test has its lives from."""

    def __init__(self, channel: socket.socket, logs: Path) -> None:
        self._channel = channel
        self.logs = logs
        self._lives: list[Life] = []

    @classmethod
    @contextmanager
    def opened(cls, logs: Path, *modules: str) -> Iterator[Self]:
        """Load the modules once; every life is over at the end."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-m", "tests.faults.nursery", str(theirs.fileno()), *modules]
        process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
        theirs.close()
        ours.settimeout(_WITHIN_S)
        nursery = cls(ours, logs)
        try:
            yield nursery
            for life in nursery._lives:
                life.kill()
        finally:
            # It kills what still lives when its channel ends.
            ours.close()
            process.wait(_WITHIN_S)

    def bear(self, life: str, *arguments: str, log: str, is_heard: bool = True, **environment: str) -> Life:
        """Start ``module:function``; it finds its arguments in ``sys.argv``.

        Its errors go to a log, and so does what it says where nobody will read it from ``stdout``.
        """
        ins, stdin = os.pipe()
        stdout, outs = os.pipe()
        errors = os.open(self.logs / log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if not is_heard:
            os.dup2(errors, outs)
        word = json.dumps({"life": life, "arguments": arguments, "environment": environment}).encode()
        try:
            socket.send_fds(self._channel, [word], [ins, outs, errors])
        finally:
            for handle in (ins, outs, errors):
                os.close(handle)
        pid = int(self._hear()["pid"])
        born = Life(self, pid, os.fdopen(stdin, "wb"), os.fdopen(stdout, "rb"))
        self._lives.append(born)
        return born

    def ask(self, word: dict[str, Any]) -> dict[str, Any]:
        """Say one word and hear the answer."""
        self._channel.send(json.dumps(word).encode())
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        heard: dict[str, Any] = json.loads(self._channel.recv(_MESSAGE_BYTES))
        return heard


def serve(channel: socket.socket, modules: Sequence[str]) -> None:
    """Load, then fork on demand until the test is gone."""
    for module in modules:
        importlib.import_module(module)
    # A thread does not live through a fork, and what it held stays held.
    assert threading.active_count() == 1, "something that was loaded keeps a thread"
    alive: set[int] = set()
    try:
        while True:
            data, handles, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, 3)
            if not data:
                return
            word = json.loads(data)
            if "wait" in word:
                _, status = os.waitpid(word["wait"], 0)
                alive.discard(word["wait"])
                answer = {"status": os.waitstatus_to_exitcode(status)}
            else:
                pid = os.fork()
                if pid == 0:
                    channel.close()
                    _live(word, handles)
                alive.add(pid)
                for handle in handles:
                    os.close(handle)
                answer = {"pid": pid}
            channel.send(json.dumps(answer).encode())
    finally:
        for pid in alive:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _live(word: dict[str, Any], handles: Sequence[int]) -> None:
    """Be one life from its beginning to its end; never returns."""
    status = 1
    try:
        for number, handle in enumerate(handles):
            os.dup2(handle, number)
            os.close(handle)
        os.environ.update(word["environment"])
        module, function = word["life"].split(":")
        sys.argv = [module, *word["arguments"]]
        answer = getattr(importlib.import_module(module), function)()
        status = answer if isinstance(answer, int) else 0
    except SystemExit as ending:
        status = ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except BaseException:  # noqa: BLE001  # a life ends here, never in the nursery's own loop
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError):
                stream.flush()
        os._exit(status)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
