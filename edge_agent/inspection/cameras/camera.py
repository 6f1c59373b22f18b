"""What a camera is: frames, one after another, and now and then one that cannot be read."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A frame that came but cannot be read."""

    number: int
    reason: str


class Camera(Protocol):
    """One image source."""

    def frames(self, stop: threading.Event) -> Iterator[Frame | BadFrame]:
        """Give frame after frame until the source ends or ``stop`` is set."""
