"""A study's report as a page, and on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from shared.files import write_durably
from trainer.experiment.report import ArmReport, StudyReport, build_report, plus_minus

REPORT_NAME: Final = "report.json"
PAGE_NAME: Final = "report.md"
#: As many numbers of labels as a page shows.
COLUMNS: Final = 9


def write_report(folder: Path) -> Path:
    """Write a study's report as JSON and as a page, and return the page."""
    report = build_report(folder)
    write_durably(folder / REPORT_NAME, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    write_durably(folder / PAGE_NAME, markdown(report).encode())
    return folder / PAGE_NAME


def markdown(report: StudyReport) -> str:
    """Write a report as a page."""
    counts = _some(sorted({count for arm in report.arms for count in arm.labels}))
    ceiling = "not held" if report.ceiling is None else plus_minus(report.ceiling)
    lines = [
        f"# {_line(report.title)}",
        "",
        f"{report.data}, {report.measure} on {report.split} ({report.split_kind} split); all labels: {ceiling}.",
        f"{report.machine}; recipe {report.name} {report.recipe_hash[:12]}; {report.date}.",
        *([f"Unfinished: {', '.join(report.unfinished)}."] if report.unfinished else []),
        "",
        *_table(
            ["arm", "seeds", *(f"{count} labels" for count in counts)],
            [[arm.name, str(len(arm.seeds)), *(_at(arm, count) for count in counts)] for arm in report.arms],
        ),
        "",
        *_table(
            [
                "arm",
                "ALC",
                "normalised ALC",
                "ALC over random",
                "labels to 90 %",
                "95 %",
                "98 %",
                "saved",
                "near-duplicates",
                "selection s",
            ],
            [
                [
                    arm.name,
                    plus_minus(arm.alc, digits=1),
                    plus_minus(arm.normalised_alc, digits=1),
                    _gained(arm),
                    *("-" if needed is None else f"{needed:.0f}" for needed in arm.to_ceiling.values()),
                    "-" if arm.saved is None else f"{arm.saved:.0%}",
                    f"{arm.near_duplicates:.0%}",
                    f"{arm.selection_s:.2f}",
                ]
                for arm in report.arms
            ],
        ),
        "",
        *_table(
            ["arm, at its end", *report.classes],
            [[arm.name, *("-" if v is None else f"{v:.3f}" for v in arm.per_class)] for arm in report.arms],
        ),
    ]
    return "\n".join(lines) + "\n"


def _some(counts: list[int]) -> list[int]:
    """Choose the columns of the curves: a page is read, report.json holds every round."""
    return [counts[round(place)] for place in np.linspace(0, len(counts) - 1, min(COLUMNS, len(counts)))]


def _gained(arm: ArmReport) -> str:
    gain = arm.gain
    return "-" if gain is None else f"{gain.mean:+.1f} ({gain.low:+.1f} to {gain.high:+.1f})"


def _at(arm: ArmReport, count: int) -> str:
    return plus_minus(arm.curve[arm.labels.index(count)]) if count in arm.labels else ""


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(map(_cell, cells))} |" for cells in (columns, ["---"] * len(columns), *rows)]


def _cell(text: str) -> str:
    """Keep the name of a class or an arm from ending its cell."""
    return _line(text).replace("|", r"\|")


def _line(text: str) -> str:
    return " ".join(text.split())
