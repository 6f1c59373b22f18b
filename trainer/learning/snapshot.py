"""A snapshot: a frozen set of labelled crops, named by its content. Where learning meets the pool."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.config import LineConfig
from shared.errors import StateError
from shared.geometry import Image
from trainer.pool.pool import Pool
from trainer.pool.records import Purpose


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """Labelled crops in the order they were labelled."""

    #: The sha256 over ids and masks: the same labels give the same id.
    id: str
    ids: tuple[str, ...]
    #: ``(n, crop_px, crop_px, c)``.
    crops: Image
    #: ``(n, crop_px, crop_px)``, 255 where nothing is supervised.
    masks: NDArray[np.uint8]


def freeze(pool: Pool, line: LineConfig, *, purposes: Sequence[Purpose] = ("seed", "train")) -> Snapshot:
    """Freeze a line's labelled crops: what is trained on, or with ``("reference",)`` what judges."""
    ids = [name for purpose in purposes for name in pool.labelled(line.line, purpose)]
    side = line.grid.crop_px
    crops = np.empty((len(ids), side, side, line.grid.channels), dtype=np.uint8)
    masks = np.empty((len(ids), side, side), dtype=np.uint8)
    digest = hashlib.sha256()
    pairs = zip(pool.crops(ids, channels=line.grid.channels), pool.masks(ids), strict=True)
    for index, ((name, crop), (_, mask)) in enumerate(pairs):
        if crop.shape[:2] != (side, side) or mask.shape != (side, side):
            raise StateError(
                f'candidate {name}: crop {crop.shape[:2]}, mask {mask.shape}; crops of line "{line.line}" are {side} px'
            )
        crops[index], masks[index] = crop, mask
        digest.update(name.encode() + b"\0" + mask.tobytes())
    return Snapshot(id=digest.hexdigest(), ids=tuple(ids), crops=crops, masks=masks)
