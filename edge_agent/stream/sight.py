"""Whether a camera sees clearly: frames that are dark or blurred, and dirt that stays where it is.

A frame is compared with what its camera usually shows, so nothing is tuned to a plant: its brightness, its
sharpness along both axes, and the picture that stays when the strip has moved on. Dirt shows in that picture as
spots darker than in the cleanest picture so far; light and edges, which vary along whole rows and columns, are
taken out. What the camera has shown from the first frame on cannot be told from its view.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final, Literal, Self

import numpy as np
from numpy.typing import NDArray

from edge_agent.stream.gate import Mask
from shared.config import SightTable
from shared.geometry import Image

Plane = NDArray[np.float32]
#: dark: far below the usual brightness · blurred: far below the usual sharpness · dirty: spots that stay.
Fault = Literal["dark", "blurred", "dirty"]
FAULTS: Final[tuple[Fault, ...]] = ("dark", "blurred", "dirty")

#: Frames after which a camera's usual brightness and sharpness count, and the picture that stays.
_KNOWN_AFTER: Final = 20
_PICTURE_AFTER: Final = 128
#: What is usual follows a change within about this many frames; a faulty frame counts a twentieth of that, so that
#: another product is usual after a while.
_USUAL_FRAMES: Final = 500
_FAULTY_WEIGHT: Final = 0.05
#: A picture below this grey is dark whatever is usual.
_BLACK_GREY: Final = 8.0
#: Sharpness is measured on at most this many blocks of this side.
_BLOCKS: Final = 6
_BLOCK_PX: Final = 64
#: Three halved pixels along each axis are the least that a bend of brightness is measured on.
_LEAST_PX: Final = 6
#: Cells along the longer side, the least they measure, and how far around a cell its surroundings reach.
_CELLS: Final = 64
_CELL_PX: Final = 4
_AROUND: Final = 8
#: The picture that stays is an average over about this many frames.
_PICTURE_FRAMES: Final = 128
#: How much darker than in the cleanest picture a spot is, at least, and in terms of what the picture varies by.
_SPOT_DEPTH: Final = 0.03
_SPOT_DEVIATIONS: Final = 6.0
#: The median of absolute values, of a normal deviation.
_MEDIAN_OF_NORMAL: Final = 0.6745
#: How fast a cleaned lens is taken for the clean one.
_CLEANED: Final = 0.01
#: A line that stands still shows one picture for ever; a frame that differs less than this from the one so many
#: before or after it, relative to what is usual, says nothing of dirt. Some that differ much more: it had stood still.
_LAG: Final = 16
_STANDING: Final = 0.5
_MOVING: Final = 2.5
_LEAPS: Final = 3
#: So few cells are a stain on the strip that comes again, for all that can be told.
_LEAST_CELLS: Final = 7
#: This many cells in a row are no spot.
_STREAK_CELLS: Final = 4
#: The share of a patch that may be dirty.
_PATCH_SHARE: Final = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """What one frame says of its camera."""

    faults: tuple[Fault, ...]
    #: Brightness and sharpness as shares of what is usual; 1 while nothing is.
    level: float
    sharpness: float
    #: The share of the view that is dirty.
    dirt: float
    #: By cell, where there is dirt; None while too little was seen.
    spots: Mask | None

    def unclear(self, shape: tuple[int, int], frame_px: tuple[int, int], patch_px: int) -> Mask | None:
        """Say which patches show too little, row by row; None when all are clear.

        Args:
            shape: Rows and columns of patches.
            frame_px: The frame's height and width.
            patch_px: A patch's side.
        """
        rows, cols = shape
        if "dark" in self.faults or "blurred" in self.faults:
            return np.ones(rows * cols, dtype=np.bool_)
        if "dirty" not in self.faults or self.spots is None:
            return None
        high, wide = self.spots.shape
        at_row = np.minimum(((np.arange(high) + 0.5) * frame_px[0] / high // patch_px).astype(int), rows - 1)
        at_col = np.minimum(((np.arange(wide) + 0.5) * frame_px[1] / wide // patch_px).astype(int), cols - 1)
        index = at_row[:, None] * cols + at_col[None, :]
        dirty = np.bincount(index.ravel(), weights=self.spots.ravel(), minlength=rows * cols)
        cells = np.bincount(index.ravel(), minlength=rows * cols)
        covered: Mask = dirty > _PATCH_SHARE * cells
        return covered


@dataclass(slots=True)
class Usual:
    """A number that a camera usually shows: an average of logarithms."""

    value: float = 0.0
    seen: int = 0

    @property
    def is_known(self) -> bool:
        """Whether enough was seen to call anything usual."""
        return self.seen >= _KNOWN_AFTER

    def share(self, value: float) -> float:
        """How much of the usual a value is."""
        return value / self.value if self.is_known and self.value > 0.0 else 1.0

    def note(self, value: float, *, faulty: bool) -> None:
        """Take a frame in."""
        self.seen += 1
        weight = max(1.0 / self.seen, 1.0 / _USUAL_FRAMES) * (_FAULTY_WEIGHT if faulty else 1.0)
        self.value = value if self.seen == 1 else self.value ** (1.0 - weight) * max(value, 1e-9) ** weight


@dataclass(slots=True, eq=False)
class Standing:
    """The picture that stays when what moves has moved on, and the cleanest it has been."""

    seen: int
    picture: Plane
    clean: Plane | None
    recent: deque[Plane]
    #: How much two frames that far apart usually differ.
    motion: float = 0.0
    leaps: int = 0

    @classmethod
    def begin(cls, cells: Plane) -> Self:
        """Start with one frame's cells."""
        return cls(seen=0, picture=np.zeros_like(cells), clean=None, recent=deque([cells], maxlen=2 * _LAG + 1))

    def note(self, cells: Plane) -> bool:
        """Take a frame in; False when the line had stood still until here, and everything is to begin anew.

        A frame counts once it is known to differ from those before and after it.
        """
        self.recent.append(cells)
        if len(self.recent) <= 2 * _LAG:
            return True
        middle = self.recent[_LAG]
        earlier, later = (float(np.abs(middle - other).mean()) for other in (self.recent[0], cells))
        is_known = self.seen > _LAG
        if is_known and min(earlier, later) < _STANDING * self.motion:
            return True
        self.leaps = self.leaps + 1 if is_known and later > _MOVING * self.motion else 0
        if self.leaps >= _LEAPS:
            return False
        self.seen += 1
        weight = max(1.0 / self.seen, 1.0 / _PICTURE_FRAMES)
        self.motion += weight * (later - self.motion)
        self.picture += np.float32(weight) * (middle - self.picture)
        if self.clean is not None:
            self.clean += np.float32(_CLEANED) * np.maximum(self.picture - self.clean, np.float32(0.0))
        elif self.seen >= _PICTURE_AFTER:
            self.clean = self.picture.copy()
        return True

    def spots(self) -> Mask | None:
        """Say which cells are darker than they were in the cleanest picture."""
        if self.clean is None or self.seen < _PICTURE_AFTER:
            return None
        loss = self.clean - self.picture
        loss -= np.median(loss, axis=1, keepdims=True)
        loss -= np.median(loss, axis=0, keepdims=True)
        deviation = float(np.median(np.abs(loss))) / _MEDIAN_OF_NORMAL
        return _without_streaks(loss > max(_SPOT_DEPTH, _SPOT_DEVIATIONS * deviation))


