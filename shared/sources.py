"""Where a camera's frames come from: one tagged table for each kind of source."""

from typing import Annotated

from msgspec import Meta

from shared.kinds import Name, Positive, Table


class FolderSource(Table, frozen=True, tag_field="type", tag="folder"):
    """Images that appear in a folder."""

    path: str
    pattern: str = "*"
    loop: bool = False
    poll_s: Positive = 0.5


class SteelLineSource(Table, frozen=True, tag_field="type", tag="steel_line"):
    """The simulated line as a camera; its sizes stand in the line's ``[simulator]`` table."""

    first_frame: Annotated[int, Meta(ge=0)] = 0
    last_frame: Annotated[int, Meta(ge=0)] | None = None


Source = FolderSource | SteelLineSource


class CameraTable(Table, frozen=True):
    """One image source of a node, and the line it belongs to."""

    name: Name
    line: Name
    source: Source
    frames_per_s: Positive | None = None
