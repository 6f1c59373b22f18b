"""``winnow trainer labels``: hand-overs through folders, and labelled images that a line starts from."""

from pathlib import Path
from typing import Annotated

import typer

from shared.console import Console
from shared.errors import InputError
from trainer.commands.options import AsJson, DryRun, Line, SiteToml

app = typer.Typer(help="Exchange labels through folders.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the hand-over.")]


@app.command("export")
def export(site: SiteToml, directory: Folder, *, line: Line = None, as_json: AsJson = False) -> None:
    """Write what is handed over: crops, the newest model's pre-labels, labels.json. Paint masks/ID.png and import."""
    from trainer.labelling.folder import export_folder  # the database only when asked
    from trainer.labelling.prelabel import newest_prelabel  # torch only where there is a run
    from trainer.paths import load, pick_line
    from trainer.pool.pool import Pool

    console = Console(as_json=as_json)
    _, lines, paths = load(site)
    chosen = pick_line(lines, line)
    with Pool.open(paths.directory) as pool, console.progress("export crops", line=chosen.line) as step:
        prelabel = newest_prelabel(pool, chosen, paths)
        number = export_folder(pool, chosen, directory, prelabel=prelabel, step=step)
    console.event(
        "labels_exported",
        f"{number} crops of line {chosen.line} in {directory}; paint masks/ID.png, then: winnow trainer labels import",
        line=chosen.line,
        tasks=number,
        directory=str(directory),
        prelabels=prelabel is not None,
    )


@app.command("import")
def import_(
    site: SiteToml, directory: Folder, *, line: Line = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Take painted masks into the pool: all of them, or none when one has a fault."""
    from trainer.labelling.folder import import_folder  # the database only when asked
    from trainer.paths import load, pick_line
    from trainer.pool.pool import Pool

    console = Console(as_json=as_json)
    _, lines, paths = load(site)
    chosen = pick_line(lines, line)
    with Pool.open(paths.directory) as pool:
        report = import_folder(pool, chosen, directory, dry_run=dry_run)
    console.event(
        "labels_imported",
        f"{report.painted} labels {'would come' if dry_run else 'came'} in, {report.corrected} corrected, "
        f"{report.unchanged} unchanged, {report.missing} not yet painted",
        line=chosen.line,
        dry_run=dry_run,
        painted=report.painted,
        corrected=report.corrected,
        unchanged=report.unchanged,
        missing=report.missing,
    )


@app.command("seed")
def seed(
    site: SiteToml, directory: Folder, *, line: Line = None, dry_run: DryRun = False, as_json: AsJson = False
) -> None:
    """Start a line from labelled images: DIR/images and DIR/masks with the same names."""
    from trainer.labelling.seed import seed_folder  # the database only when asked
    from trainer.paths import load, pick_line
    from trainer.pool.pool import Pool

    if not directory.is_dir():
        raise InputError(f"{directory}: no such folder; expected images/ and masks/ in it")
    console = Console(as_json=as_json)
    _, lines, paths = load(site)
    chosen = pick_line(lines, line)
    with Pool.open(paths.directory) as pool, console.progress("seed", line=chosen.line) as step:
        report = seed_folder(pool, chosen, directory, dry_run=dry_run, step=step)
    console.event(
        "labels_seeded",
        f"{report.images} images: {report.patches} labelled patches {'would come' if dry_run else 'came'} in, "
        f"{report.corrected} corrected, {report.unchanged} unchanged",
        line=chosen.line,
        dry_run=dry_run,
        images=report.images,
        patches=report.patches,
        corrected=report.corrected,
        unchanged=report.unchanged,
    )
