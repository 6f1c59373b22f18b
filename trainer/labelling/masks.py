"""Masks of crops: class values inside the labelled part of a patch, 255 everywhere else.

Unlabelled is not background: what lies in the margin, or in the part of a patch that reaches past its frame,
is never supervised.
"""

from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.geometry import Patch, PatchGrid

IGNORE: Final = 255

Mask = NDArray[np.uint8]


def outline(grid: PatchGrid, inside: tuple[int, int]) -> tuple[int, int, int, int]:
    """Say where a crop may be labelled: top, left, height, width."""
    return grid.margin_px, grid.margin_px, inside[0], inside[1]


def clear_outside(mask: Mask, grid: PatchGrid, inside: tuple[int, int]) -> Mask:
    """Return the mask with 255 outside the patch and outside the frame.

    Args:
        mask: ``(crop_px, crop_px)``.
        grid: The line's sizes.
        inside: How many rows and columns of the patch lie inside the frame.
    """
    top, left, height, width = outline(grid, inside)
    cleared = np.full_like(mask, IGNORE)
    cleared[top : top + height, left : left + width] = mask[top : top + height, left : left + width]
    return cleared


def truth_mask(grid: PatchGrid, frame_mask: Mask, patch: Patch) -> Mask:
    """Cut a patch's label out of a frame's mask ``(h, w)``: ``(crop_px, crop_px)``, 255 where nothing is supervised."""
    cut = replace(grid, channels=1).crop(frame_mask, patch)[..., 0]
    return clear_outside(cut, grid, grid.inside(patch, *frame_mask.shape))
