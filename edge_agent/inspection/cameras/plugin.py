"""Cameras that other packages bring: found by entry point, and kept from doing harm.

A package declares ``[project.entry-points."winnow.cameras"]`` with ``name = "package.module:make"``. ``make``
takes its settings from ``agent.toml`` and a ``Setting``, and returns a camera. What such a camera raises is its
source being away, not the end of the process; a frame of the wrong kind is a bad frame. What it says goes into the
log and the heartbeat as one short line without credentials: drivers quote the addresses that they were given.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from edge_agent.inspection.cameras.camera import Away, BadFrame, Camera, Frame, Seen
from shared.clock import Clock
from shared.errors import ConfigError
from shared.images import MAX_PIXELS
from shared.marks import faults_of_ids
from shared.sources import PluginSource, masked

GROUP: Final = "winnow.cameras"
#: How long a camera that raised is left alone.
_RETRY_S: Final = 10.0
#: Characters of what another package says that are shown, of a value that is none of ours, and that are looked at.
_MOST_SAID: Final = 300
_MOST_VALUE: Final = 60
_MOST_READ: Final = 4096
#: Above any count, and any time in seconds, that the pool takes.
_MOST: Final = 2**53


@dataclass(frozen=True, slots=True)
class Setting:
    """What a camera is told of the node around it."""

    #: The camera's name on its node.
    name: str
    #: Of the line: frames are ``(h, w, 1)`` or ``(h, w, 3)`` of uint8.
    channels: int
    frames_per_s: float | None
    clock: Clock
    #: The folder of ``agent.toml``, which paths are relative to.
    base: Path
    #: Whether to end with what is there.
    until_done: bool


Settings: TypeAlias = Mapping[str, str | int | float | bool]
Make: TypeAlias = Callable[[Settings, Setting], Camera]


class PluginCamera:
    """A camera of another package, made anew when it has raised."""

    def __init__(self, source: PluginSource, setting: Setting) -> None:
        self._what = named(setting.name, source)
        self._make = load_plugin(source.plugin, what=self._what)
        self._settings = dict(source.settings)
        self._setting = setting
        self._number = 0

    def frames(self, stop: threading.Event) -> Iterator[Seen]:
        while not stop.is_set():
            try:
                for seen in self._make(self._settings, self._setting).frames(stop):
                    yield self._checked(seen)
            except Exception as error:  # noqa: BLE001  # whatever another package raises must not end the node's other cameras
                yield Away(f"{self._what}: {_raised(error)}")
            else:
                return
            if self._setting.until_done:
                return
            self._setting.clock.wait(stop, _RETRY_S)

    def _checked(self, seen: object) -> Seen:
        match seen:
            case Frame(number=number):
                fault = _fault_of_count("number", number)
                if fault is None:
                    self._number = number
                    fault = self._fault(seen)
                return seen if fault is None else BadFrame(self._number, f"{self._what}: {_said(fault)}")
            case BadFrame(number=number, reason=reason):
                if _fault_of_count("number", number) is None:
                    self._number = number
                return BadFrame(self._number, f"{self._what}: {_said(reason)}")
            case Away(reason=reason):
                return Away(f"{self._what}: {_said(reason)}")
            case _:
                fault = f"gave a {type(seen).__name__}; expected a frame"
                return BadFrame(self._number, f"{self._what}: {_said(fault)}")

    def _fault(self, frame: Frame) -> str | None:
        fault = _fault_of_count("missed", frame.missed) or _fault_of_time(frame.captured_at)
        return fault or self._fault_of_image(frame) or _fault_of_ids(frame.ids)

    def _fault_of_image(self, frame: Frame) -> str | None:
        image = frame.image
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
            kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            return f"image is {kind}, expected uint8 (h, w, {self._setting.channels})"
        if image.shape[2] != self._setting.channels or not 0 < image.shape[0] * image.shape[1] <= MAX_PIXELS:
            return f"image is {image.shape}, expected (h, w, {self._setting.channels}) of at most {MAX_PIXELS} pixels"
        return None


def _fault_of_count(name: str, count: object) -> str | None:
    # What is only like an int, as NumPy's are, cannot be sent on.
    if type(count) is int and 0 <= count < _MOST:
        return None
    return f"{name} is {_value(count)}, expected an int of 0 or more and below 2**53"


def _fault_of_time(at: object) -> str | None:
    if (type(at) is float or type(at) is int) and abs(at) < _MOST:
        return None
    return f"captured_at is {_value(at)}, expected seconds as a float"


def _fault_of_ids(ids: object) -> str | None:
    if not isinstance(ids, Mapping) or not all(type(word) is str for pair in ids.items() for word in pair):
        return f"ids is a {type(ids).__name__}, expected a mapping of str to str"
    return next(iter(faults_of_ids(ids)), None)


def _value(value: object) -> str:
    return f"{_said(value, most=_MOST_VALUE)} ({type(value).__name__})"


def _raised(error: Exception) -> str:
    """Say what another package raised; an error may say nothing."""
    said = _said(error)
    return _said(f"{type(error).__name__}: {said}" if said else type(error).__name__)


def _said(text: object, *, most: int = _MOST_SAID) -> str:
    """Return what another package says as it may be shown: one line, short, printable, without credentials."""
    try:
        said = str(text)
    except Exception:  # noqa: BLE001  # another package's words may raise anything
        return ""
    line = masked(" ".join(said.split())[:_MOST_READ])
    line = "".join(sign if sign.isprintable() else "?" for sign in line)
    return line if len(line) <= most else f"{line[: most - 1]}…"


def named(camera: str, source: PluginSource) -> str:
    """Name a camera and its plugin, as errors call them."""
    return f'camera {camera}: plugin "{source.plugin}"'


def find_plugin(name: str, *, what: str) -> EntryPoint:
    """Find what a package offers under this name, without loading it."""
    found = entry_points(group=GROUP)
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        raise ConfigError(f"{what} is not installed; installed are {known}: add its package to the node")
    return found[name]


def load_plugin(name: str, *, what: str) -> Make:
    """Load what a package offers under this name."""
    found = find_plugin(name, what=what)
    try:
        make = found.load()
    except Exception as error:  # noqa: BLE001  # importing another package may raise anything
        raise ConfigError(f"{what} does not load: {_raised(error)}; mend or update its package") from None
    if not callable(make):
        raise ConfigError(f"{what} is a {type(make).__name__}; expected a function that makes a camera")
    loaded: Make = make
    return loaded
