"""Labelled samples of a simulated line without a pool: crops as they would have travelled, with the truth of their patch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.config import LineConfig
from shared.geometry import Image, Patch
from shared.images import decode_image, encode_image
from shared.simulated import simulated_camera
from shared.steel_line import SteelFrame, SteelLine
from trainer.labelling.masks import truth_mask

#: Far from every seed that a line's cameras may have.
VALIDATION_SEED_STEP: Final = 1_000_003
#: How many planted patches of each class the validation set holds, and how many patches by lot.
PER_CLASS: Final = 12
BY_LOT: Final = 72

Masks: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Crops ``(n, crop_px, crop_px, c)`` and masks ``(n, crop_px, crop_px)``, 255 outside the patch."""

    crops: Image
    masks: Masks


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """One patch of everything that a line's cameras have seen."""

    node: str
    camera: str
    frame: int
    row: int
    col: int


def cut(line: LineConfig, frame: SteelFrame, patch: Patch) -> tuple[Image, Masks]:
    """Cut a patch with its margin out of a frame, through the line's own crop format, and its truth."""
    data = encode_image(line.grid.crop(frame.image, patch), form=line.crop.format, quality=line.crop.quality)
    crop = decode_image(data, what="crop", channels=line.grid.channels)
    return crop, truth_mask(line.grid, frame.mask, patch)


def samples_at(line: LineConfig, places: Sequence[Place]) -> Samples:
    """Return the labelled samples at some places of the stream, in the order asked."""

    @lru_cache(maxsize=64)
    def camera(node: str, name: str) -> SteelLine:
        return simulated_camera(line, node=node, camera=name)

    pairs = [
        cut(line, camera(place.node, place.camera).frame(place.frame), Patch(place.row, place.col)) for place in places
    ]
    return _stacked(line, pairs)


def validation_set(line: LineConfig) -> Samples:
    """Draw the line's validation set: planted patches of every class and patches by lot, on a strip no camera sees."""
    simulator = line.simulator
    assert simulator is not None
    elsewhere = msgspec.structs.replace(
        line, simulator=msgspec.structs.replace(simulator, seed=simulator.seed + VALIDATION_SEED_STEP)
    )
    strip = simulated_camera(elsewhere, node="validation", camera="validation")
    rng = np.random.default_rng(simulator.seed + VALIDATION_SEED_STEP)
    patches = list(line.grid.patches(simulator.height_px, simulator.width_px))
    pairs = []
    # Frames far apart, so that light, dirt and texture drift through the whole set.
    numbers = iter(rng.permutation(100 * (PER_CLASS * len(line.classes) + BY_LOT)).tolist())
    for value, name in enumerate(line.class_names[1:], start=1):
        pairs += [_planted(line, strip.planted(next(numbers), name), patches, value) for _ in range(PER_CLASS)]
    for _ in range(BY_LOT):
        pairs.append(cut(line, strip.frame(next(numbers)), patches[rng.integers(len(patches))]))
    return _stacked(line, pairs)


def _planted(line: LineConfig, frame: SteelFrame, patches: Sequence[Patch], value: int) -> tuple[Image, Masks]:
    """Cut the patch that holds most of the planted class."""
    best = max(patches, key=lambda patch: int((truth_mask(line.grid, frame.mask, patch) == value).sum()))
    return cut(line, frame, best)


def _stacked(line: LineConfig, pairs: Sequence[tuple[Image, Masks]]) -> Samples:
    side = line.grid.crop_px
    if not pairs:
        return Samples(
            np.zeros((0, side, side, line.grid.channels), dtype=np.uint8), np.zeros((0, side, side), dtype=np.uint8)
        )
    return Samples(np.stack([crop for crop, _ in pairs]), np.stack([mask for _, mask in pairs]))
