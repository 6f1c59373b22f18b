"""Painters of long and thin defects: scratch, inclusion, sliver, crack, edge crack, weld line.

Lengths are design pixels times the scene's scale, but a line never gets thinner than a camera can show. Tones are grey
levels on a strip of about 125.
"""

import math

import numpy as np

from shared.steel_line.scene import Scene
from shared.steel_line.shapes import Plane, Rng, box_px, cover_of, field, polyline, turned, walk
from shared.steel_line.stamps import Stamp

_SEEN = 0.32


def _width(rng: Rng, scene: Scene, low: float, high: float) -> float:
    """Draw the width of a thin line, at least 1.3 pixels."""
    return max(1.3, scene.px(rng.uniform(low, high)))


def scratch(rng: Rng, scene: Scene) -> Stamp:
    """Paint one to three parallel bright grooves, mostly along the rolling direction, each with a dark flank."""
    half = scene.px(rng.uniform(28, 105))
    angle = rng.normal(0, 0.12) if rng.random() < 0.75 else rng.uniform(-1.1, 1.1)
    spread = scene.px(9)
    height = box_px(half * abs(math.sin(angle)) + spread + 3)
    width = box_px(half * abs(math.cos(angle)) + spread + 3)
    across, along = turned(height, width, angle)
    across = across + np.float32(rng.uniform(-0.1, 0.1) / max(half, 1)) * along * along
    strength = rng.uniform(0.5, 1.0)
    tone = np.zeros((height, width), dtype=np.float32)
    shape = np.zeros((height, width), dtype=np.bool_)
    for groove in range(int(rng.choice((1, 1, 1, 2, 3)))):
        wide = _width(rng, scene, 1.2, 2.8)
        offset = 0.0 if groove == 0 else rng.uniform(-1, 1) * spread
        reach = half * (1.0 if groove == 0 else rng.uniform(0.4, 0.9))
        off = across - np.float32(offset)
        # Pressure changes along the groove: it fades, and at times lifts off.
        pressure = np.clip(np.float32(1.1) + np.float32(0.55) * field(rng, height, width, 999, reach / 2.5), 0, 1)
        cover = cover_of(np.float32(wide / 2) - np.abs(off)) * pressure
        cover *= np.clip((np.float32(reach) - np.abs(along)) / np.float32(max(reach * 0.25, 1)), 0, 1)
        flank = np.clip(1 - np.abs(off - np.float32(wide)) / np.float32(wide * 0.8), 0, 1) * (cover.max() > 0)
        flank *= np.clip((np.float32(reach) - np.abs(along)) / np.float32(max(reach * 0.25, 1)), 0, 1) * pressure
        tone += np.float32(58 * strength) * cover - np.float32(22 * strength) * flank
        shape |= cover > _SEEN
    return Stamp(shape, tone)


def inclusion(rng: Rng, scene: Scene) -> Stamp:
    """Paint one to four dark spindles drawn out in the rolling direction; some are a few pixels."""
    count = int(rng.choice((1, 1, 2, 3, 4)))
    longest = scene.px(rng.uniform(4, 26))
    height, width = box_px(scene.px(10) + 3), box_px(longest * 1.7 + 3)
    across, along = turned(height, width, rng.normal(0, 0.04))
    tone = np.zeros((height, width), dtype=np.float32)
    shape = np.zeros((height, width), dtype=np.bool_)
    for grain in range(count):
        half = max(1.6, longest * (1.0 if grain == 0 else rng.uniform(0.2, 0.7)))
        wide = max(0.9, scene.px(rng.uniform(0.9, 2.6)))
        off_y = 0.0 if grain == 0 else scene.px(rng.uniform(-8, 8))
        off_x = 0.0 if grain == 0 else rng.uniform(-0.6, 0.6) * longest
        where = (along - np.float32(off_x)) / np.float32(half)
        # Rolling breaks an inclusion up: its outline swells and thins, and a long one tears into beads.
        swell = np.clip(
            np.float32(0.8) + np.float32(0.45) * field(rng, height, width, 999, max(3.0, half / 2.5)), 0, 1.4
        )
        outline = np.float32(wide) * swell * np.sqrt(np.clip(1 - where * where, 0, 1))
        ragged = np.float32(0.35 * wide) * field(rng, height, width, 2.0, 5.0)
        cover = cover_of(outline - np.abs(across - np.float32(off_y) + ragged)) * (np.abs(where) < 1) * (outline > 0)
        tone = np.minimum(tone, np.float32(-rng.uniform(42, 82)) * cover)
        shape |= cover > _SEEN
    return Stamp(shape, tone)


