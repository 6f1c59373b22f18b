"""``winnow experiment``: the loop beside its rivals, and pictures of what it chose."""

import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from shared.clock import SystemClock
from shared.console import Console
from trainer.commands.options import AsJson, Line, SiteToml

app = typer.Typer(
    help="Measure the loop beside its rivals; draw what it chose.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
