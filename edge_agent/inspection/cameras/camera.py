"""What a camera is: frames, one after another, and now and then one that cannot be read, or none for a while."""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from shared.geometry import Image


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One image."""

    number: int
    captured_at: float
    #: ``(h, w, c)`` with the line's channels.
    image: Image
    #: Frames between the one before and this one that went by while the node was busy.
    missed: int = 0
    #: Ids of the part, the lot or the recipe that it shows.
    ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A frame that came but cannot be read."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class Away:
    """The source gives no frames, and why; the camera looks again by itself."""

    reason: str


#: What a camera gives.
Seen = Frame | BadFrame | Away


class Camera(Protocol):
    """One image source."""

    def frames(self, stop: threading.Event) -> Iterator[Seen]:
        """Give frame after frame until the source ends or ``stop`` is set."""
