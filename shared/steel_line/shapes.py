"""Shapes on small boxes: irregular blobs, lines and smooth random fields.

Everything is float32 and local: a shape costs its own box, never the frame. Distances are in pixels, and a cover is in
[0, 1] with one pixel of blur at the edge.
"""

import math

import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]
Rng = np.random.Generator


def axes(height: int, width: int) -> tuple[Plane, Plane]:
    """Return the row and column coordinates of a box, zero at its centre, as ``(h, 1)`` and ``(1, w)``."""
    rows = np.arange(height, dtype=np.float32) - np.float32((height - 1) / 2)
    columns = np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)
    return rows[:, None], columns[None, :]


def turned(height: int, width: int, angle: float) -> tuple[Plane, Plane]:
    """Return the coordinates across and along a direction, ``(h, w)`` each, zero at the centre of the box."""
    rows, columns = axes(height, width)
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    return rows * cos - columns * sin, columns * cos + rows * sin


def _spread(size: int, cell: float, offset: float) -> Plane:
    """Return the ``(size, knots)`` weights that interpolate smoothly between knots ``cell`` pixels apart."""
    at = np.arange(size) / cell + offset
    low = np.floor(at).astype(np.intp)
    part = smooth_step((at - low).astype(np.float32))
    weights: Plane = np.zeros((size, int(low[-1]) + 2), dtype=np.float32)
    index = np.arange(size)
    weights[index, low] = 1 - part
    weights[index, low + 1] = part
    return weights


def field(rng: Rng, height: int, width: int, cell_y: float, cell_x: float) -> Plane:
    """Draw a smooth random field with features about one cell large, zero mean, values in about [-1.5, 1.5]."""
    down = _spread(height, max(cell_y, 1.0), rng.random())
    across = _spread(width, max(cell_x, 1.0), rng.random())
    knots = rng.uniform(-1.6, 1.6, (down.shape[1], across.shape[1]))
    smooth: Plane = np.matmul(np.matmul(down, knots.astype(np.float32)), across.T)
    return smooth


def rough_field(rng: Rng, height: int, width: int, cell: float) -> Plane:
    """Draw three octaves of ``field``: an outline made from it is ragged at every size."""
    total = field(rng, height, width, cell, cell)
    total += np.float32(0.5) * field(rng, height, width, cell / 2, cell / 2)
    total += np.float32(0.25) * field(rng, height, width, cell / 4, cell / 4)
    return total * np.float32(0.65)


def box_px(extent: float) -> int:
    """Return the side of a box that holds a shape of this half extent, at least 5 pixels."""
    return max(5, 2 * math.ceil(extent) + 3)


def blob(rng: Rng, half_height: float, half_width: float, *, rough: float) -> Plane:
    """Draw an irregular ellipse: 1 at the centre, 0 on the outline, below zero outside, in a box that holds it."""
    rows, columns = axes(box_px(half_height * 1.5), box_px(half_width * 1.5))
    radius = np.sqrt((rows / np.float32(half_height)) ** 2 + (columns / np.float32(half_width)) ** 2)
    cell = max(2.0, 0.6 * min(half_height, half_width))
    wobble = rough_field(rng, radius.shape[0], radius.shape[1], cell)
    # The last term closes the outline before the border of the box, whatever the wobble says there.
    inside: Plane = 1 - radius + np.float32(rough) * wobble - 3 * np.maximum(radius - np.float32(1.3), 0)
    return inside


def cover_of(inside_px: Plane) -> Plane:
    """Turn a signed distance (pixels, positive inside) into a cover with one pixel of blur."""
    cover: Plane = np.clip(inside_px + np.float32(0.5), 0, 1)
    return cover


def smooth_step(value: Plane) -> Plane:
    """Map [0, 1] to [0, 1] with flat ends."""
    clipped = np.clip(value, 0, 1)
    stepped: Plane = clipped * clipped * (3 - 2 * clipped)
    return stepped


def polyline(height: int, width: int, points: NDArray[np.float64], widths: NDArray[np.float64]) -> Plane:
    """Return the signed distance (positive inside) of a line through points, its width changing from point to point.

    ``points`` is ``(n, 2)``, rows and columns from the top left of the box; ``widths`` is ``(n,)``.
    """
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    nearest = np.full((height, width), -1e3, dtype=np.float32)
    for (y0, x0), (y1, x1), w0, w1 in zip(points[:-1], points[1:], widths[:-1], widths[1:], strict=True):
        dy, dx = np.float32(y1 - y0), np.float32(x1 - x0)
        norm = max(float(dy * dy + dx * dx), 1e-6)
        along = np.clip(((rows - np.float32(y0)) * dy + (columns - np.float32(x0)) * dx) / np.float32(norm), 0, 1)
        away = np.hypot(rows - np.float32(y0) - along * dy, columns - np.float32(x0) - along * dx)
        np.maximum(nearest, np.float32(w0 / 2) + along * np.float32((w1 - w0) / 2) - away, out=nearest)
    return nearest


def walk(rng: Rng, *, steps: int, stride: float, heading: float, turn: float) -> NDArray[np.float64]:
    """Draw the points of a line that wanders: ``(steps + 1, 2)``, starting at zero."""
    headings = heading + np.cumsum(rng.normal(0, turn, steps)) * 0.35 + rng.normal(0, turn, steps)
    strides = stride * rng.uniform(0.6, 1.4, steps)
    moves = np.stack((np.sin(headings) * strides, np.cos(headings) * strides), axis=1)
    return np.concatenate((np.zeros((1, 2)), np.cumsum(moves, axis=0)))


def cells(height: int, width: int, centres: NDArray[np.float64]) -> tuple[Plane, Plane, NDArray[np.intp]]:
    """Return each pixel's distance to its nearest and second nearest centre, and which centre is nearest."""
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    first = np.full((height, width), 1e12, dtype=np.float32)
    second = first.copy()
    nearest = np.zeros((height, width), dtype=np.intp)
    # One centre at a time: an array of every pixel times every centre would fill the memory at a large scale.
    for index, (y, x) in enumerate(centres.astype(np.float32)):
        away = (rows - y) ** 2 + (columns - x) ** 2
        np.minimum(second, np.maximum(first, away), out=second)
        nearest[away < first] = index
        np.minimum(first, away, out=first)
    return np.sqrt(first), np.sqrt(second), nearest
