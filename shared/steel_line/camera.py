"""The camera above the strip: light, a lens that gets dirty and is cleaned, sensor noise.

Light drifts over thousands of frames. Dirt builds up from one cleaning to the next: spots appear one after another,
a veil lowers the contrast. Spots sit on the lens, so they stay where they are while the strip moves.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shared.steel_line.chance import stream
from shared.steel_line.scene import Scene
from shared.steel_line.shapes import Plane, axes, blob

CLEANING_FRAMES = 6000
_LENSES = 4
_VEIL = 0.13
_VEIL_GREY = 142.0
# Noise is read from a bank at two random places per frame: drawing a fresh normal per pixel would cost more than
# everything else in the frame together.
_BANK_SLACK = 1 << 16
_NOISE_GREY = 1.5


def dirt_level(scene: Scene, number: int) -> tuple[int, float]:
    """Return which cleaning cycle a frame lies in and how far it has gone, in [0, 1)."""

    def cleaned_at(cycle: int) -> int:
        # Jitter below half a cycle keeps the cleanings in order, so any cycle is found without those before it.
        jitter = scene.stream("cleaning", cycle).uniform(-0.3, 0.3)
        return 0 if cycle == 0 else int((cycle + jitter) * CLEANING_FRAMES)

    cycle = number // CLEANING_FRAMES
    if number < cleaned_at(cycle):
        cycle -= 1
    elif number >= cleaned_at(cycle + 1):
        cycle += 1
    start, end = cleaned_at(cycle), cleaned_at(cycle + 1)
    return cycle, (number - start) / (end - start)


@lru_cache(maxsize=12)
def _lens(scene: Scene, index: int) -> tuple[Plane, Plane]:
    """Draw the spots of one cycle: when each pixel gets dirty, in [0, 1], and what share of the light it then loses."""
    rng = scene.stream("lens", index)
    height, width = scene.shape
    onset = np.ones((height, width), dtype=np.float32)
    depth = np.zeros((height, width), dtype=np.float32)
    for born in np.sort(rng.uniform(0.1, 0.92, int(rng.integers(16, 30))))[::-1]:
        radius = scene.px(rng.lognormal(2.0, 0.55))
        inside = blob(rng, max(radius, 1.5), max(radius, 1.5) * rng.uniform(0.8, 1.2), rough=0.2)
        # Out of focus: the edge of a spot on the lens is as wide as the spot.
        soft = np.clip(inside * np.float32(1.2), 0, 1) * np.float32(rng.uniform(0.05, 0.2))
        row = int(rng.integers(-inside.shape[0] // 2, height))
        column = int(rng.integers(-inside.shape[1] // 2, width))
        top, left = max(0, row), max(0, column)
        bottom, right = min(height, row + soft.shape[0]), min(width, column + soft.shape[1])
        if bottom <= top or right <= left:
            continue
        here = np.s_[top:bottom, left:right]
        spot = soft[top - row : bottom - row, left - column : right - column]
        deeper = spot > depth[here]
        depth[here][deeper] = spot[deeper]
        onset[here][deeper] = born
    onset.flags.writeable = False
    depth.flags.writeable = False
    return onset, depth


@lru_cache(maxsize=4)
def _noise_bank(pixels: int) -> Plane:
    """Draw the bank of sensor noise; it belongs to no line, only the places read from it do."""
    bank = stream("noise bank", pixels).standard_normal(pixels + _BANK_SLACK, dtype=np.float32)
    bank *= np.float32(_NOISE_GREY / math.sqrt(2))
    bank.flags.writeable = False
    return bank


@lru_cache(maxsize=8)
def _sensor(scene: Scene) -> Plane:
    """Draw the fixed pattern of the sensor: each of its pixels is slightly too bright or too dark, ``(h, 1)``."""
    gains = 1 + scene.stream("sensor").normal(0, 0.004, (scene.height_px, 1))
    return gains.astype(np.float32)


def _light(scene: Scene, number: int) -> tuple[float, Plane, Plane]:
    """Return the strip's mean grey and the light across ``(h, 1)`` and along ``(1, w)`` it at one frame."""
    rng = scene.stream("light")
    height, width = scene.shape
    grey, lamp = rng.uniform(112, 138), rng.uniform(-0.3, 0.3)
    lean, bow = rng.uniform(-0.07, 0.07), rng.uniform(0.1, 0.2)
    phases = rng.uniform(0, 2 * math.pi, 4)
    slow = [math.sin(number / period + phase) for period, phase in zip((480, 1700, 900, 2600), phases, strict=True)]
    grey *= 1 + 0.035 * slow[0] + 0.06 * slow[1]
    rows, columns = axes(height, width)
    across = 1 + bow / 2 - bow * (2 * rows / height - np.float32(lamp + 0.15 * slow[2])) ** 2
    # The strip rounds off at its two edges, the first and the last rows.
    edge_px = max(2.0, scene.px(9))
    from_edge = (np.float32(height / 2) - np.abs(rows)) / np.float32(edge_px)
    across *= 1 - np.float32(0.16) * np.exp(-from_edge)
    along = 1 + (lean + 0.03 * slow[3]) * (2 * columns / width)
    return grey, across.astype(np.float32), along.astype(np.float32)


def expose(strip: Plane, scene: Scene, number: int) -> NDArray[np.uint8]:
    """Turn the strip into what the camera delivers; uses up ``strip``."""
    rng = scene.stream("exposure", number)
    grey, across, along = _light(scene, number)
    cycle, level = dirt_level(scene, number)
    veil = _VEIL * level
    flicker = rng.normal(1, 0.003)
    strip += np.float32(grey)
    strip *= across * _sensor(scene) * np.float32(flicker * (1 - veil))
    strip *= along
    lens_rng = scene.stream("cycle", cycle)
    onset, depth = _lens(scene, int(lens_rng.integers(_LENSES)))
    flips = int(lens_rng.integers(4))
    turn = np.s_[:: -1 if flips & 1 else 1, :: -1 if flips & 2 else 1]
    # A spot darkens over the eighth of a cycle after its onset.
    loss = np.float32(level) - onset[turn]
    loss *= 8
    np.clip(loss, 0, 1, out=loss)
    loss *= depth[turn]
    np.subtract(1, loss, out=loss)
    strip *= loss
    bank = _noise_bank(strip.size)
    first, second = (int(at) for at in rng.integers(0, _BANK_SLACK, 2))
    strip += bank[first : first + strip.size].reshape(strip.shape)
    strip += bank[second : second + strip.size].reshape(strip.shape)
    strip += np.float32(veil * _VEIL_GREY + 0.5)
    np.clip(strip, 0, 255, out=strip)
    return strip.astype(np.uint8)
