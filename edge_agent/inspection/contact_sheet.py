"""A picture of what would be sent: one patch beside the other, each framed in the colour of its reason."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from shared.geometry import Image

#: More would be a picture nobody looks at.
MOST_PATCHES: Final = 400
_SIDE_PX: Final = 128
_FRAME_PX: Final = 4
_COLOURS: Final = {"novel": (40, 160, 70), "floor": (60, 110, 200)}


def contact_sheet(patches: Sequence[tuple[Image, str]]) -> Image:
    """Lay patches out row by row, as square as may be.

    Args:
        patches: ``(h, w, 1)`` or ``(h, w, 3)``, and why each would be sent; at least one.

    Returns:
        ``(h, w, 3)``.
    """
    shown = [_framed(patch, reason) for patch, reason in patches[:MOST_PATCHES]]
    columns = int(np.ceil(np.sqrt(len(shown))))
    rows = -(-len(shown) // columns)
    side = shown[0].shape[0]
    sheet = np.full((rows * side, columns * side, 3), 255, dtype=np.uint8)
    for at, patch in enumerate(shown):
        row, column = divmod(at, columns)
        sheet[row * side : (row + 1) * side, column * side : (column + 1) * side] = patch
    return sheet


def _framed(patch: Image, reason: str) -> Image:
    step = -(-patch.shape[0] // _SIDE_PX)
    small = patch[::step, ::step]
    colour = small.repeat(3, axis=2) if small.shape[2] == 1 else small
    framed = np.empty((small.shape[0] + 2 * _FRAME_PX, small.shape[1] + 2 * _FRAME_PX, 3), dtype=np.uint8)
    framed[:] = _COLOURS[reason]
    framed[_FRAME_PX:-_FRAME_PX, _FRAME_PX:-_FRAME_PX] = colour
    return framed
