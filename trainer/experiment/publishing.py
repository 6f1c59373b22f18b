"""A study's result as it is committed: its whole report, its recipe, and a figure for each row that it stands for.

What is published is read by ``methods``; a study that is not finished says nothing of a row and is refused.
"""

from pathlib import Path

import msgspec
from msgspec import Struct

from shared.errors import ConfigError, StateError
from shared.files import write_durably
from trainer.experiment.recipe import Recipe, load_recipe
from trainer.experiment.record import read_study
from trainer.experiment.report import ArmReport, StudyReport, build_report, plus_minus
from trainer.experiment.standings import read_result, report_in


class Result(Struct, frozen=True, kw_only=True):
    """One study, finished: ``figure`` tells of all arms, ``figures`` by row of those that speak for it."""

    rows: tuple[str, ...]
    date: str
    figure: str
    figures: dict[str, str]
    recipe: Recipe
    report: StudyReport


def publish(folder: Path, to: Path, recipes: Path) -> Path:
    """Write the result of a finished study as ``NAME-DATE.json``, and return where.

    Title and rows are those of ``recipes/NAME.toml`` where that is the recipe that was run: they may be written after.
    """
    report, recipe = build_report(folder), _recipe(folder, recipes)
    report = msgspec.structs.replace(report, title=recipe.title, rows=tuple(recipe.rows))
    if report.unfinished:
        raise StateError(
            f"{folder}: {', '.join(report.unfinished)} not held to the end for every seed; nothing was published, run the experiment again to go on"
        )
    if lacking := sorted({*recipe.seeds} - {seed for arm in report.arms for seed in arm.seeds}):
        raise StateError(
            f"{folder}: seeds {', '.join(map(str, lacking))} of the recipe were not held; nothing was published, run the experiment again to go on"
        )
    result = Result(
        rows=report.rows,
        date=report.date,
        figure=report.figure,
        figures={row: figure_of(report, recipe.speakers(row)) for row in report.rows},
        recipe=recipe,
        report=report,
    )
    path = to / f"{report.name}-{report.date}.json"
    _refuse_another(path, report)
    write_durably(path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return path


def _refuse_another(path: Path, report: StudyReport) -> None:
    """Refuse to replace a result of another recipe or of other images."""
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent}: no such folder; nothing was published, make it or name another with --to")
    if not path.is_file():
        return
    old = report_in(read_result(path))
    for what, theirs, ours in (
        ("recipe", str(old.get("recipe_hash", "none")), report.recipe_hash),
        ("images", str(old.get("data_hash", report.data_hash)), report.data_hash),
    ):
        if theirs != ours:
            raise StateError(
                f"{path}: a result of {what} {theirs[:12]}, this study's: {ours[:12]}; nothing was published, remove the file to replace it"
            )


def _recipe(folder: Path, recipes: Path) -> Recipe:
    study = read_study(folder)
    path = recipes / f"{study.name}.toml"
    current = load_recipe(path) if path.is_file() else study.recipe
    return current if current.hash == study.recipe_hash else study.recipe


def figure_of(report: StudyReport, speakers: tuple[str, ...]) -> str:
    """Tell the last values of some arms beside those of random choice and of all labels, and what they gained."""
    arms = [arm for arm in report.arms if arm.name in speakers or arm.name == "random"]
    ends = [f"{arm.name} {plus_minus(arm.curve[-1])}" for arm in arms]
    if report.ceiling is not None:
        ends.append(f"all labels {plus_minus(report.ceiling)}")
    seeds = len(report.arms[0].seeds)
    told = f"{report.measure} at {arms[0].labels[-1]} labels, {seeds} seed{'s' if seeds > 1 else ''}: {', '.join(ends)}"
    gained = [_gain(arm) for arm in arms if arm.gain is not None]
    return f"{told}; curve over random of the same model: {', '.join(gained)}" if gained else told


def _gain(arm: ArmReport) -> str:
    """Tell an area over random's as the mean difference of the curves, which no budget's length changes."""
    assert arm.gain is not None
    span = arm.labels[-1] - arm.labels[0]
    mean, low, high = (value / span for value in (arm.gain.mean, arm.gain.low, arm.gain.high))
    return f"{arm.name} {mean:+.3f} ({low:+.3f} to {high:+.3f})"
