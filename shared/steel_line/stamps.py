"""Stamps: what a defect or a harmless mark does to a small box of the strip.

A stamp is drawn in its own coordinates and then placed, so that a painter knows nothing of the frame but its size.
A defect must be seen where it is planted: placing never leaves a stamp without a visible pixel of its shape.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from shared.steel_line.scene import Scene
from shared.steel_line.shapes import Plane, Rng


@dataclass(frozen=True, slots=True)
class Stamp:
    """A change to the strip's reflectance within a box.

    ``tone`` is added in grey levels, ``keep`` says how much of the rolled texture shows through, ``shape`` is the
    ground truth. ``row`` fixes the first row, for what starts at the edge of the strip.
    """

    shape: NDArray[np.bool_]
    tone: Plane
    keep: Plane | None = None
    row: int | None = None


Painter = Callable[[Rng, Scene], Stamp]


def weaken(rng: Rng, stamp: Stamp, *, share: float) -> Stamp:
    """Make this share of the stamps faint: the same shape with 50 to 80 % of the contrast."""
    luck, part = rng.random(), np.float32(rng.uniform(0.5, 0.8))
    if luck >= share:
        return stamp
    return replace(stamp, tone=stamp.tone * part, keep=None if stamp.keep is None else 1 - part * (1 - stamp.keep))


def place(rng: Rng, scene: Scene, stamp: Stamp) -> tuple[int, int]:
    """Choose the top left corner of a stamp; it may lie outside the frame, but half of the shape is to be seen."""
    height, width = stamp.shape.shape
    row = stamp.row if stamp.row is not None else int(rng.uniform(0.04, 0.96) * scene.height_px - height / 2)
    column = int(rng.uniform(0.04, 0.96) * scene.width_px - width / 2)
    shown = stamp.shape[max(0, -row) : scene.height_px - row, max(0, -column) : scene.width_px - column]
    if row < scene.height_px and column < scene.width_px and 2 * shown.sum() >= stamp.shape.sum():
        return row, column
    # Bring a pixel from the middle of the shape to the middle of the frame.
    pixels = np.argwhere(stamp.shape)
    y, x = pixels[len(pixels) // 2] if len(pixels) else (height // 2, width // 2)
    return (row if stamp.row is not None else scene.height_px // 2 - int(y)), scene.width_px // 2 - int(x)


def press(stamp: Stamp, corner: tuple[int, int], strip: Plane, mask: NDArray[np.uint8] | None, value: int) -> None:
    """Apply a stamp to the strip in place and write its shape into the mask."""
    row, column = corner
    top, left = max(0, row), max(0, column)
    bottom = min(strip.shape[0], row + stamp.shape.shape[0])
    right = min(strip.shape[1], column + stamp.shape.shape[1])
    if bottom <= top or right <= left:
        return
    here = np.s_[top:bottom, left:right]
    there = np.s_[top - row : bottom - row, left - column : right - column]
    if stamp.keep is not None:
        strip[here] *= stamp.keep[there]
    strip[here] += stamp.tone[there]
    if mask is not None:
        mask[here][stamp.shape[there]] = value
