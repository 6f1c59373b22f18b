"""Cameras that other packages bring: found by entry point, and kept from doing harm.

A package declares ``[project.entry-points."winnow.cameras"]`` with ``name = "package.module:make"``. ``make``
takes its settings from ``agent.toml`` and a ``Setting``, and returns a camera. What such a camera raises is its
source being away, not the end of the process; a frame of the wrong kind is a bad frame.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from edge_agent.inspection.cameras.camera import Away, BadFrame, Camera, Frame, Seen
from shared.clock import Clock
from shared.errors import ConfigError
from shared.images import MAX_PIXELS
from shared.marks import faults_of_ids
from shared.sources import PluginSource

GROUP: Final = "winnow.cameras"
#: How long a camera that raised is left alone.
_RETRY_S: Final = 10.0


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
        self._what = f'camera {setting.name}: plugin "{source.plugin}"'
        self._make = _find(source.plugin, what=self._what)
        self._settings = dict(source.settings)
        self._setting = setting
        self._number = 0

    def frames(self, stop: threading.Event) -> Iterator[Seen]:
        while not stop.is_set():
            try:
                for seen in self._make(self._settings, self._setting).frames(stop):
                    yield self._checked(seen)
            except Exception as error:  # noqa: BLE001  # whatever another package raises must not end the node's other cameras
                yield Away(f"{self._what}: {type(error).__name__}: {error}")
            else:
                return
            if self._setting.until_done:
                return
            self._setting.clock.wait(stop, _RETRY_S)

    def _checked(self, seen: object) -> Seen:
        match seen:
            case Frame(number=number):
                self._number = number
                fault = self._fault(seen)
                return seen if fault is None else BadFrame(number, f"{self._what}: {fault}")
            case BadFrame() | Away():
                return seen
            case _:
                return BadFrame(self._number, f"{self._what}: gave a {type(seen).__name__}; expected a frame")

    def _fault(self, frame: Frame) -> str | None:
        image = frame.image
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3:
            kind = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
            return f"image is {kind}, expected uint8 (h, w, {self._setting.channels})"
        if image.shape[2] != self._setting.channels or not 0 < image.shape[0] * image.shape[1] <= MAX_PIXELS:
            return f"image is {image.shape}, expected (h, w, {self._setting.channels}) of at most {MAX_PIXELS} pixels"
        return next(iter(faults_of_ids(frame.ids)), None)


def _find(name: str, *, what: str) -> Make:
    """Load what a package offers under this name."""
    found = entry_points(group=GROUP)
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        raise ConfigError(f"{what} is not installed; installed are {known}: add its package to the node")
    try:
        make = found[name].load()
    except Exception as error:  # noqa: BLE001  # importing another package may raise anything
        raise ConfigError(
            f"{what} does not load: {type(error).__name__}: {error}; mend or update its package"
        ) from None
    if not callable(make):
        raise ConfigError(f"{what} is a {type(make).__name__}; expected a function that makes a camera")
    loaded: Make = make
    return loaded
