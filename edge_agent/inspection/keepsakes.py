"""What a camera's filter remembers, kept on disk: a node that is started again does not send the known once more.

One file for each camera, written whole by one thread of the inspection process; the frame loops only put the newest
down and go on. A file that cannot be read is set aside, never deleted, and the camera begins with nothing. Half
floats are enough: candidates travel in them.
"""

import threading
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from edge_agent.log import LOG
from edge_agent.stream.filter import Keepsake
from shared import codec
from shared.clock import Clock
from shared.errors import InputError, WireError
from shared.files import read_bounded, write_durably
from shared.messages import PackedArray

_SCHEMA: Final = 1
#: Above 1,024 half floats of 4,096 dimensions.
_MAX_BYTES: Final = 16 << 20
#: How often an idle writer looks whether it should end.
_LOOK_S: Final = 0.2


class _File(Struct, frozen=True, kw_only=True):
    """One camera's file; ``at`` is wall-clock time."""

    schema: int = _SCHEMA
    line: str
    at: float
    tokens: tuple[float, ...]
    space: str | None = None
    rows: PackedArray | None = None


class Keepsakes:
    """The files of one node's cameras."""

    def __init__(self, directory: Path, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: dict[str, tuple[str, float, Keepsake]] = {}
        self._failing = False

    def recall(self, camera: str, line: str) -> tuple[Keepsake, float] | None:
        """Read what a camera's filter remembered, and how many seconds ago; None when there is nothing to go by."""
        path = self._path(camera)
        try:
            if not path.exists():
                return None
            kept = _read(path)
        except OSError as error:
            LOG.error("camera %s: %s: %s; what was sent is not remembered", camera, path, error.strerror)
            return None
        except (InputError, WireError) as error:
            self._set_aside(camera, path, str(error))
            return None
        if kept.line != line:
            return None
        rows = None if kept.rows is None else codec.unpack(kept.rows, limit=_MAX_BYTES).astype(np.float32)
        return Keepsake(kept.tokens, kept.space, rows), max(0.0, self._clock.now() - kept.at)

    def put_down(self, camera: str, line: str, keepsake: Keepsake) -> None:
        """Have a keepsake written; one that still waits for its turn is out of date and forgotten."""
        with self._changed:
            self._waiting[camera] = (line, self._clock.now(), keepsake)
            self._changed.notify()

    def run(self, stop: threading.Event) -> None:
        """Write until told to stop, and then what still waits."""
        while True:
            with self._changed:
                if not self._waiting and not stop.is_set():
                    self._changed.wait(_LOOK_S)
                waiting, self._waiting = self._waiting, {}
            for camera, (line, at, keepsake) in waiting.items():
                self._write(camera, line, at, keepsake)
            if stop.is_set() and not waiting:
                return

    def _set_aside(self, camera: str, path: Path, fault: str) -> None:
        """Move what cannot be read out of the way."""
        aside = path.with_name(f"{path.name}.corrupt-{int(self._clock.now())}")
        try:
            path.replace(aside)
        except OSError as error:
            LOG.error(
                "camera %s: %s; what was sent is not remembered, and the file cannot be set aside: %s",
                camera,
                fault,
                error.strerror,
            )
        else:
            LOG.error("camera %s: %s; set aside as %s, what was sent is not remembered", camera, fault, aside)

    def _write(self, camera: str, line: str, at: float, keepsake: Keepsake) -> None:
        rows = None if keepsake.rows is None else codec.pack(keepsake.rows.astype(np.float16))
        kept = _File(line=line, at=at, tokens=keepsake.tokens, space=keepsake.space, rows=rows)
        try:
            write_durably(self._path(camera), msgspec.msgpack.encode(kept))
        except OSError as error:
            if not self._failing:
                LOG.warning("camera %s: %s; what was sent is not kept for the next start", camera, error.strerror)
            self._failing = True
        else:
            self._failing = False

    def _path(self, camera: str) -> Path:
        return self._directory / f"{camera}.bin"


def _read(path: Path) -> _File:
    try:
        kept = msgspec.msgpack.decode(read_bounded(path, limit=_MAX_BYTES), type=_File)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}") from None
    if kept.schema != _SCHEMA:
        raise InputError(f"{path}: schema {kept.schema}, this version reads {_SCHEMA}")
    if kept.rows is not None:
        rows = codec.unpack(kept.rows, limit=_MAX_BYTES)
        if rows.ndim != 2 or rows.dtype != np.float16 or not np.isfinite(rows).all():
            raise InputError(f"{path}: rows {rows.dtype} {rows.shape}; expected finite half floats (n, d)")
    if not np.isfinite(kept.tokens).all():
        raise InputError(f"{path}: tokens {kept.tokens}; expected finite numbers")
    return kept
