"""The pictures of a line's pool: its map, and the batch that was chosen last."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.geometry import Image
from trainer.plotting import INK, MARKERS, Figure, Rectangle, save
from trainer.selection.explaining import Explanation

#: The palette with orange first, which stands out of a grey map.
_COLOURS: Final = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C5A2B", "#000000")
_PALE: Final = "#C9CDD2"


@dataclass(frozen=True, slots=True, eq=False)
class PickPicture:
    """One chosen patch, why, and the crop of what was nearest to it among the labelled."""

    crop: Image
    neighbour: Image | None
    why: Explanation
    #: Top, left, height, width of the patch in its crop.
    outline: tuple[int, int, int, int]


def draw_map(path: Path, points: NDArray[np.floating], rounds: Sequence[int | None], *, title: str) -> None:
    """Draw the pool as points ``(n, 2)``, each chosen patch in the colour of its round, the last batch ringed."""
    figure = Figure(figsize=(9, 6.6), layout="constrained")
    axes = figure.add_subplot()
    of = np.array([-1 if number is None else number for number in rounds])
    rest = points[of < 0]
    axes.scatter(rest[:, 0], rest[:, 1], s=9, color=_PALE, linewidths=0, label=f"pool ({int((of < 0).sum())})")
    last = int(of.max()) if len(of) else -1
    for number in sorted({int(number) for number in of if number >= 0}):
        chosen = points[of == number]
        axes.scatter(
            chosen[:, 0],
            chosen[:, 1],
            s=58 if number == last else 26,
            color=_COLOURS[number % len(_COLOURS)],
            marker=MARKERS[number // len(_COLOURS) % len(MARKERS)],
            linewidths=1.1 if number == last else 0,
            edgecolors=INK,
            label=f"round {number}{' (last batch)' if number == last else ''} ({len(chosen)})",
        )
    axes.set_title(title, loc="left", color=INK)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(_PALE)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    save(figure, path)


def draw_picks(path: Path, picks: Sequence[PickPicture], *, title: str, across: int = 4) -> None:
    """Draw the chosen patches with score, novelty and chance or gain, each beside its nearest labelled neighbour."""
    down = max(1, -(-len(picks) // across))
    figure = Figure(figsize=(across * 3.1, down * 2.15 + 0.7), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=11, color=INK)
    grid = figure.subplots(down, 2 * across, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    shades = _shades(picks)
    for place, pick in enumerate(picks):
        row, column = divmod(place, across)
        chosen, neighbour = grid[row, 2 * column], grid[row, 2 * column + 1]
        _show(chosen, pick.crop, pick.outline, _COLOURS[0], shades)
        chosen.set_title(_worth(pick.why), fontsize=7.5, loc="left", color=INK)
        if pick.neighbour is None:
            neighbour.text(0.5, 0.5, "nothing\nlabelled yet", ha="center", va="center", fontsize=7.5, color="#777777")
        else:
            _show(neighbour, pick.neighbour, pick.outline, _COLOURS[1], shades)
            neighbour.set_title(
                f"nearest labelled\ncosine {pick.why['nearest_labelled_cos']:.2f}",
                fontsize=7.5,
                loc="left",
                color="#555555",
            )
    save(figure, path)


def _worth(why: Explanation) -> str:
    score = "no score yet" if why["score"] is None else f"score {why['score']:.3f}"
    novelty = "" if why["novelty"] is None else f"\nnovelty {why['novelty']:.2f}"
    # Older explanations in a pool have no gain.
    gain = why.get("gain")
    chance = f", chance {why['marginal']:.2f}" if why["marginal"] is not None else ""
    return score + novelty + (f", gain {gain:.2g}" if gain is not None else chance)


def _shades(picks: Sequence[PickPicture]) -> tuple[float, float]:
    """Choose what is drawn black and white, the same for the whole sheet: defects are small steps of grey."""
    if not picks:
        return 0.0, 255.0
    low, high = np.percentile(np.stack([pick.crop for pick in picks]), (0.2, 99.8))
    return float(low) - 10, float(high) + 10


def _show(
    axes: object, crop: Image, outline: tuple[int, int, int, int], colour: str, shades: tuple[float, float]
) -> None:
    top, left, height, width = outline
    picture = crop[..., 0] if crop.shape[-1] == 1 else crop
    axes.imshow(picture, cmap="gray", vmin=shades[0], vmax=shades[1], interpolation="nearest")  # type: ignore[attr-defined]  # matplotlib's subplots carry no type
    axes.add_patch(  # type: ignore[attr-defined]  # the same
        Rectangle((left - 0.5, top - 0.5), width, height, fill=False, edgecolor=colour, linewidth=1.0)
    )
