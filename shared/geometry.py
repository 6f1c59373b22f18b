"""Frames, tiles and patches: who owns which pixels.

A frame is covered by patches of ``patch_px``; the last row and column may reach past the frame, where the
image is continued by reflection and nothing is supervised. A tile is the fixed square that the task graph
eats: its interior holds a whole number of patches, ``margin_px`` of context lies around it. Every patch has
exactly one owner tile, and only a tile's interior is scored.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError

Image: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Patch:
    """One unit of selection and labelling: its place in the frame's patch grid."""

    row: int
    col: int


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """The sizes that the graphs, the node and the trainer share for one line."""

    tile_px: int
    patch_px: int
    margin_px: int
    cell_px: int
    channels: int = 1

    def __post_init__(self) -> None:
        if min(self.tile_px, self.patch_px, self.cell_px) < 8 or self.margin_px < 0 or self.tile_px > 8192:
            raise ConfigError(f"geometry: {self} has a size outside 8 to 8192 px; correct line.toml")
        if self.channels not in {1, 3}:
            raise ConfigError(f"geometry: {self.channels} channels; expected 1 (grey) or 3 (RGB)")
        if self.patch_px % self.cell_px:
            raise ConfigError(f"geometry: patch_px {self.patch_px} is not a multiple of cell_px {self.cell_px}")
        if self.tile_px % 32 or self.crop_px % 32:
            # The encoders halve five times; any other size would be padded differently on node and trainer.
            raise ConfigError(
                f"geometry: tile_px {self.tile_px} and crop (patch_px + 2 margin_px) {self.crop_px} must be multiples of 32"
            )
        if self.patches_per_side < 1:
            raise ConfigError(
                f"geometry: tile_px {self.tile_px} holds no patch of {self.patch_px} px with margin {self.margin_px}"
            )

    @property
    def patches_per_side(self) -> int:
        """How many patches a tile's interior holds along one side."""
        return (self.tile_px - 2 * self.margin_px) // self.patch_px

    @property
    def inset_px(self) -> int:
        """Where a tile's first patch begins: at least the margin, the same on both sides as near as may be."""
        return (self.tile_px - self.patches_per_side * self.patch_px) // 2

    @property
    def crop_px(self) -> int:
        """The side of a crop: a patch and its margin."""
        return self.patch_px + 2 * self.margin_px

    def as_crop(self) -> "PatchGrid":
        """Return the same line's grid for a tile that is one crop: what training and re-scoring use."""
        return PatchGrid(
            tile_px=self.crop_px,
            patch_px=self.patch_px,
            margin_px=self.margin_px,
            cell_px=self.cell_px,
            channels=self.channels,
        )

    def patch_shape(self, height_px: int, width_px: int) -> tuple[int, int]:
        """How many patch rows and columns cover a frame."""
        return -(-height_px // self.patch_px), -(-width_px // self.patch_px)

    def patches(self, height_px: int, width_px: int) -> Iterator[Patch]:
        """Walk a frame's patches row by row."""
        rows, cols = self.patch_shape(height_px, width_px)
        return (Patch(row, col) for row in range(rows) for col in range(cols))

    def tile_shape(self, height_px: int, width_px: int) -> tuple[int, int]:
        """How many tile rows and columns own a frame's patches."""
        rows, cols = self.patch_shape(height_px, width_px)
        return -(-rows // self.patches_per_side), -(-cols // self.patches_per_side)

    def tiles(self, frame: Image) -> Image:
        """Cut a frame into its tiles.

        Args:
            frame: ``(h, w)`` or ``(h, w, c)``.

        Returns:
            ``(n, tile_px, tile_px, c)``, tile rows first.
        """
        frame = self._with_channels(frame)
        tile_rows, tile_cols = self.tile_shape(*frame.shape[:2])
        step = self.patches_per_side * self.patch_px
        tiles = np.empty((tile_rows * tile_cols, self.tile_px, self.tile_px, self.channels), dtype=frame.dtype)
        for index, tile in enumerate(tiles):
            row, col = divmod(index, tile_cols)
            _copy_square(frame, row * step - self.inset_px, col * step - self.inset_px, tile)
        return tiles

    def frame_scores(self, tile_scores: NDArray[np.float32], height_px: int, width_px: int) -> NDArray[np.float32]:
        """Put per-tile patch scores back in the frame's grid.

        Args:
            tile_scores: ``(n, g, g)`` as the task graph returns them for :meth:`tiles`.
            height_px: The frame's height.
            width_px: The frame's width.

        Returns:
            ``(rows, cols)``.
        """
        tile_rows, tile_cols = self.tile_shape(height_px, width_px)
        rows, cols = self.patch_shape(height_px, width_px)
        side = self.patches_per_side
        grid = tile_scores.reshape(tile_rows, tile_cols, side, side).transpose(0, 2, 1, 3)
        return grid.reshape(tile_rows * side, tile_cols * side)[:rows, :cols]

    def patch(self, frame: Image, patch: Patch) -> Image:
        """Cut one patch without its margin: ``(patch_px, patch_px, c)``."""
        return self._cut(frame, patch, 0)

    def crop(self, frame: Image, patch: Patch) -> Image:
        """Cut one patch with its margin: ``(crop_px, crop_px, c)``."""
        return self._cut(frame, patch, self.margin_px)

    def inside(self, patch: Patch, height_px: int, width_px: int) -> tuple[int, int]:
        """How many rows and columns of a patch lie inside the frame; only those are supervised."""
        return (
            min(self.patch_px, height_px - patch.row * self.patch_px),
            min(self.patch_px, width_px - patch.col * self.patch_px),
        )

    def _cut(self, frame: Image, patch: Patch, margin: int) -> Image:
        frame = self._with_channels(frame)
        side = self.patch_px + 2 * margin
        square = np.empty((side, side, self.channels), dtype=frame.dtype)
        _copy_square(frame, patch.row * self.patch_px - margin, patch.col * self.patch_px - margin, square)
        return square

    def _with_channels(self, pixels: Image) -> Image:
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels
        if pixels.shape[-1] != self.channels:
            raise ConfigError(
                f"frame: {pixels.shape[-1]} channels, the line's graphs take {self.channels}; set channels in line.toml or convert the camera"
            )
        return pixels


def _copy_square(frame: Image, top: int, left: int, square: Image) -> None:
    """Copy the square of a frame that begins there, which may reach beyond it on every side.

    What lies inside the frame is copied as it stands, and only the columns beyond are picked one by one: picking all of
    them took ten times as long.
    """
    side = len(square)
    height, width = frame.shape[:2]
    inside = 0 <= top <= height - side
    rows = frame[top : top + side] if inside else frame.take(reflected(top, side, height), axis=0)
    first, last = min(max(0, -left), side), max(0, min(side, width - left))
    if last > first:
        square[:, first:last] = rows[:, left + first : left + last]
    beyond = [slice(0, first), slice(last, side)] if last > first else [slice(0, side)]
    columns = reflected(left, side, width)
    for place in beyond:
        if place.stop > place.start:
            square[:, place] = rows.take(columns[place], axis=1)


def reflected(start: int, length: int, size: int) -> NDArray[np.intp]:
    """Index ``length`` pixels from ``start`` along a side of ``size``, reflecting at both ends however far it reaches."""
    index = np.arange(start, start + length)
    if size == 1:
        return np.zeros(length, dtype=np.intp)
    period = 2 * (size - 1)
    index = np.abs(index) % period
    return np.minimum(index, period - index).astype(np.intp)