def sliver(rng: Rng, scene: Scene) -> Stamp:
    """Paint a torn tongue of metal along the rolling direction: bright and streaked, with a dark gap on one side."""
    half, fat = scene.px(rng.uniform(22, 58)), max(2.0, scene.px(rng.uniform(3.5, 8)))
    height, width = box_px(fat * 2 + half * 0.12 + 2), box_px(half * 1.05 + 2)
    across, along = turned(height, width, rng.normal(0, 0.07))
    where = np.clip((along / np.float32(half) + 1) / 2, 0, 1)
    # One end is the root, broad and round; the other is drawn out to a tip.
    outline = np.float32(fat) * np.sqrt(where) * (1 - where**2) * np.float32(1.7)
    outline *= 1 + np.float32(0.3) * field(rng, height, width, 999, half / 6)
    across = across + np.float32(0.8) * field(rng, height, width, 999, half / 3)
    inside = (outline - np.abs(across)) * (np.abs(along) < half) - 2 * (np.abs(along) >= half)
    cover = cover_of(inside)
    side = np.float32(rng.choice((-1.0, 1.0)))
    gap = np.clip(1 - np.abs(across * side - outline) / np.float32(max(1.2, fat * 0.3)), 0, 1) * (np.abs(along) < half)
    streaks = field(rng, height, width, max(1.0, fat / 4), half / 2)
    strength = np.float32(rng.uniform(0.65, 1.0))
    tone = strength * (cover * (26 + 9 * streaks) - 68 * gap)
    return Stamp((cover > 0.5) | (gap > 0.5), tone.astype(np.float32), keep=1 - np.float32(0.5) * cover)


def crack(rng: Rng, scene: Scene) -> Stamp:
    """Paint a dark jagged line with up to two branches, in any direction but mostly across the strip."""
    steps = int(rng.integers(7, 14))
    stride = max(2.0, scene.px(rng.uniform(4, 9)))
    heading = rng.normal(math.pi / 2, 0.6)
    lines = [walk(rng, steps=steps, stride=stride, heading=heading, turn=0.5)]
    for _ in range(int(rng.integers(0, 3))):
        start = lines[0][int(rng.integers(2, steps - 1))]
        side = heading + rng.choice((-1, 1)) * rng.uniform(0.6, 1.1)
        lines.append(start + walk(rng, steps=max(2, steps // 3), stride=stride * 0.8, heading=side, turn=0.4))
    every = np.concatenate(lines)
    low = every.min(axis=0) - 4
    height, width = (int(side) + 5 for side in every.max(axis=0) - low)
    wide = _width(rng, scene, 1.5, 2.8)
    inside = np.full((height, width), -1e3, dtype=np.float32)
    for line in lines:
        widths = np.linspace(wide, 0.9, len(line)) if line is not lines[0] else np.full(len(line), wide)
        np.maximum(inside, polyline(height, width, line - low, widths), out=inside)
    cover = cover_of(inside)
    lip = np.clip(1 - np.abs(inside + np.float32(1.5)) / np.float32(1.2), 0, 1)
    tone: Plane = np.float32(-rng.uniform(50, 80)) * cover + np.float32(9) * lip
    return Stamp(cover > _SEEN, tone)


def edge_crack(rng: Rng, scene: Scene) -> Stamp:
    """Paint one to three dark wedges that run into the strip from its edge."""
    reach = max(5.0, scene.px(rng.uniform(16, 52)))
    count = int(rng.choice((1, 2, 2, 3)))
    gap = max(5.0, scene.px(rng.uniform(9, 20)))
    height, width = int(reach) + 4, box_px(gap * count / 2 + reach * 0.5)
    inside = np.full((height, width), -1e3, dtype=np.float32)
    for wedge in range(count):
        deep = reach * (1.0 if wedge == 0 else rng.uniform(0.35, 0.85))
        steps = int(rng.integers(4, 8))
        path = walk(rng, steps=steps, stride=deep / steps / 1.1, heading=math.pi / 2, turn=0.35)
        path += (-1.0, (width - 1) / 2 + (wedge - (count - 1) / 2) * gap)
        widths = np.linspace(max(2.6, scene.px(rng.uniform(4, 8))), 0.9, len(path))
        np.maximum(inside, polyline(height, width, path, widths), out=inside)
    cover = cover_of(inside)
    lip = np.clip(1 - np.abs(inside + np.float32(1.6)) / np.float32(1.4), 0, 1)
    tone: Plane = np.float32(-rng.uniform(70, 95)) * cover + np.float32(14) * lip
    shape = cover > _SEEN
    if rng.random() < 0.5:
        return Stamp(shape, tone, row=0)
    return Stamp(shape[::-1], tone[::-1], row=scene.height_px - height)


def weld_line(rng: Rng, scene: Scene) -> Stamp:
    """Paint the seam between two coils: a rippled bead across the whole strip with dark toes and a heated zone."""
    half = max(2.5, scene.px(rng.uniform(5, 8)))
    height, width = scene.height_px, box_px(half * 4.5 + 4)
    across = np.arange(height, dtype=np.float32)[:, None] - np.float32(height / 2)
    along = np.arange(width, dtype=np.float32)[None, :] - np.float32(width / 2)
    away = along + np.float32(rng.uniform(-0.4, 0.4) * half) * field(rng, height, width, scene.px(90), 999)
    away = away + np.float32(0.5) * field(rng, height, width, scene.px(9), 999)
    dome = np.clip(1 - (away / np.float32(half)) ** 2, 0, 1)
    pitch = max(3.0, scene.px(rng.uniform(6, 8.5)))
    ripple = np.sin(np.float32(2 * math.pi / pitch) * (across + np.float32(0.5 / half) * away * away))
    toe = np.clip(1 - np.abs(np.abs(away) - np.float32(half)) / np.float32(max(1.3, half * 0.28)), 0, 1)
    heat = np.exp(-np.abs(away) / np.float32(half * 1.3))
    tone = dome * (30 + 15 * ripple) - 38 * toe - 13 * heat
    shape = np.abs(away) < half * 1.15
    return Stamp(shape, tone.astype(np.float32), keep=1 - np.float32(0.7) * (dome > 0), row=0)
