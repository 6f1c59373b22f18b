"""Painters of defects that cover an area: rolled-in scale, pitting, patches, oil, crazing, water, rust, chatter.

Lengths are design pixels times the scene's scale. Masks follow what is seen: the flecks of rolled-in scale, but the
whole of a stain.
"""

import math

import numpy as np

from shared.steel_line.scene import Scene
from shared.steel_line.shapes import Plane, Rng, axes, blob, box_px, cells, cover_of, field, rough_field, smooth_step
from shared.steel_line.stamps import Stamp


def rolled_in_scale(rng: Rng, scene: Scene) -> Stamp:
    """Paint a swarm of dark flecks pressed into the strip, each drawn out in the rolling direction."""
    inside = blob(rng, scene.px(rng.uniform(14, 34)), scene.px(rng.uniform(22, 58)), rough=0.3)
    height, width = inside.shape
    flecks = field(rng, height, width, max(2.0, scene.px(4.5)), max(3.0, scene.px(13)))
    flecks += np.float32(0.4) * field(rng, height, width, max(1.0, scene.px(2)), max(1.5, scene.px(4)))
    cover = smooth_step((flecks + np.clip(inside, -1, 0.35) * 2 - np.float32(0.45)) * 2 + np.float32(0.5))
    cover *= inside > -0.25
    if not (cover > 0.5).any():
        cover = smooth_step(inside * 3)
    tone = np.float32(-rng.uniform(28, 52)) * cover
    return Stamp(cover > 0.5, tone, keep=1 - np.float32(0.3) * cover)


def pitting(rng: Rng, scene: Scene) -> Stamp:
    """Paint a cluster of small round pits, dark with a lit far wall."""
    spread_y, spread_x = scene.px(rng.uniform(8, 24)), scene.px(rng.uniform(12, 36))
    count = int(rng.integers(14, 48))
    height, width = box_px(spread_y * 1.4 + 4), box_px(spread_x * 1.4 + 4)
    spots = rng.normal(0, 0.55, (count, 2)).clip(-1.3, 1.3) * (spread_y, spread_x) + ((height - 1) / 2, (width - 1) / 2)
    radii = np.maximum(0.85, scene.px(1.0) * rng.lognormal(0.55, 0.35, count)).astype(np.float32)
    away, _, which = cells(height, width, spots)
    radius = radii[which]
    cover = cover_of(radius - away)
    rows = np.arange(height, dtype=np.float32)[:, None]
    below = (rows - spots[which, 0].astype(np.float32)) / radius
    wall = np.clip(1 - np.abs(away - radius - np.float32(0.6)) / np.float32(1.0), 0, 1) * np.clip(below, 0, 1)
    strength = np.float32(rng.uniform(0.6, 1.0))
    tone = strength * (-58 * cover + 30 * wall)
    return Stamp(cover > 0.45, tone.astype(np.float32))


def patches(rng: Rng, scene: Scene) -> Stamp:
    """Paint one large ragged area that is darker, at times paler, than the strip, with the grain still showing."""
    inside = blob(rng, scene.px(rng.uniform(16, 42)), scene.px(rng.uniform(24, 64)), rough=0.55)
    cover = smooth_step(inside * 5 + np.float32(0.5))
    shade = 1 + np.float32(0.22) * rough_field(rng, inside.shape[0], inside.shape[1], scene.px(14))
    grey = -rng.uniform(20, 36) if rng.random() < 0.8 else rng.uniform(20, 30)
    return Stamp(cover > 0.5, np.float32(grey) * cover * shade)


def oil_spot(rng: Rng, scene: Scene) -> Stamp:
    """Paint one to four drops whose smooth dark bodies hide the grain, at times drawn out into a tail."""
    largest = max(2.2, scene.px(rng.uniform(5, 21)))
    side = box_px(largest * 2.6)
    rows, columns = axes(side, side)
    wobble = np.float32(0.16) * field(rng, side, side, largest, largest)
    # Oil creeps along the grain: one side of each drop is longer than the other.
    tail = np.float32(rng.uniform(1.0, 1.9))
    cover = np.zeros((side, side), dtype=np.float32)
    body = np.zeros((side, side), dtype=np.float32)
    gleam = np.zeros((side, side), dtype=np.float32)
    for drop in range(int(rng.choice((1, 1, 2, 3, 4)))):
        radius = np.float32(largest if drop == 0 else max(1.2, largest * rng.uniform(0.12, 0.4)))
        turn, far = rng.uniform(0, 2 * math.pi), 0.0 if drop == 0 else largest * rng.uniform(1.2, 1.8)
        y, x = rows / radius - np.float32(far * math.sin(turn)) / radius, columns / radius
        x = x - np.float32(far * math.cos(turn)) / radius
        inside = 1 - np.hypot(y, np.where(x > 0, x / tail, x)) + wobble
        np.maximum(cover, cover_of(inside * radius), out=cover)
        np.maximum(body, np.clip(inside * 2, 0, 1), out=body)
        gleam += np.exp(-((y + np.float32(0.4)) ** 2 + (x + np.float32(0.3)) ** 2) / np.float32(0.025))
    depth = np.float32(rng.uniform(22, 40))
    # A drop is a flat lens: dark to the rim, a little lighter where it is thick.
    tone = -depth * cover * (1 - np.float32(0.3) * body) + np.float32(rng.uniform(30, 60)) * gleam
    return Stamp(cover > 0.5, tone.astype(np.float32), keep=1 - np.float32(0.85) * cover)


