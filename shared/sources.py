"""Where a camera's frames come from: one tagged table for each kind of source."""

import re
from os.path import normpath
from pathlib import PurePath
from typing import Annotated, Literal

from msgspec import Meta, field

from shared.kinds import Name, Positive, Table
from shared.marks import faults_of_ids


class FolderSource(Table, frozen=True, tag_field="type", tag="folder"):
    """Images that appear in a folder."""

    path: str
    pattern: str = "*"
    loop: bool = False
    poll_s: Positive = 0.5
    #: Where a file goes when its frame was judged, and where one that cannot be read; it stays when absent.
    processed: str | None = None
    failed: str | None = None
    #: A regular expression on a file's path in the folder; its named groups ride along with the frame.
    ids: str | None = None


class VideoSource(Table, frozen=True, tag_field="type", tag="video"):
    """The frames of a video file, none left out."""

    path: str
    loop: bool = False


class RtspSource(Table, frozen=True, tag_field="type", tag="rtsp"):
    """A network camera's stream, always its newest frame; the password is read from a file."""

    url: str
    username: str | None = None
    password_file: str | None = None
    transport: Literal["tcp", "udp"] = "tcp"
    timeout_s: Annotated[float, Meta(gt=0.0, le=60.0)] = 5.0


class SteelLineSource(Table, frozen=True, tag_field="type", tag="steel_line"):
    """The simulated line as a camera; its sizes stand in the line's ``[simulator]`` table."""

    first_frame: Annotated[int, Meta(ge=0)] = 0
    last_frame: Annotated[int, Meta(ge=0)] | None = None


class PluginSource(Table, frozen=True, tag_field="type", tag="plugin"):
    """A camera that an installed package brings under the entry point group ``winnow.cameras``."""

    plugin: Name
    settings: dict[str, str | int | float | bool] = field(default_factory=dict)


Source = FolderSource | VideoSource | RtspSource | SteelLineSource | PluginSource


class CameraTable(Table, frozen=True):
    """One image source of a node, and the line it belongs to."""

    name: Name
    line: Name
    source: Source
    frames_per_s: Positive | None = None
    #: What every frame of the camera is marked with: part, lot, recipe.
    ids: dict[str, str] = field(default_factory=dict)


def faults_of_camera(table: CameraTable) -> list[str]:
    """Say which settings of a camera cannot be, each behind its key."""
    faults = [f"ids: {fault}" for fault in faults_of_ids(table.ids)]
    match table.source:
        case FolderSource() as source:
            faults += [f"source.{fault}" for fault in _faults_of_folder(source)]
        case RtspSource() as source:
            faults += [f"source.{fault}" for fault in _faults_of_rtsp(source)]
        case _:
            pass
    return faults


def _faults_of_folder(source: FolderSource) -> list[str]:
    faults = []
    pattern = PurePath(source.pattern)
    if not pattern.parts or pattern.is_absolute() or ".." in pattern.parts:
        faults.append(f'pattern is "{source.pattern}", which names no files in the folder; use one like *.png')
    elif any("**" in part and part != "**" for part in pattern.parts):
        faults.append(f'pattern is "{source.pattern}"; ** stands for whole folders alone, as in **/*.png')
    if source.loop and (source.processed is not None or source.failed is not None):
        faults.append("loop reads files again that processed or failed would move away; use one of them")
    for key, place in (("processed", source.processed), ("failed", source.failed)):
        # What lies there is no frame, so the camera would never give one.
        if place is not None and normpath(place) == normpath(source.path):
            faults.append(f'{key} is "{place}", the folder that the camera reads; use one beside or below it')
    if source.ids is None:
        return faults
    try:
        names = re.compile(source.ids).groupindex
    except re.error as error:
        return [*faults, f'ids is "{source.ids}", which is no regular expression: {error}']
    if not names:
        faults.append(f'ids is "{source.ids}", which has no named group; use one like (?P<part>[0-9]+)')
    return faults + [f"ids: {fault}" for fault in faults_of_ids(dict.fromkeys(names, "-"))]


def _faults_of_rtsp(source: RtspSource) -> list[str]:
    faults = []
    # Where a password ends in an address that is written wrongly nobody can say, so it is not repeated.
    if "@" in source.url:
        faults.append(
            "url holds an @, as one with credentials does; use username and password_file, which nothing ever shows, and %40 elsewhere"
        )
    elif not re.fullmatch(r"rtsps?://(?:\[[0-9a-fA-F:.]+\]|[^/\s:]+)(?::[0-9]{1,5})?(?:[/?]\S*)?", source.url):
        faults.append("url is no address of a stream; expected one as rtsp://camera:554/stream")
    if source.password_file is not None and source.username is None:
        faults.append("password_file stands without a username; give both")
    return faults


def masked(url: str) -> str:
    """Return an address as it may be shown: what stands before an @, or behind a password's name, is left out.

    Up to the last @: a password may hold any sign, also one that ought to be written in another way.
    """
    shown = re.sub(r"(?<=//)[^/]*@", "***@", url)
    shown = re.sub(r"(?i)((?:\b[a-z]+:/{1,2})?)\S*@", r"\1***@", shown)
    return re.sub(r"(?i)((?:pass(?:word|wd)?|pwd|token|secret|key|auth)[a-z_]*=)[^&/;]*", r"\1***", shown)
