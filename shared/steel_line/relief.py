"""Painters of defects with a height: roll mark, dent, blister, hole.

The lamp stands above the first row and a little to the left: what is raised is bright on that side, what is sunk is
bright on the other. That difference is all that tells a blister from a dent.
"""

import numpy as np

from shared.steel_line.scene import Scene
from shared.steel_line.shapes import Rng, axes, blob, box_px, cover_of, rough_field
from shared.steel_line.stamps import Stamp

_LAMP_Y, _LAMP_X = -0.85, -0.53


def roll_mark(rng: Rng, scene: Scene) -> Stamp:
    """Paint the same small imprint two to four times at an equal pitch in the rolling direction."""
    radius = max(2.6, scene.px(rng.uniform(4.5, 9)))
    pitch = max(radius * 3, scene.px(rng.uniform(26, 44)))
    count = int(rng.integers(2, 5))
    outer = blob(rng, radius, radius * rng.uniform(0.6, 1.0), rough=0.3) * np.float32(radius)
    # A crescent: the imprint of a flake on the roll, pressed harder on one side.
    shift = max(1, round(radius * 0.45))
    cover = cover_of(outer) * (1 - np.float32(0.85) * np.roll(cover_of(outer), (shift, shift), axis=(0, 1)))
    lip = np.clip(1 - np.abs(outer + np.float32(0.8)) / np.float32(1.2), 0, 1)
    bright = rng.random() < 0.5
    strength = rng.uniform(0.55, 1.0) * (1 if bright else -1)
    one = np.float32(46 * strength) * cover - np.float32(14 * strength) * lip
    height, side = cover.shape
    width = side + int(pitch * (count - 1)) + 1
    tone = np.zeros((height, width), dtype=np.float32)
    shape = np.zeros((height, width), dtype=np.bool_)
    for turn in range(count):
        left = int(turn * pitch)
        tone[:, left : left + side] += one
        shape[:, left : left + side] |= cover > 0.45
    return Stamp(shape, tone)


def dent(rng: Rng, scene: Scene) -> Stamp:
    """Paint a smooth hollow: dark towards the lamp, bright away from it, the grain going through."""
    half_y, half_x = max(2.5, scene.px(rng.uniform(5, 15))), max(2.5, scene.px(rng.uniform(5, 19)))
    rows, columns = axes(box_px(half_y * 1.9), box_px(half_x * 1.9))
    y, x = rows / np.float32(half_y), columns / np.float32(half_x)
    y = y + np.float32(0.15) * rough_field(rng, rows.shape[0], columns.shape[1], max(3.0, half_y))
    # The slope of a bell, lit from the side.
    bell = np.exp(-(y * y + x * x) * np.float32(1.1))
    tone = np.float32(rng.uniform(48, 92)) * bell * -(y * np.float32(_LAMP_Y) + x * np.float32(_LAMP_X))
    tone -= np.float32(9) * bell
    return Stamp((y * y + x * x) < 1.5, tone.astype(np.float32))


def blister(rng: Rng, scene: Scene) -> Stamp:
    """Paint one to four round domes in a row: bright towards the lamp, with a thin dark foot and a highlight."""
    radius = max(2.6, scene.px(rng.uniform(4, 11)))
    count = int(rng.choice((1, 1, 2, 3, 4)))
    gap = radius * rng.uniform(2.4, 3.4)
    rows, columns = axes(box_px(radius + 4), box_px(radius + gap * (count - 1) / 2 + 4))
    tone = np.zeros((rows.shape[0], columns.shape[1]), dtype=np.float32)
    shape = np.zeros(tone.shape, dtype=np.bool_)
    strength = np.float32(rng.uniform(0.6, 1.0))
    for dome in range(count):
        size = np.float32(radius * (1 if dome == 0 else rng.uniform(0.55, 0.95)))
        y, x = rows / size, (columns - np.float32((dome - (count - 1) / 2) * gap)) / size
        away = np.hypot(y, x)
        cover = cover_of((1 - away) * size)
        slope = y * np.float32(_LAMP_Y) + x * np.float32(_LAMP_X)
        gleam = np.exp(-((y + np.float32(0.42)) ** 2 + (x + np.float32(0.27)) ** 2) * 14)
        foot = np.clip(1 - np.abs(away - 1) * size / np.float32(1.1), 0, 1)
        tone += strength * (cover * (42 * slope + 6) + 55 * gleam * cover - 34 * foot)
        shape |= away * size < size + np.float32(0.4)
    return Stamp(shape, tone.astype(np.float32))


def hole(rng: Rng, scene: Scene) -> Stamp:
    """Paint a hole through the strip: black, with a bright burr; many are pinholes of a few pixels."""
    radius = max(1.4, scene.px(min(13.0, rng.lognormal(1.25, 0.6))))
    inside = blob(rng, radius, radius * rng.uniform(0.85, 1.3), rough=0.14) * np.float32(radius)
    cover = cover_of(inside)
    burr = np.clip(1 - np.abs(inside + np.float32(1.1)) / np.float32(1.1), 0, 1)
    return Stamp(cover > 0.45, np.float32(-rng.uniform(88, 108)) * cover + np.float32(26) * burr, keep=1 - cover)