class Sight:
    """One camera's eye for itself."""

    def __init__(self, table: SightTable) -> None:
        self._table = table
        self._recipe: str | None = None
        self.level = Usual()
        self.sharpness = (Usual(), Usual())
        self.standing: Standing | None = None

    def look(self, image: Image, *, recipe: str | None = None) -> Glance:
        """Say what a frame tells of its camera, and remember it. Another recipe is another picture: all begins anew.

        A frame too small or too thin to be measured tells nothing, and is not remembered.
        """
        if not _is_measurable(*image.shape[:2]):
            return Glance((), level=1.0, sharpness=1.0, dirt=0.0, spots=None)
        if recipe != self._recipe:
            self._recipe = recipe
            self._forget()
        blocks = _blocks(image)
        grey = float(blocks.mean())
        sharp = _sharpness(blocks, grey)
        level = self.level.share(grey)
        sharpness = min(usual.share(value) for usual, value in zip(self.sharpness, sharp, strict=True))
        faults: list[Fault] = []
        if self._table.dark > 0.0 and (level < self._table.dark or grey < _BLACK_GREY):
            faults.append("dark")
        # A dark picture has no edges to be sharp.
        elif sharpness < self._table.blurred:
            faults.append("blurred")
        self.level.note(grey, faulty=bool(faults))
        for usual, value in zip(self.sharpness, sharp, strict=True):
            usual.note(value, faulty=bool(faults))
        spots = self._look_for_dirt(image, faulty=bool(faults))
        dirt = 0.0 if spots is None else float(spots.mean())
        if (
            spots is not None
            and self._table.dirty > 0.0
            and spots.sum() > max(_LEAST_CELLS, self._table.dirty * spots.size)
        ):
            faults.append("dirty")
        return Glance(tuple(faults), level, sharpness, dirt, spots)

    def _look_for_dirt(self, image: Image, *, faulty: bool) -> Mask | None:
        height, width = image.shape[:2]
        side = _cell_px(height, width)
        if min(height, width) // side < 2 * _AROUND:
            return None
        cells = _cells(image, side)
        standing = self.standing
        if standing is None or standing.picture.shape != cells.shape or (not faulty and not standing.note(cells)):
            standing = self.standing = Standing.begin(cells)
        return standing.spots()

    def _forget(self) -> None:
        self.level = Usual()
        self.sharpness = (Usual(), Usual())
        self.standing = None


