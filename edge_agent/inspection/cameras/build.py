"""From a camera's table to the camera."""

from pathlib import Path
from typing import assert_never

from msgspec.structs import replace

from edge_agent.inspection.cameras.camera import Camera
from edge_agent.inspection.cameras.folder import FolderCamera
from edge_agent.inspection.cameras.steel_line import SteelLineCamera
from shared.clock import Clock
from shared.config import AgentConfig, LineConfig
from shared.errors import ConfigError
from shared.secret import read_secret
from shared.simulated import simulated_camera
from shared.sources import CameraTable, FolderSource, PluginSource, RtspSource, SteelLineSource, VideoSource


def build_camera(
    table: CameraTable,
    line: LineConfig,
    *,
    node: str,
    base: Path,
    clock: Clock,
    until_done: bool,
    after: int | None = None,
) -> Camera:
    """Make the camera that a table asks for.

    Args:
        table: The camera's table.
        line: The line it belongs to.
        node: The node it hangs on.
        base: The folder of ``agent.toml``, which paths are relative to.
        clock: What paces it.
        until_done: A source that can end does so when everything in it was taken.
        after: The frame that an earlier inspection process saw last; a simulated strip goes on from there.
    """
    channels, pace = line.geometry.channels, table.frames_per_s
    source = table.source
    match source:
        case FolderSource():
            return FolderCamera(
                base / source.path,
                source,
                base=base,
                frames_per_s=pace,
                channels=channels,
                clock=clock,
                until_done=until_done,
            )
        case VideoSource():
            # A node without moving pictures need not load what decodes them.
            from edge_agent.inspection.cameras.video import VideoCamera

            return VideoCamera(
                base / source.path,
                source,
                frames_per_s=pace,
                channels=channels,
                clock=clock,
                until_done=until_done,
            )
        case RtspSource():
            from edge_agent.inspection.cameras.rtsp import RtspCamera

            return RtspCamera(
                source,
                password=None if source.password_file is None else read_secret(base / source.password_file),
                frames_per_s=pace,
                channels=channels,
                clock=clock,
                until_done=until_done,
            )
        case SteelLineSource():
            strip = simulated_camera(line, node=node, camera=table.name)
            return SteelLineCamera(strip, source, frames_per_s=pace, channels=channels, clock=clock, after=after)
        case PluginSource():
            from edge_agent.inspection.cameras.plugin import PluginCamera, Setting

            setting = Setting(
                name=table.name,
                channels=channels,
                frames_per_s=pace,
                clock=clock,
                base=base,
                until_done=until_done,
            )
            return PluginCamera(source, setting)
        case _:
            assert_never(source)


def leaving_no_trace(table: CameraTable) -> CameraTable:
    """Return a table whose camera only looks: no file is moved."""
    if isinstance(table.source, FolderSource):
        return replace(table, source=replace(table.source, processed=None, failed=None))
    return table


def find_camera(agent: AgentConfig, camera: str, agent_toml: Path) -> CameraTable:
    """Return one of a node's cameras by name."""
    tables = {table.name: table for table in agent.cameras}
    if camera not in tables:
        raise ConfigError(f'{agent_toml}: no camera "{camera}"; known cameras are {", ".join(sorted(tables))}')
    return tables[camera]
