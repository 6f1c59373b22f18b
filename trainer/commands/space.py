"""``winnow trainer space``: what a line's embedding space is worth."""

from pathlib import Path
from typing import Annotated

import typer

from shared.console import Console
from trainer.commands.options import AsJson, Line, SiteToml

app = typer.Typer(help="Look at a line's embedding space.", no_args_is_help=True)


@app.callback()
def space() -> None:
    """Look at a line's embedding space."""


@app.command("report")
def report(
    site: SiteToml,
    *,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where the report and its pictures go.")],
    line: Line = None,
    patches: Annotated[int, typer.Option("--patches", min=2, max=20_000, help="How many are looked at.")] = 500,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of what is drawn by lot.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Measure the space beside the same encoder untrained and the task model's, and draw what each finds alike."""
    from msgspec import to_builtins  # torch, matplotlib and the database only when asked

    from trainer.experiment.space_report import report_space
    from trainer.paths import load, pick_line
    from trainer.pool.pool import Pool

    _, lines, paths = load(site)
    chosen = pick_line(lines, line)
    console = Console(as_json=as_json)
    with Pool.open(paths.directory) as pool:
        found = report_space(pool, chosen, paths, out, most=patches, seed=seed, console=console)
    for quality in found:
        console.event(
            "space",
            quality.text(),
            line=chosen.line,
            picture=str(out / f"{quality.source}.png"),
            **to_builtins(quality),
        )
    if not as_json:
        console.event(
            "pictures",
            f"{out}: space.json and a sheet of neighbours for each: {', '.join(one.source for one in found)}",
        )
