"""The pictures of a demo's report: the one door to matplotlib in deploy.

Every picture is drawn twice, for a light and for a dark page; the light one is also left as a PNG file.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deploy.demo.record import ARMS, NodeRecord, Record, RoundRecord

ARM_NAMES: Final = {
    "winnow": "winnow",
    "random_stream": "random, of the stream",
    "random_pool": "random, of the pool",
}
_MARKERS: Final = {"winnow": "o", "random_stream": "s", "random_pool": "^"}
_DPI: Final = 160
_WIDTH: Final = 9.0


@dataclass(frozen=True, slots=True)
class Palette:
    """The colours of one page."""

    ink: str
    faint: str
    grid: str
    arms: dict[str, str]
    #: From the first release to the last.
    releases: tuple[str, ...]


LIGHT: Final = Palette(
    ink="#22262b",
    faint="#6b7480",
    grid="#e3e6ea",
    arms={"winnow": "#0064c8", "random_stream": "#c75b12", "random_pool": "#14866d"},
    releases=("#c9d7e8", "#a9c4e2", "#83abd8", "#5b90cc", "#3575bd", "#185ba6", "#0a4282"),
)
DARK: Final = Palette(
    ink="#e6e9ed",
    faint="#9aa4b0",
    grid="#333a43",
    arms={"winnow": "#5aa9ff", "random_stream": "#f0924b", "random_pool": "#3fc7a4"},
    releases=("#27364a", "#2c4a6e", "#2f5d92", "#3571b4", "#4387d2", "#5aa0ea", "#7cb8f8"),
)


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture in both inks, as PNG bytes."""

    light: bytes
    dark: bytes


def draw_all(record: Record, classes: Sequence[str]) -> dict[str, Picture]:
    """Draw every picture that there is something to draw for."""
    pictures: dict[str, Picture] = {}
    rounds = [round_ for round_ in record.rounds_in_order() if round_.arms]
    if rounds:
        pictures["learning"] = _both(lambda palette: _learning(rounds, palette))
        pictures["classes"] = _both(lambda palette: _classes(rounds, classes, palette))
    if len(record.traffic) > 1:
        pictures["traffic"] = _both(lambda palette: _traffic(record, palette))
    if record.rounds:
        pictures["timeline"] = _both(lambda palette: _timeline(record, palette))
    return pictures


def _both(draw: Callable[[Palette], Figure]) -> Picture:
    return Picture(light=_png(draw, LIGHT), dark=_png(draw, DARK))


def _png(draw: Callable[[Palette], Figure], palette: Palette) -> bytes:
    settings: Any = {
        "font.size": 10,
        "text.color": palette.ink,
        "axes.labelcolor": palette.faint,
        "axes.edgecolor": palette.grid,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": palette.grid,
        "xtick.color": palette.faint,
        "ytick.color": palette.faint,
        "xtick.major.size": 0,
        "ytick.major.size": 0,
        "figure.constrained_layout.use": True,
    }
    buffer = io.BytesIO()
    with mpl.rc_context(settings):
        draw(palette).savefig(buffer, format="png", dpi=_DPI, transparent=True)
    return buffer.getvalue()


def _curve(rounds: Sequence[RoundRecord], arm: str, name: str | None) -> tuple[list[int], list[float]]:
    """Return labels and values of one arm's curve: one class's IoU, or the mIoU where no class is named."""
    labels: list[int] = []
    values: list[float] = []
    for result in (round_.arms[arm] for round_ in rounds if arm in round_.arms):
        value = result.miou if name is None else result.per_class.get(name)
        if value is not None and not isnan(value):
            labels.append(result.labels)
            values.append(value)
    return labels, values


def _learning(rounds: Sequence[RoundRecord], palette: Palette) -> Figure:
    figure = Figure(figsize=(_WIDTH, 4.2))
    axes = figure.subplots()
    ends: list[tuple[float, str, float]] = []
    for arm in reversed(ARMS):
        labels, mious = _curve(rounds, arm, None)
        if not labels:
            continue
        width = 2.6 if arm == "winnow" else 1.8
        axes.plot(labels, mious, color=palette.arms[arm], marker=_MARKERS[arm], linewidth=width, markersize=6)
        ends.append((mious[-1], arm, labels[-1]))
    axes.set_ylim(bottom=0)
    _label_ends(axes, ends, palette)
    axes.set_xlabel("labelled patches the model was trained on")
    axes.set_ylabel("mIoU on the validation set")
    axes.margins(x=0.04)
    return figure


def _label_ends(axes: Axes, ends: list[tuple[float, str, float]], palette: Palette) -> None:
    """Name each curve at its end, none on top of another."""
    gap = 0.06 * axes.get_ylim()[1]
    height: float | None = None
    for value, arm, labels in sorted(ends):
        height = value if height is None else max(value, height + gap)
        axes.annotate(
            f"{ARM_NAMES[arm]}  {value:.3f}",
            (labels, value),
            xytext=(1.01, height),
            textcoords=("axes fraction", "data"),
            va="center",
            color=palette.arms[arm],
            fontweight="bold" if arm == "winnow" else "normal",
        )


