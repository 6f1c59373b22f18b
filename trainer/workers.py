"""The round workers of a service: one child process per line, started again with back-off when it dies.

A worker's standard output carries JSON events, its standard input is held open: end of input tells it that
the service is gone.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from shared.clock import Clock

_FIRST_BACKOFF_S: Final = 1.0
_MAX_BACKOFF_S: Final = 60.0
#: A worker that ran this long was well: the next back-off begins small again.
_WELL_S: Final = 120.0
_STOP_WITHIN_S: Final = 5.0

#: Told each event of a worker: its name and fields.
Hear = Callable[[dict[str, object]], None]


def worker_command(site_toml: Path, line: str) -> list[str]:
    """Write the command line of a line's round worker."""
    return [sys.executable, "-m", "trainer.rounds", str(site_toml), "--line", line, "--json"]


class Worker:
    """One line's worker process, and its next life after it dies."""

    def __init__(self, line: str, command: Sequence[str], *, clock: Clock, hear: Hear) -> None:
        self.line = line
        self._command = list(command)
        self._clock = clock
        self._hear = hear
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._started = 0.0
        self._next_start = 0.0
        self._backoff_s = _FIRST_BACKOFF_S
        self.finished = False

    def tend(self) -> str | None:
        """Start the worker if it should run and does not; return what there is to say of its end."""
        if self.finished:
            return None
        if self._process is None:
            if self._clock.monotonic() >= self._next_start:
                self._start()
            return None
        status = self._process.poll()
        return None if status is None else self._ended(status)

    def ask_to_stop(self) -> None:
        """Close the worker's input: it ends at its next safe place."""
        self.finished = True
        if self._process is not None:
            _close_input(self._process)

    def stop(self) -> None:
        """Wait for the worker to end; one that does not go is terminated, then killed."""
        self.ask_to_stop()
        process, self._process = self._process, None
        if process is None:
            return
        for push in (None, process.terminate, process.kill):
            if push is not None:
                push()
            try:
                process.wait(_STOP_WITHIN_S)
                break
            except subprocess.TimeoutExpired:
                continue
        self._join()

    def _start(self) -> None:
        self._started = self._clock.monotonic()
        self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._reader = threading.Thread(
            target=self._read, args=(self._process,), name=f"events-{self.line}", daemon=True
        )
        self._reader.start()

    def _ended(self, status: int) -> str:
        process, self._process = self._process, None
        assert process is not None
        _close_input(process)
        self._join()
        if status == 0:
            self.finished = True
            return f'worker of line "{self.line}": done'
        now = self._clock.monotonic()
        if now - self._started >= _WELL_S:
            self._backoff_s = _FIRST_BACKOFF_S
        self._next_start = now + self._backoff_s
        said = f'worker of line "{self.line}": ended with status {status}; it starts again in {self._backoff_s:g} s'
        self._backoff_s = min(2 * self._backoff_s, _MAX_BACKOFF_S)
        return said

    def _join(self) -> None:
        if self._reader is not None:
            # What a worker started may hold its output open: that is not waited for.
            self._reader.join(_STOP_WITHIN_S)
            self._reader = None

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as stream:
            for line in stream:
                try:
                    event = json.loads(line)
                except ValueError:
                    event = {"event": "log", "text": line.decode("utf-8", "replace").rstrip()}
                if isinstance(event, dict):
                    self._hear(event)


def _close_input(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.close()
    except BrokenPipeError:
        return  # it went first
