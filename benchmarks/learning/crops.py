"""Crops to measure on: of the simulated steel line, or cut from a folder of images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.errors import InputError
from shared.files import read_bounded
from shared.geometry import Image
from shared.images import decode_image
from shared.steel_line import SteelLine

CLASSES: Final = 9
_SUFFIXES: Final = (".bmp", ".jpeg", ".jpg", ".png")
_LIMIT: Final = 256 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Crops:
    """Grey images ``(n, h, w, 1)``, and masks of which the middle quarter is labelled as a patch in its margin is."""

    images: Image
    masks: NDArray[np.uint8]


def read_crops(data: Path | None, *, count: int, side_px: int) -> Crops:
    """Cut crops by lot, the same each time."""
    rng = np.random.default_rng(1)
    frames = _made() if data is None else _read(data, side_px)
    images = np.empty((count, side_px, side_px, 1), dtype=np.uint8)
    masks = np.full((count, side_px, side_px), 255, dtype=np.uint8)
    inner = slice(side_px // 4, side_px - side_px // 4)
    for number in range(count):
        frame, mask = frames[int(rng.integers(len(frames)))]
        top, left = (int(rng.integers(0, side - side_px + 1)) for side in frame.shape[:2])
        images[number] = frame[top : top + side_px, left : left + side_px]
        masks[number, inner, inner] = mask[top : top + side_px, left : left + side_px][inner, inner]
    return Crops(images, masks)


def _made() -> list[tuple[Image, NDArray[np.uint8]]]:
    line = SteelLine(3, "bench", height_px=256, width_px=256, scale=0.5)
    return [(frame.image[..., None], frame.mask) for frame in map(line.frame, range(8))]


def _read(data: Path, side_px: int) -> list[tuple[Image, NDArray[np.uint8]]]:
    """Read images that are large enough; their labels do not matter to a time, so each tells grey from dark."""
    found = []
    for path in sorted(path for path in data.rglob("*") if path.suffix.lower() in _SUFFIXES)[:64]:
        image = decode_image(read_bounded(path, limit=_LIMIT), channels=1, what=str(path))
        if min(image.shape[:2]) >= side_px:
            found.append((image, (image[..., 0] > image.mean()).astype(np.uint8)))
    if not found:
        raise InputError(f"{data}: no image of at least {side_px} px; expected {', '.join(_SUFFIXES)}")
    return found