def _classes(rounds: Sequence[RoundRecord], classes: Sequence[str], palette: Palette) -> Figure:
    columns = 4
    rows = -(-len(classes) // columns)
    figure = Figure(figsize=(_WIDTH, 1.75 * rows + 0.3))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for index, axes in enumerate(panels.flat):
        if index >= len(classes):
            axes.set_axis_off()
            continue
        name = classes[index]
        for arm in reversed(ARMS):
            labels, ious = _curve(rounds, arm, name)
            axes.plot(labels, ious, color=palette.arms[arm], marker=_MARKERS[arm], markersize=3, linewidth=1.5)
        axes.set_title(name)
        axes.set_ylim(-0.03, 1.0)
        axes.set_yticks([0, 0.5, 1.0])
    figure.supxlabel("labelled patches", fontsize=9, color=palette.faint)
    figure.supylabel("IoU", fontsize=9, color=palette.faint)
    return figure


def _traffic(record: Record, palette: Palette) -> Figure:
    figure = Figure(figsize=(_WIDTH, 3.6))
    left, right = figure.subplots(1, 2)
    times = [point.at for point in record.traffic]
    pairs = (
        (left, "patches", [p.patches for p in record.traffic], [p.sent for p in record.traffic]),
        (right, "bytes", [p.bytes_seen for p in record.traffic], [p.bytes_sent for p in record.traffic]),
    )
    for axes, what, seen, sent in pairs:
        axes.plot(times, seen, color=palette.faint, linewidth=2)
        axes.plot(times, sent, color=palette.arms["winnow"], linewidth=2.4)
        axes.set_yscale("symlog", linthresh=10 if what == "patches" else 10_000)
        axes.set_ylim(bottom=0)
        axes.set_title(f"{what}, all nodes together")
        axes.set_xlabel("seconds since the start")
        for values, name, colour in ((seen, "seen", palette.faint), (sent, "sent", palette.arms["winnow"])):
            axes.annotate(
                f"{name}  {values[-1]:,}",
                (times[-1], values[-1]),
                xytext=(-2, 5),
                textcoords="offset points",
                ha="right",
                color=colour,
            )
    return figure


def _timeline(record: Record, palette: Palette) -> Figure:
    names = sorted(record.nodes)
    figure = Figure(figsize=(_WIDTH, 0.62 * (len(names) + 1) + 1.0))
    axes = figure.subplots()
    end = record.ended_at or max((point.at for point in record.traffic), default=1.0)
    shades = _shades(record, palette)
    for lane, name in enumerate(reversed(names)):
        _node_lane(axes, lane, record.nodes[name], end=end, shades=shades, palette=palette)
    _trainer_lane(axes, len(names), record, end, palette)
    for rollout in record.rollouts.values():
        if rollout.meant:
            axes.axvline(rollout.began, color=palette.arms["random_stream"], linewidth=1, linestyle=(0, (3, 2)))
    axes.set_yticks(range(len(names) + 1), [*reversed(names), "trainer"])
    axes.tick_params(axis="y", colors=palette.ink)
    axes.set_ylim(-0.6, len(names) + 0.6)
    axes.set_xlim(0, end)
    axes.set_xlabel("seconds since the start; dashed: a rollout document was written")
    axes.grid(visible=False, axis="y")
    return figure


def _shades(record: Record, palette: Palette) -> dict[str, str]:
    releases = sorted({change.release for node in record.nodes.values() for change in node.history if change.release})
    last = len(palette.releases) - 1
    step = last / max(1, len(releases) - 1)
    return {release: palette.releases[round(index * step)] for index, release in enumerate(releases)}


def _node_lane(
    axes: Axes, lane: int, node: NodeRecord, *, end: float, shades: dict[str, str], palette: Palette
) -> None:
    bounds = [change.at for change in node.history] + [end]
    axes.barh(lane, bounds[0], left=0, height=0.55, facecolor="none", edgecolor=palette.grid)
    for change, until in zip(node.history, bounds[1:], strict=True):
        if change.release is None:
            continue
        colour = shades[change.release]
        axes.barh(lane, until - change.at, left=change.at, height=0.55, color=colour)
        if until - change.at > 0.03 * end:
            axes.text(
                (change.at + until) / 2,
                lane,
                change.release.rpartition("-")[2].lstrip("0"),
                ha="center",
                va="center",
                fontsize=8.5,
                color=_readable_on(colour),
            )


def _trainer_lane(axes: Axes, lane: int, record: Record, end: float, palette: Palette) -> None:
    """Show when the trainer trained, by round; what lies between is waiting and choosing."""
    stages = sorted(
        (at, stage, round_.number) for round_ in record.rounds.values() for stage, at in round_.stages.items()
    )
    bounds = [at for at, _, _ in stages[1:]] + [record.all_done_at or end]
    for (at, stage, number), until in zip(stages, bounds, strict=True):
        if stage not in {"space", "train"}:
            continue
        colour = palette.arms["random_pool"] if stage == "space" else palette.arms["winnow"]
        axes.barh(lane, until - at, left=at, height=0.55, color=colour)
        if until - at > 0.03 * end:
            words = "space" if stage == "space" else f"train {number}"
            axes.text((at + until) / 2, lane, words, ha="center", va="center", fontsize=8, color=_readable_on(colour))


def _readable_on(colour: str) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#111111" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#ffffff"
