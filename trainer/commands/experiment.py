"""``winnow experiment``: studies of the papers' methods, the loop beside its rivals, and pictures of what it chose."""

import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from shared.clock import SystemClock
from shared.console import Console
from trainer.commands.options import AsJson, Line, SiteToml

app = typer.Typer(
    help="Run the papers' methods on data sets; measure the loop beside its rivals; draw what it chose.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Out = Annotated[Path, typer.Argument(metavar="OUT", help="The --out of an experiment run, or one study in it.")]

Recipes = Annotated[Path, typer.Option("--recipes", metavar="DIR", help="Where the recipes lie.")]

#: Of a checkout of winnow.
RESULTS = Path("benchmarks/results")
RECIPES = Path("recipes")


@app.command("run")
def run(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="What is compared, on which data.")],
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where results go, and where a run goes on.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="The folder of the data sets; the simulated line needs none."),
    ] = None,
    seeds: Annotated[str | None, typer.Option("--seeds", help="As in 0,1,2; the recipe's own when absent.")] = None,
    arms: Annotated[str | None, typer.Option("--arms", help="As in random,kdpp; all of them when absent.")] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="How many seeds run at once, a process each.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Hold the rounds of a recipe on a data set, and go on where an earlier run ended."""
    from trainer.experiment.runner import read_seeds
    from trainer.experiment.runner import run as run_study  # torch only when asked

    chosen = None if seeds is None else read_seeds(seeds)
    only = None if arms is None else arms.split(",")
    run_study(recipe, data=data, out=out, seeds=chosen, jobs=jobs, console=Console(as_json=as_json), arms=only)


@app.command("noise")
def noise(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="What is trained, on which data.")],
    *,
    labels: Annotated[str, typer.Option("--labels", help="How many labels, as in 60,360.")],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where a packed data set is unpacked.")],
    data: Annotated[
        Path | None,
        typer.Option("--data", metavar="DIR", help="The folder of the data sets; the simulated line needs none."),
    ] = None,
    repeats: Annotated[int, typer.Option("--repeats", min=2, help="How many trainings of each labelled set.")] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the labelled set and of the trainings.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a recipe's model again and again on one labelled set: smaller differences between curves mean nothing."""
    from trainer.experiment.runner import read_labels, tell_noise  # torch only when asked

    chosen = read_labels(labels)
    tell_noise(recipe, data=data, out=out, labels=chosen, repeats=repeats, seed=seed, console=Console(as_json=as_json))


@app.command("compare")
def compare(
    outs: Annotated[list[Path], typer.Argument(metavar="OUT...", help="The --out of experiment runs.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Write what studies say: curves with their spread, area, labels saved against random, classes."""
    from msgspec import to_builtins

    from trainer.experiment.page import markdown
    from trainer.experiment.record import has_rounds, study_folders
    from trainer.experiment.report import build_report

    console = Console(as_json=as_json)
    folders = [folder for out in outs for folder in study_folders(out)]
    held = [folder for folder in folders if has_rounds(folder)]
    for folder in folders:
        if held and folder not in held:
            console.warn(f"{folder}: no finished round yet; it is left out")
            continue
        report = build_report(folder)
        console.event("study", markdown(report), report=to_builtins(report))


@app.command("plot")
def plot(
    out: Out,
    *,
    to: Annotated[Path, typer.Option("--to", metavar="FILE.png", help="The picture.")],
    as_json: AsJson = False,
) -> None:
    """Draw the learning curves of a study, with their spread over seeds."""
    from shared.errors import ConfigError
    from trainer.experiment.curve_plot import draw_curves  # matplotlib only when asked
    from trainer.experiment.record import study_folders
    from trainer.experiment.report import build_report

    found = study_folders(out)
    if len(found) > 1:
        names = ", ".join(folder.name for folder in found)
        raise ConfigError(f"{out}: {len(found)} studies, {names}; name one of their folders")
    if to.suffix != ".png" or to.is_dir():
        raise ConfigError(f'--to "{to}": expected the name of a PNG, as in curves.png; nothing was drawn')
    draw_curves(to, build_report(found[0]))
    Console(as_json=as_json).event("plot", f"{to}: the curves of {found[0].name}", path=str(to))


@app.command("publish")
def publish(
    outs: Annotated[list[Path], typer.Argument(metavar="OUT...", help="The --out of experiment runs.")],
    *,
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="Where committed results lie.")] = RESULTS,
    recipes: Recipes = RECIPES,
    as_json: AsJson = False,
) -> None:
    """Write finished studies as results to commit: the report, the recipe, a figure for each row of the papers."""
    from trainer.experiment.publishing import publish as write_result
    from trainer.experiment.record import study_folders

    console = Console(as_json=as_json)
    for folder in [folder for out in outs for folder in study_folders(out)]:
        path = write_result(folder, to, recipes)
        console.event("result", f"{path}: the result of {folder.name}", study=folder.name, path=str(path))


@app.command("methods")
def methods(
    *,
    results: Annotated[Path, typer.Option("--results", metavar="DIR", help="Where committed results lie.")] = RESULTS,
    recipes: Recipes = RECIPES,
    as_json: AsJson = False,
) -> None:
    """List every method of the papers: its setting, what runs it, and what the newest result says beside the paper."""
    from trainer.experiment.standings import (  # the recipes' structs bring the learners' along
        COLUMNS,
        row_of,
        standings,
    )

    rows = [row_of(found) for found in standings(results, recipes)]
    Console(as_json=as_json).table("Methods", COLUMNS, rows)


@app.command("arms")
def arms(site: SiteToml, *, line: Line = None, as_json: AsJson = False) -> None:
    """Train two rivals on labels by lot for each round told on standard input, and measure all three arms."""
    from trainer.experiment.arms import Arms  # torch only when asked
    from trainer.paths import load, pick_line
    from trainer.pool.pool import Pool
    from trainer.rounds.workbench import Workbench

    _, lines, paths = load(site)
    chosen = pick_line(lines, line)
    console = Console(as_json=as_json)
    with paths.claim(f"arms-{chosen.line}"), Pool.open(paths.directory) as pool:
        Arms(Workbench(pool, chosen, paths, SystemClock(), console, threading.Event())).answer(sys.stdin.buffer)


@app.command("map")
def map_(
    site: SiteToml,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the pictures go.")],
    line: Line = None,
    as_json: AsJson = False,
) -> None:
    """Draw the pool with each round's batch marked, and the last batch with the reasons for each patch."""
    from trainer.experiment.picture import draw_pictures  # matplotlib and UMAP only when asked
    from trainer.paths import load, pick_line
    from trainer.pool.pool import Pool

    _, lines, paths = load(site)
    chosen = pick_line(lines, line)
    console = Console(as_json=as_json)
    with Pool.open(paths.directory) as pool:
        drawn = draw_pictures(pool, chosen, out, console=console)
    console.event(
        "pictures",
        f"{out}: map.png with {drawn.map_points} patches, picks.png and picks.json with the {drawn.picks} chosen in round {drawn.round}",
        directory=str(out),
        points=drawn.map_points,
        picks=drawn.picks,
        round=drawn.round,
    )
