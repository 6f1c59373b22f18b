"""The rolled texture of the strip: grain drawn out in the rolling direction (the columns), worn and slipping slowly.

The camera is triggered once per turn of the work roll, so successive frames show the same imprint: that is why
neighbours are nearly identical. The imprint slips about a pixel per frame and wears into another one within
``WEAR_FRAMES``. Imprints come from a small pool, so that any frame number is reached without drawing those before it.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shared.steel_line.scene import Scene
from shared.steel_line.shapes import Plane

WEAR_FRAMES = 900
IMPRINTS = 6

# (share, correlation across the strip, along it) in design pixels: fine grain, rolling lines, mottle, roughness.
_GRAIN = ((2.6, 0.75, 7.0), (2.0, 0.8, 42.0), (1.5, 3.0, 120.0), (1.6, 22.0, 46.0), (1.5, 0.6, 0.6))


def _filtered(white: NDArray[np.complex128], shape: tuple[int, int], power: NDArray[np.float64]) -> Plane:
    """Colour white noise by a power spectrum."""
    power[0, 0] = 0.0
    coloured: NDArray[np.float64] = np.fft.irfft2(white * np.sqrt(power), s=shape)
    return coloured.astype(np.float32)


def _power(shape: tuple[int, int], across_px: float, along_px: float) -> NDArray[np.float64]:
    """Return the power spectrum of unit variance white noise blurred by a Gaussian, scaled back to unit variance."""
    height, width = shape
    down = np.exp(-((2 * math.pi * max(across_px, 0.45) * np.fft.fftfreq(height)) ** 2))[:, None]
    along = np.exp(-((2 * math.pi * max(along_px, 0.45) * np.fft.rfftfreq(width)) ** 2))[None, :]
    power: NDArray[np.float64] = down * along
    both_sides = 2 * power.sum() - power[:, 0].sum()
    power *= height * width / both_sides
    return power


@lru_cache(maxsize=36)
def _imprint(scene: Scene, index: int) -> Plane:
    """Draw one imprint of the roll, ``(h, w)``, periodic on both sides, in grey levels around zero."""
    rng = scene.stream("imprint", index)
    shape, width, scale = scene.shape, scene.width_px, scene.scale
    white = np.fft.rfft2(rng.standard_normal(shape))
    taste = rng.uniform(0.75, 1.25, len(_GRAIN))
    power = np.zeros_like(white, dtype=np.float64)
    for (grey, across, along), weight in zip(_GRAIN, taste, strict=True):
        power += (grey * weight) ** 2 * _power(shape, across * scale, along * scale)
    grain = _filtered(white, shape, power)
    # Few polishing lines stand out of the many: a cube makes the tails heavy, as on ground steel.
    lines = _filtered(np.fft.rfft2(rng.standard_normal(shape)), shape, _power(shape, 0.7 * scale, 70 * scale))
    grain += np.float32(0.55 * taste[0]) * np.clip(lines, -2.6, 2.6) ** 3
    if rng.random() < 0.5:
        # The faint mark of a roll slightly out of round: harmless, and what chatter is confused with.
        turns = max(2, round(width / (rng.uniform(38, 70) * scale)))
        phase = 2 * math.pi * turns * np.arange(width) / width + rng.uniform(0, 6)
        grain += (rng.uniform(0.5, 1.4) * np.sin(phase)).astype(np.float32)
    grain.flags.writeable = False
    return grain


def _epoch(scene: Scene, epoch: int) -> Plane:
    """Return the imprint of one epoch, mirrored so that the pool gives four times as many."""
    rng = scene.stream("epoch", epoch)
    # Neighbouring epochs never share an imprint: half of the pool serves the even ones, half the odd ones.
    index = 2 * int(rng.integers(IMPRINTS // 2)) + epoch % 2
    drawn = _imprint(scene, index)
    flips = int(rng.integers(4))
    return drawn[:: -1 if flips & 1 else 1, :: -1 if flips & 2 else 1]


def strip_texture(scene: Scene, number: int) -> Plane:
    """Draw the clean strip of one frame, ``(h, w)``, in grey levels around zero."""
    epoch, step = divmod(number, WEAR_FRAMES)
    angle = math.pi / 2 * step / WEAR_FRAMES
    old = _epoch(scene, epoch)
    fresh = _epoch(scene, epoch + 1)
    # Cosine and sine keep the variance while one imprint fades into the other.
    worn = old * np.float32(math.cos(angle))
    worn += fresh * np.float32(math.sin(angle))
    slip = int(scene.px(number * 0.9 + 5 * math.sin(number / 61))) % scene.width_px
    return np.concatenate((worn[:, slip:], worn[:, :slip]), axis=1) if slip else worn
