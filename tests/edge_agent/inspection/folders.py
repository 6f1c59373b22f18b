"""Folders as cameras, and a clock on which somebody writes into one."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_agent.inspection.cameras.folder import FolderCamera
from shared.clock import ManualClock
from shared.sources import FolderSource


def folder_camera(
    directory: Path,
    *,
    until_done: bool = True,
    channels: int = 1,
    clock: ManualClock | None = None,
    **source: Any,
) -> FolderCamera:
    return FolderCamera(
        directory,
        FolderSource(path=str(directory), **source),
        base=directory.parent,
        frames_per_s=None,
        channels=channels,
        clock=clock or ManualClock(),
        until_done=until_done,
    )


class Writer(ManualClock):
    """A clock whose every wait lets another program write on."""

    def __init__(self, steps: list[Callable[[], object]]) -> None:
        super().__init__()
        self.steps = steps

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        if self.steps:
            self.steps.pop(0)()
        return super().wait(stop, seconds)