class Alarm:
    """Which faults a person should see to: raised when frames in a row show them, cleared when many do not."""

    RAISE_AFTER: Final = 3
    CLEAR_AFTER: Final = 30

    def __init__(self) -> None:
        self.raised: tuple[Fault, ...] = ()
        self._showing = dict.fromkeys(FAULTS, 0)
        self._absent = dict.fromkeys(FAULTS, 0)

    def note(self, faults: tuple[Fault, ...]) -> bool:
        """Take one frame's faults in, and say whether what is raised has changed."""
        before = self.raised
        for fault in FAULTS:
            self._showing[fault] = self._showing[fault] + 1 if fault in faults else 0
            self._absent[fault] = 0 if fault in faults else self._absent[fault] + 1
        self.raised = tuple(
            fault
            for fault in FAULTS
            if self._showing[fault] >= self.RAISE_AFTER or (fault in before and self._absent[fault] < self.CLEAR_AFTER)
        )
        return self.raised != before


def _is_small(height: int, width: int) -> bool:
    """Whether a frame is measured whole, not by its blocks."""
    return height * width <= (_BLOCKS * _BLOCK_PX) ** 2


def _is_measurable(height: int, width: int) -> bool:
    """Whether a frame has room for what it is measured on."""
    return min(height, width) >= (_LEAST_PX if _is_small(height, width) else _BLOCK_PX)


def _blocks(image: Image) -> Plane:
    """Cut evenly spaced blocks out of a frame, in halves: ``(n, side / 2, side / 2)``, or the frame itself if it is small."""
    height, width = image.shape[:2]
    if _is_small(height, width):
        return _halved(image[None, : height // 2 * 2, : width // 2 * 2])
    tops = np.linspace(0, height - _BLOCK_PX, min(_BLOCKS, height // _BLOCK_PX)).astype(int)
    lefts = np.linspace(0, width - _BLOCK_PX, min(_BLOCKS, width // _BLOCK_PX)).astype(int)
    return _halved(np.stack([image[top : top + _BLOCK_PX, left : left + _BLOCK_PX] for top in tops for left in lefts]))


def _halved(blocks: Image) -> Plane:
    """Average 2 x 2 pixels and the channels: the sensor's noise would pass for sharpness."""
    # Sums of whole planes are several times faster than a mean over many short axes.
    grey = _summed(blocks)
    rows = grey[:, ::2] + grey[:, 1::2]
    halved: Plane = (rows[:, :, ::2] + rows[:, :, 1::2]) * np.float32(1.0 / (4 * blocks.shape[-1]))
    return halved


def _summed(image: Image) -> NDArray[np.uint16]:
    """Add the channels up: the last axis goes."""
    total = image[..., 0].astype(np.uint16)
    for channel in range(1, image.shape[-1]):
        total += image[..., channel]
    return total


def _sharpness(blocks: Plane, grey: float) -> tuple[float, float]:
    """Measure the bends of brightness down and across, relative to the brightness."""
    down = blocks[:, 2:] - 2 * blocks[:, 1:-1] + blocks[:, :-2]
    across = blocks[:, :, 2:] - 2 * blocks[:, :, 1:-1] + blocks[:, :, :-2]
    scale = max(grey, 1.0) ** 2
    return float(np.square(down).mean()) / scale, float(np.square(across).mean()) / scale


def _without_streaks(cells: Mask) -> Mask:
    """Leave out rows and columns of single cells: a streak on the strip may stay for hundreds of frames too."""
    streaks = _opened(cells, 1, _STREAK_CELLS) | _opened(cells, _STREAK_CELLS, 1)
    kept: Mask = cells & (~streaks | _opened(cells, 2, 2))
    return kept


def _opened(cells: Mask, high: int, wide: int) -> Mask:
    """Keep the cells that lie in a full rectangle of this size."""
    rows, cols = cells.shape[0] - high + 1, cells.shape[1] - wide + 1
    whole = np.ones((rows, cols), dtype=np.bool_)
    kept = np.zeros_like(cells)
    places = [np.s_[y : y + rows, x : x + cols] for y in range(high) for x in range(wide)]
    for place in places:
        whole &= cells[place]
    for place in places:
        kept[place] |= whole
    return kept


def _cell_px(height: int, width: int) -> int:
    """Return the side of a frame's cells."""
    return max(_CELL_PX, -(-max(height, width) // _CELLS))


def _cells(image: Image, side: int) -> Plane:
    """Average a frame in cells of this side, each relative to what is around it."""
    height, width = image.shape[:2]
    rows, cols = height // side, width // side
    # Of large cells, every so many-th pixel is enough.
    step = max(1, side // 4)
    cut = image[: rows * side, : cols * side].reshape(rows, side, cols, side, -1)
    places = range(0, side, step)
    total = np.zeros((rows, cols), dtype=np.float32)
    for row in places:
        band = np.zeros((rows, cols), dtype=np.uint32)
        for col in places:
            band += _summed(cut[:, row, :, col])
        total += band
    grey = total / np.float32(len(places) ** 2 * image.shape[-1])
    padded = np.pad(grey, ((_AROUND + 1, _AROUND), (_AROUND + 1, _AROUND)), mode="edge")
    sums = padded.cumsum(axis=0, dtype=np.float64).cumsum(axis=1)
    span = 2 * _AROUND + 1
    around = (sums[span:, span:] - sums[:-span, span:] - sums[span:, :-span] + sums[:-span, :-span]) / span**2
    relative: Plane = (grey / np.maximum(around, 1.0) - 1.0).astype(np.float32)
    return relative
