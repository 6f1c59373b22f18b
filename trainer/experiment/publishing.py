"""A study's result as it is committed: its whole report, its recipe, and a figure for each row that it stands for.

What is published is read by ``methods``; a study that is not finished says nothing of a row and is refused.
"""

from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from shared.errors import InputError, StateError
from shared.files import read_bounded, write_durably
from trainer.experiment.recipe import Recipe, load_recipe
from trainer.experiment.record import read_study
from trainer.experiment.report import ArmReport, StudyReport, build_report, plus_minus

_LIMIT: Final = 64 << 20


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
    if path.is_file() and (old := _recipe_hash(path)) != report.recipe_hash:
        raise StateError(
            f"{path}: a result of recipe {old[:12]}, this study's is {report.recipe_hash[:12]}; nothing was published, remove the file to replace it"
        )
    write_durably(path, msgspec.json.format(msgspec.json.encode(result), indent=2) + b"\n")
    return path


class _Reported(Struct):
    recipe_hash: str


class _Published(Struct):
    """What is read of a result before it is replaced."""

    report: _Reported


def _recipe_hash(path: Path) -> str:
    try:
        return msgspec.json.decode(read_bounded(path, limit=_LIMIT), type=_Published).report.recipe_hash
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; nothing was published, remove the file to replace it") from None


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
