"""Where every method of the papers stands: the recipes that run it, and what the newest committed result says.

A result is a JSON file that names its ``rows``; its ``figure`` is what is shown beside the paper's own number, or its
``figures`` by row. The newest by its ``date`` counts, one of full size before one whose name says ``-cpu``; of one day,
one of several arms, and then the one that stands for fewest rows.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from shared.errors import ConfigError, InputError
from shared.files import read_bounded
from trainer.experiment.methods import METHODS, Method
from trainer.experiment.recipe import Recipe, load_recipe

_LIMIT: Final = 64 << 20
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
NOT_YET: Final = "not yet run"
PENDING_GPU: Final = "pending-gpu"
OUTDATED: Final = "of an older recipe"
#: In the name of a result: it is of a size that a CPU can bear.
SCALED_DOWN: Final = "-cpu-"


COLUMNS: Final = ("id", "name", "setting", "command", "result", "figure", "paper", "pending")


@dataclass(frozen=True, slots=True)
class Standing:
    """One row and where it stands."""

    method: Method
    #: The names of the recipes that stand for the row.
    recipes: tuple[str, ...]
    #: The newest result that names the row; None where there is none.
    result: str | None
    figure: str
    #: The full size has not been run and waits for a GPU; what is scaled down may have a result.
    pending_gpu: bool


def standings(results: Path, recipes: Path) -> list[Standing]:
    """Say where every row stands by the results and recipes in two folders."""
    for folder in (results, recipes):
        if not folder.is_dir():
            # Taken for an empty one it would say that nothing was ever run.
            raise ConfigError(f"{folder}: no such folder; run in a checkout of winnow, or name another")
    known = {path.stem: load_recipe(path) for path in sorted(recipes.glob("*.toml"))}
    runs = _recipes_by_row(known)
    newest: dict[str, _Entry] = {}
    for path in sorted(results.glob("*.json")):
        found = read_result(path)
        rows = found.get("rows") if isinstance(found, dict) else None
        # A study that is still under way says nothing of a row.
        if not isinstance(rows, list) or found.get("unfinished"):
            continue
        date = str(found.get("date") or next(iter(_DATE.findall(path.name)), ""))
        figures = found.get("figures")
        for row in rows:
            own = figures.get(row) if isinstance(figures, dict) else None
            full = SCALED_DOWN not in path.stem
            figure = str(own or found.get("figure") or "see the file") + _outdated(found, known)
            arms = report_in(found).get("arms")
            entry = _Entry(full, date, arms is None or len(arms) > 1, -len(rows), path.name, figure)
            newest[row] = max(newest.get(row, entry), entry)
    return [_standing(method, runs.get(method.id, ()), newest.get(method.id)) for method in METHODS]


def row_of(found: Standing) -> tuple[str | None, ...]:
    """Write a row's standing as :data:`COLUMNS` name it."""
    method = found.method
    return (
        method.id,
        method.name,
        method.setting,
        "; ".join(f"winnow experiment run recipes/{name}.toml" for name in found.recipes) or None,
        found.result,
        found.figure,
        method.paper or None,
        PENDING_GPU if found.pending_gpu else None,
    )


class _Entry(NamedTuple):
    """What a result says of a row, in the order in which results count."""

    full_size: bool
    date: str
    #: A study of one arm is half of a comparison.
    compares: bool
    #: Of one day the study that stands for fewest rows speaks: it was made for this one.
    made_for: int
    name: str
    figure: str


def _standing(method: Method, recipes: tuple[str, ...], newest: _Entry | None) -> Standing:
    pending = method.full_size and not (newest and newest.full_size)
    if newest is None:
        return Standing(method, recipes, None, NOT_YET, pending)
    return Standing(method, recipes, newest.name, newest.figure, pending)


def _recipes_by_row(known: dict[str, Recipe]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for name, recipe in known.items():
        for row in recipe.rows:
            found[row] = (*found.get(row, ()), name)
    return found


def _outdated(result: dict[str, Any], known: dict[str, Recipe]) -> str:
    """Say so where the recipe of a result has changed since: running it again gives another figure.

    What it was is hashed anew: a key that came later, at the default that the result was made with, is no change.
    """
    now = known.get(str(report_in(result).get("name")))
    if now is None or "recipe" not in result:
        return ""
    try:
        then = msgspec.convert(result["recipe"], Recipe)
    except msgspec.ValidationError:
        return f" ({OUTDATED})"
    return "" if then.hash == now.hash else f" ({OUTDATED})"


def read_result(path: Path) -> Any:
    """Read a committed result."""
    try:
        return msgspec.json.decode(read_bounded(path, limit=_LIMIT))
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; results are JSON") from None


def report_in(result: Any) -> dict[str, Any]:
    """Return the report of a study in a result; empty where it is of something else."""
    report = result.get("report") if isinstance(result, dict) else None
    return report if isinstance(report, dict) else {}
