"""The curves of a training as a picture: its loss, and how good and how honest it was on the reference set."""

from collections.abc import Sequence
from pathlib import Path

from trainer.learning.log import Line
from trainer.plotting import COLOURS, INK, Axes, Figure, save


def draw_training(path: Path, lines: Sequence[Line], *, title: str) -> None:
    """Draw a training's log into a PNG: the loss above, mIoU and calibration error by step below."""
    figure = Figure(figsize=(7.2, 5.4), layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=10, color=INK)
    above, below = figure.subplots(2, 1, sharex=True)
    losses = [(line.step, line.loss) for line in lines if line.loss is not None]
    above.plot(*_columns(losses), color=COLOURS[0], linewidth=1.2)
    above.set_ylabel("loss")
    # A loss falls by orders of magnitude; its end is what one looks for.
    above.set_yscale("log" if any(loss > 0 for _, loss in losses) else "linear")
    judged = [(line.step, line.judged) for line in lines if line.judged is not None]
    mious = [(step, found.miou) for step, found in judged if found.miou is not None]
    errors = [(step, found.ece) for step, found in judged if found.ece is not None]
    below.plot(*_columns(mious), "o-", color=COLOURS[2], markersize=4, label="mIoU")
    below.plot(*_columns(errors), "s--", color=COLOURS[1], markersize=4, label="calibration error (ECE)")
    below.set_ylim(0, 1)
    below.set_ylabel("on the reference set")
    below.set_xlabel("step")
    if judged:
        below.legend(frameon=False, fontsize=8)
    else:
        below.text(0.5, 0.5, "nothing labelled to judge by", transform=below.transAxes, ha="center", color=INK)
    for axes in (above, below):
        _plain(axes)
    save(figure, path)


def _columns(points: Sequence[tuple[int, float]]) -> tuple[list[int], list[float]]:
    return [step for step, _ in points], [value for _, value in points]


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
