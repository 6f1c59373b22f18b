"""The demo's child processes: each a `winnow` command whose JSON lines become events.

A child's standard error goes to a log file of its own. A thread per child reads its standard output and only
enqueues.
"""

import json
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from deploy.demo.record import Told
from deploy.demo.watchdog import Watchdog

_STOP_S: Final = 10.0
_MAX_LINE: Final = 1 << 20


class Child:
    """One command, started again when asked; what it tells goes to `inbox` under its source's name."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        *,
        source: str,
        logs: Path,
        environment: dict[str, str],
        inbox: "queue.Queue[Told]",
        since_start: Callable[[], float],
        watchdog: Watchdog,
    ) -> None:
        self.name = name
        self.log = logs / f"{name}.log"
        self._command = [sys.executable, "-m", "deploy.cli", *arguments]
        self._source = source
        self._environment = environment
        self._inbox = inbox
        self._since_start = since_start
        self._watchdog = watchdog
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        """Start the command, or start it again."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment,
                # Ctrl-C reaches the demo alone, which then ends its children in order.
                start_new_session=True,
            )
        self._watchdog.watch(self._process.pid)
        self._reader = threading.Thread(
            target=self._read, args=(self._process,), name=f"demo-{self.name}-reader", daemon=True
        )
        self._reader.start()

    def tell(self, message: dict[str, Any]) -> None:
        """Write one JSON line to the child; a child that is gone does not hear it."""
        process = self._process
        if process is None or process.stdin is None:
            return
        with suppress(OSError):
            process.stdin.write(json.dumps(message).encode() + b"\n")
            process.stdin.flush()

    def status(self) -> int | None:
        """Return the exit status of a child that has ended, None while it runs."""
        return None if self._process is None else self._process.poll()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ask_to_stop(self) -> None:
        """Ask the child to end, without waiting."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        if process.stdin is not None:
            with suppress(OSError):
                process.stdin.close()
        process.send_signal(signal.SIGTERM)

    def stop(self) -> None:
        """End the child, and return when it has ended."""
        process = self._process
        if process is None:
            return
        self.ask_to_stop()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.reap()

    def reap(self) -> None:
        """Clear away a child that has ended, once everything it told is in the inbox."""
        process = self._process
        if process is None:
            return
        process.wait()
        self._watchdog.release(process.pid)
        if self._reader is not None:
            self._reader.join(_STOP_S)
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        self._process = None

    def last_words(self) -> str:
        """Return the last line that the child logged."""
        try:
            text = self.log.read_bytes()[-4000:].decode(errors="replace").strip()
        except OSError:
            return "it left no log"
        return text.splitlines()[-1] if text else "it said nothing"

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        stream = process.stdout
        assert stream is not None
        while line := stream.readline(_MAX_LINE):
            try:
                event = json.loads(line)
                name = event.pop("event")
            except (ValueError, KeyError, AttributeError, TypeError):
                # Not an event: keep it where a person would look for it.
                with self.log.open("ab") as log:
                    log.write(line)
                continue
            self._inbox.put(Told(self._since_start(), self._source, str(name), event))
