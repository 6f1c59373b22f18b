"""The learning curves of a study as a picture: the mean over seeds, and one standard deviation around it."""

from pathlib import Path
from typing import Final

from trainer.experiment.report import StudyReport
from trainer.plotting import COLOURS, GREY, INK, MARKERS, Figure, save

#: Of arms beyond the eighth, whose colours begin again.
_LINES: Final = ("-", "--", ":", "-.")


def draw_curves(path: Path, report: StudyReport) -> None:
    """Draw every arm's curve and the supervised ceiling into a PNG."""
    figure = Figure(figsize=(8.6, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for number, arm in enumerate(report.arms):
        colour, again = COLOURS[number % len(COLOURS)], number // len(COLOURS) % len(_LINES)
        mean = [point.mean for point in arm.curve]
        axes.plot(
            arm.labels,
            mean,
            _LINES[again],
            color=colour,
            marker=MARKERS[again],
            markersize=4,
            label=f"{arm.name} ({len(arm.seeds)})",
        )
        spread = [point.sd or 0.0 for point in arm.curve]
        low = [m - s for m, s in zip(mean, spread, strict=True)]
        high = [m + s for m, s in zip(mean, spread, strict=True)]
        axes.fill_between(arm.labels, low, high, color=colour, alpha=0.12, linewidth=0)
    if report.ceiling is not None:
        axes.axhline(report.ceiling.mean, color=GREY, linestyle="--", linewidth=1, label="all labels")
    axes.set_xlabel("labels")
    axes.locator_params(axis="x", integer=True)
    axes.set_ylabel(f"{report.measure} on {report.split}")
    axes.set_title(report.title, loc="left", color=INK, fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8, title="arm (seeds)")
    save(figure, path)
