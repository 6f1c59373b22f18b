"""Painters of clean but unusual marks: background in the ground truth.

They make sure that not everything unusual is a defect. Each resembles a defect: a fibre a crack, dust an inclusion,
a glint a scratch, chalk a pale patch.
"""

import math

import numpy as np

from shared.steel_line.scene import Scene
from shared.steel_line.shapes import Rng, axes, box_px, cover_of, field, polyline, turned
from shared.steel_line.stamps import Painter, Stamp


def dust(rng: Rng, scene: Scene) -> Stamp:
    """Paint a few soft specks, bright or dark."""
    side = box_px(scene.px(rng.uniform(6, 40)))
    rows, columns = axes(side, side)
    tone = np.zeros((side, side), dtype=np.float32)
    for _ in range(int(rng.integers(1, 6))):
        radius = max(0.7, scene.px(rng.uniform(0.7, 1.7)))
        y, x = rng.uniform(-0.42, 0.42, 2) * side
        grey = rng.uniform(18, 38) * rng.choice((-1, 1, 1))
        away = (rows - np.float32(y)) ** 2 + (columns - np.float32(x)) ** 2
        tone += np.float32(grey) * np.exp(-away / np.float32(2 * radius**2))
    return Stamp(tone != 0, tone)


def fibre(rng: Rng, scene: Scene) -> Stamp:
    """Paint a thread lying on the strip: an even, smoothly curved thin line with a shadow."""
    steps = 14
    headings = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(rng.uniform(-0.2, 0.2), 0.1, steps))
    stride = max(1.5, scene.px(rng.uniform(2.5, 5)))
    path = np.cumsum(np.stack((np.sin(headings), np.cos(headings)), axis=1) * stride, axis=0)
    low = path.min(axis=0) - 4
    height, width = (int(side) + 6 for side in path.max(axis=0) - low)
    inside = polyline(height, width, path - low, np.full(steps, max(1.1, scene.px(1.3))))
    cover = cover_of(inside)
    shadow = np.roll(cover, (1, 1), axis=(0, 1)) * (1 - cover)
    return Stamp(cover > 0, np.float32(rng.uniform(24, 42)) * cover - np.float32(14) * shadow)


def chalk(rng: Rng, scene: Scene) -> Stamp:
    """Paint a hand-drawn tick, cross or loop in crumbly white."""
    size = scene.px(rng.uniform(18, 34))
    kind = int(rng.integers(3))
    turn = np.linspace(0.3, 6.6, 12)
    strokes = {
        0: [np.array([(-0.1, -0.7), (0.6, -0.2), (-0.8, 0.8)])],
        1: [np.array([(-0.7, -0.6), (0.7, 0.6)]), np.array([(0.7, -0.7), (-0.6, 0.7)])],
        2: [np.stack((0.7 * np.sin(turn), 0.8 * np.cos(turn)), axis=1) * np.linspace(0.85, 1.0, 12)[:, None]],
    }[kind]
    side = box_px(size * 1.15)
    inside = np.full((side, side), -1e3, dtype=np.float32)
    wide = max(1.8, scene.px(rng.uniform(3.5, 6)))
    for stroke in strokes:
        points = (stroke + rng.normal(0, 0.05, stroke.shape)) * size + (side - 1) / 2
        np.maximum(inside, polyline(side, side, points, np.full(len(points), wide)), out=inside)
    crumble = np.clip(np.float32(0.6) + np.float32(0.6) * field(rng, side, side, 1.2, max(1.5, scene.px(4))), 0, 1)
    cover = cover_of(inside) * crumble
    return Stamp(cover > 0, np.float32(rng.uniform(40, 65)) * cover)


def print_mark(rng: Rng, scene: Scene) -> Stamp:
    """Paint a coil number in dots of ink, as a dot-matrix printer leaves it."""
    pitch = max(2.0, scene.px(3.4))
    glyphs = rng.random((7, 6 * int(rng.integers(4, 8)))) < 0.5
    glyphs[:, 5::6] = False
    height, width = int(pitch * 8), int(pitch * (glyphs.shape[1] + 1))
    tone = np.zeros((height, width), dtype=np.float32)
    rows = np.arange(height, dtype=np.float32)[:, None]
    columns = np.arange(width, dtype=np.float32)[None, :]
    row = np.minimum(rows // pitch, 6).astype(np.intp)
    column = np.minimum(columns // pitch, glyphs.shape[1] - 1).astype(np.intp)
    middle = np.float32(pitch / 2)
    away = np.hypot(rows % np.float32(pitch) - middle, columns % np.float32(pitch) - middle)
    dots = cover_of(np.float32(pitch * 0.36) - away) * glyphs[row, column] * (rows < pitch * 7)
    tone -= np.float32(rng.uniform(30, 50)) * dots
    return Stamp(tone != 0, tone)


def glint(rng: Rng, scene: Scene) -> Stamp:
    """Paint a soft bright streak where the strip flexes and mirrors the lamp."""
    half, wide = scene.px(rng.uniform(50, 130)), max(1.5, scene.px(rng.uniform(3, 7)))
    angle = rng.normal(0, 0.05)
    across, along = turned(box_px(wide * 3 + half * abs(math.sin(angle)) * 2), box_px(half * 2), angle)
    tone = np.exp(-((along / np.float32(half)) ** 2) * 2 - (across / np.float32(wide)) ** 2)
    return Stamp(tone > 0, np.float32(rng.uniform(14, 30)) * tone)


# Expected occurrences per 512 x 512 frame at scale 1.
HARMLESS: tuple[tuple[str, float, Painter], ...] = (
    ("dust", 0.06, dust),
    ("fibre", 0.012, fibre),
    ("glint", 0.008, glint),
    ("chalk", 0.005, chalk),
    ("print mark", 0.003, print_mark),
)