def crazing(rng: Rng, scene: Scene) -> Stamp:
    """Paint a net of fine cracks, faint and dark, that thins out towards its border."""
    inside = blob(rng, scene.px(rng.uniform(18, 40)), scene.px(rng.uniform(22, 52)), rough=0.35)
    height, width = inside.shape
    mesh = max(5.0, scene.px(rng.uniform(9, 14)), math.sqrt(height * width / 110))
    # One centre per mesh, moved within it: free centres would meet and leave dark knots.
    knots = np.mgrid[0 : height + mesh : mesh, 0 : width + mesh : mesh].reshape(2, -1).T
    first, second, _ = cells(height, width, knots + rng.uniform(-0.38, 0.38, knots.shape) * mesh)
    line = second - first + np.float32(0.8) * np.abs(field(rng, height, width, mesh / 2, mesh / 2))
    wide = np.float32(max(1.3, scene.px(1.7)))
    cover: Plane = np.clip((wide - line) / np.float32(1.2) + np.float32(0.35), 0, 1)
    cover *= smooth_step(inside * 4 + np.float32(0.4))
    tone: Plane = np.float32(-rng.uniform(28, 48)) * cover
    return Stamp(cover > 0.4, tone)


def water_stain(rng: Rng, scene: Scene) -> Stamp:
    """Paint a dried pool: a faint body inside a dark rim, with weaker rims where it dried in steps."""
    half_y, half_x = scene.px(rng.uniform(14, 34)), scene.px(rng.uniform(18, 46))
    inside = blob(rng, half_y, half_x, rough=0.06)
    # Surface tension smooths the rim: the wobble is as wide as the pool.
    inside += np.float32(0.22) * field(rng, inside.shape[0], inside.shape[1], half_y * 0.8, half_y * 0.8)
    # The rim is as wide in pixels whatever the size of the pool.
    rim = np.float32(max(1.3, scene.px(2.2)) / min(half_y, half_x))
    strength = np.float32(rng.uniform(0.55, 1.0))
    step = np.float32(rng.uniform(0.2, 0.4))
    tone = -36 * np.exp(-((inside / rim) ** 2)) - 15 * np.exp(-(((inside - step) / rim) ** 2))
    tone += (8 + 3 * rough_field(rng, inside.shape[0], inside.shape[1], scene.px(10))) * (inside > 0)
    return Stamp(inside > -rim, strength * tone.astype(np.float32))


def rust(rng: Rng, scene: Scene) -> Stamp:
    """Paint a crumbly dark crust: coarse grains of light and dark within a fractal border."""
    inside = blob(rng, scene.px(rng.uniform(8, 26)), scene.px(rng.uniform(10, 34)), rough=0.6)
    height, width = inside.shape
    cover = smooth_step(inside * 4 + np.float32(0.5))
    crumb = field(rng, height, width, max(1.3, scene.px(2.4)), max(1.3, scene.px(2.4)))
    crumb += rng.uniform(-0.7, 0.7, (height, width)).astype(np.float32)
    tone = cover * (np.float32(-rng.uniform(24, 40)) + np.float32(20) * crumb)
    return Stamp(cover > 0.5, tone, keep=1 - np.float32(0.8) * cover)


def chatter(rng: Rng, scene: Scene) -> Stamp:
    """Paint faint bands across the strip at an equal pitch, from a roll that vibrated; they swell and fade."""
    inside = blob(rng, scene.px(rng.uniform(44, 120)), scene.px(rng.uniform(36, 84)), rough=0.03)
    height, width = inside.shape
    inside += np.float32(0.18) * field(rng, height, width, scene.px(50), scene.px(50))
    _, columns = axes(height, width)
    fade = smooth_step(inside * np.float32(2.2))
    pitch = max(4.0, scene.px(rng.uniform(8, 15)))
    lag = np.float32(0.6) * field(rng, height, width, scene.px(60), scene.px(80))
    wave = np.sin(np.float32(2 * math.pi / pitch) * columns + lag)
    return Stamp(fade > 0.35, np.float32(rng.uniform(9, 17)) * wave * fade)
