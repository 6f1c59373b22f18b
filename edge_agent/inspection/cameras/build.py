"""From a camera's table to the camera."""

from pathlib import Path
from typing import assert_never

from edge_agent.inspection.cameras.camera import Camera
from edge_agent.inspection.cameras.folder import FolderCamera
from edge_agent.inspection.cameras.steel_line import SteelLineCamera
from shared.clock import Clock
from shared.config import LineConfig
from shared.simulated import simulated_camera
from shared.sources import CameraTable, FolderSource, SteelLineSource


def build_camera(
    table: CameraTable, line: LineConfig, *, node: str, base: Path, clock: Clock, until_done: bool
) -> Camera:
    """Make the camera that a table asks for.

    Args:
        table: The camera's table.
        line: The line it belongs to.
        node: The node it hangs on.
        base: The folder of ``agent.toml``, which paths are relative to.
        clock: What paces it.
        until_done: A folder ends when everything in it was taken.
    """
    channels = line.geometry.channels
    source = table.source
    match source:
        case FolderSource():
            return FolderCamera(
                base / source.path,
                source,
                frames_per_s=table.frames_per_s,
                channels=channels,
                clock=clock,
                until_done=until_done,
            )
        case SteelLineSource():
            strip = simulated_camera(line, node=node, camera=table.name)
            return SteelLineCamera(strip, source, frames_per_s=table.frames_per_s, channels=channels, clock=clock)
        case _:
            assert_never(source)
