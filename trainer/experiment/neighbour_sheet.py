"""The contact sheet of a space: patches, and beside each what the space finds most alike."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.geometry import Image
from trainer.plotting import GREY, INK, Axes, Figure, save


@dataclass(frozen=True, slots=True, eq=False)
class SheetRow:
    """A patch ``(p, p, c)`` and its neighbours ``(m, p, p, c)``, each with a word."""

    patch: Image
    word: str
    neighbours: Image
    words: Sequence[str]


def draw_sheet(path: Path, rows: Sequence[SheetRow], *, title: str) -> None:
    """Draw a row for each patch: itself at the left, its neighbours from near to far."""
    across = 1 + max(len(row.words) for row in rows)
    figure = Figure(figsize=(1.35 * across + 0.3, 1.5 * len(rows) + 0.6), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=INK)
    grid = figure.subplots(len(rows), across, squeeze=False)
    # One scale for the whole sheet: defects are small steps of grey.
    low, high = np.percentile(np.stack([row.patch for row in rows]), (0.2, 99.8))
    shades = (float(low) - 10, float(high) + 10)
    for cells, row in zip(grid, rows, strict=True):
        for axes in cells:
            axes.set_axis_off()
        _show(cells[0], row.patch, row.word or "patch", shades, colour=INK)
        for axes, patch, word in zip(cells[1:], row.neighbours, row.words, strict=False):
            _show(axes, patch, word, shades, colour=GREY)
    save(figure, path)


def _show(axes: Axes, patch: Image, word: str, shades: tuple[float, float], *, colour: str) -> None:
    picture = patch[..., 0] if patch.shape[-1] == 1 else patch
    axes.imshow(picture, cmap="gray", vmin=shades[0], vmax=shades[1], interpolation="nearest")
    axes.set_title(word, fontsize=7.5, loc="left", color=colour)
