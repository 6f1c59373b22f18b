"""The simulated steel line as a data set: a redundant stream with a long tail to learn from, planted frames to measure on.

The training split is what one camera sees, frame after frame: most of it clean strip, eight defects from three in ten
frames to one in forty. ``val`` and ``test`` hold every class equally often, each on frames
of its own that lie far from the stream and from each other; measured is a window around the planted defect, for a whole
frame would tell of clean strip alone. No file is read: a frame is a pure function of its
number.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.geometry import Image
from shared.identity import sha256_hex
from shared.steel_line import SteelFrame, SteelLine
from trainer.experiment.datasets.dataset import DataSet, Division, Request, Split, assemble
from trainer.labelling.masks import IGNORE

#: How many frames the camera has seen.
STREAM_FRAMES: Final = 600
#: The defects, and how many are expected a frame: more than the line has, for a study cannot wait for a million frames.
RATES: Final = {
    "scratch": 0.30,
    "rolled-in-scale": 0.225,
    "inclusion": 0.15,
    "pitting": 0.11,
    "oil-spot": 0.075,
    "dent": 0.05,
    "crack": 0.035,
    "hole": 0.025,
}
#: Frames with a planted defect, for each class, in each measured split.
PLANTED: Final = 15
DEFAULT_PX: Final = 256
_DESIGN_PX: Final = 512
#: Frames of neighbouring numbers look alike; the measured ones lie this far apart.
_APART: Final = 997
_FIRST: Final[dict[Split, int]] = {"val": 1_000_000, "test": 2_000_000}


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame of the set: its number, and the defect planted on it."""

    number: int
    planted: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SteelLineSource:
    """Frames by item."""

    line: SteelLine
    shots: tuple[Shot, ...]
    size_px: tuple[int, int]

    def origin(self, item: int) -> str:
        shot = self.shots[item]
        return f"steel_line frame {shot.number}" + ("" if shot.planted is None else f" with {shot.planted}")

    def size(self, item: int) -> tuple[int, int]:  # noqa: ARG002  # all frames have one size
        return self.size_px

    def image(self, item: int) -> Image:
        return self._frame(item).image[..., None]

    def truth(self, item: int) -> NDArray[np.uint8]:
        shot, mask = self.shots[item], self._frame(item).mask
        return mask if shot.planted is None else _windowed(mask, self.line.frame(shot.number).mask)

    def _frame(self, item: int) -> SteelFrame:
        shot = self.shots[item]
        return self.line.frame(shot.number) if shot.planted is None else self.line.planted(shot.number, shot.planted)


def load_steel_line(request: Request) -> DataSet:
    """Open the simulated line; ``size_px`` sets what a frame is drawn at, a field of view of 512 design pixels."""
    height, width = request.size_px or (DEFAULT_PX, DEFAULT_PX)
    names = tuple(RATES)
    line = SteelLine(
        request.seed,
        "study",
        height_px=height,
        width_px=width,
        classes=names,
        scale=width / _DESIGN_PX,
        rates=RATES,
    )
    shots = [Shot(number) for number in range(STREAM_FRAMES)]
    parts: dict[Split, tuple[int, ...]] = {"train": tuple(range(STREAM_FRAMES))}
    for split, first in _FIRST.items():
        planted = [Shot(first + _APART * turn, names[turn % len(names)]) for turn in range(PLANTED * len(names))]
        parts[split] = tuple(range(len(shots), len(shots) + len(planted)))
        shots += planted
    return assemble(
        request,
        SteelLineSource(line, tuple(shots), (height, width)),
        task="segmentation",
        classes=("background", *names),
        channels=1,
        contents=[sha256_hex(f"{height}x{width}/{shot.number}/{shot.planted}".encode()) for shot in shots],
        division=Division("seeded", parts),
    )


def _windowed(mask: NDArray[np.uint8], before: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep the truth of a window around what was planted, half a frame a side, and ignore the rest."""
    rows, columns = np.nonzero(mask != before)
    known = np.full_like(mask, IGNORE)
    if not len(rows):
        return known
    window = tuple(
        slice(
            start := min(max(0, (int(at.min()) + int(at.max())) // 2 - size // 4), size - size // 2), start + size // 2
        )
        for at, size in zip((rows, columns), mask.shape, strict=True)
    )
    known[window] = mask[window]
    return known
