"""`winnow release`: the releases that the site's store holds."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from deploy.store import Store, StoredRelease, store_root
from shared.config import LineConfig, SiteConfig, load_site
from shared.console import Console
from shared.errors import ConfigError, ReleaseError
from shared.release import Override

app = typer.Typer(help="The releases of a site.", no_args_is_help=True)

SiteFile = Annotated[Path, typer.Argument(metavar="SITE.toml", help="The site's configuration.")]
LineOption = Annotated[str | None, typer.Option("--line", help="One line; all of the site's without it.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


def open_store(site_file: Path) -> tuple[SiteConfig, dict[str, LineConfig], Store]:
    """Read the site and open its store."""
    site, lines = load_site(site_file)
    return site, lines, Store(store_root(site_file, site))


def chosen_lines(lines: dict[str, LineConfig], line: str | None) -> list[str]:
    """Name the lines a command is about."""
    if line is None:
        return sorted(lines)
    if line not in lines:
        raise ConfigError(f'--line "{line}": known lines are {", ".join(sorted(lines))}')
    return [line]


@app.command("list")
def list_releases(site_file: SiteFile, *, line: LineOption = None, as_json: JsonOption = False) -> None:
    """List the releases, oldest first."""
    _, lines, store = open_store(site_file)
    rows = [
        (name, stored.manifest.release, utc(stored.manifest.created), *_made_of(stored))
        for name in chosen_lines(lines, line)
        for stored in store.releases(name)
    ]
    columns = ("line", "release", "created", "round", "labels", "miou", "graphs", "bytes")
    people = ("release", "created", "round", "labels", "miou", "graphs", "bytes")
    show_table(Console(as_json=as_json), "releases", columns, rows, people=people)


@app.command("show")
def show_release(
    site_file: SiteFile,
    release: Annotated[str, typer.Argument(help="The release's name, such as steel-0003.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Show one release and hash its files against the manifest."""
    _, lines, store = open_store(site_file)
    line = release.rpartition("-")[0]
    if line not in lines:
        raise ReleaseError(
            f'release "{release}": known lines are {", ".join(sorted(lines))}, names are <line>-<number>'
        )
    stored = store.release(line, release)
    store.check_files(stored)
    manifest, lineage = stored.manifest, stored.manifest.lineage
    facts: dict[str, object] = {
        "line": line,
        "release": manifest.release,
        "manifest_sha256": stored.sha256,
        "created": utc(manifest.created),
        "classes": list(manifest.classes),
        "space": None if manifest.space is None else manifest.space.id,
        "round": lineage.round,
        "run": lineage.run,
        "labels": lineage.labels,
        "miou": lineage.miou,
        "reference_patches": lineage.reference_patches,
        "override": None if lineage.override is None else _override(lineage.override),
        "verified": True,
    }
    console = Console(as_json=as_json)
    files = [(role, entry.name, entry.bytes, entry.sha256) for role, entry in sorted(manifest.files.items())]
    if as_json:
        columns = ("role", "name", "bytes", "sha256")
        console.event("release", "", **facts, files=[dict(zip(columns, row, strict=True)) for row in files])
        return
    console.table(f"release {release}", ("fact", "value"), [(key, _plain(value)) for key, value in facts.items()])
    console.table("files, each verified", ("role", "name", "bytes", "sha256"), files)


def show_table(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, people: Sequence[str]
) -> None:
    """Show a listing: every column to machines, to people those that fit on a terminal."""
    if console.as_json:
        console.table(title, columns, rows)
        return
    places = [columns.index(name) for name in people]
    console.table(title, people, [[row[place] for place in places] for row in rows])


def utc(seconds: float) -> str:
    """Write a moment as people read it."""
    return datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _made_of(stored: StoredRelease) -> tuple[object, ...]:
    manifest, lineage = stored.manifest, stored.manifest.lineage
    miou = None if lineage.miou is None else round(lineage.miou, 4)
    graphs = " ".join(role for role in ("task", "mask", "space") if role in manifest.files)
    return lineage.round, lineage.labels, miou, graphs, sum(entry.bytes for entry in manifest.files.values())


def _override(given: Override) -> dict[str, object]:
    return {"reason": given.reason, "by": given.by, "at": utc(given.at)}


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return "; ".join(f"{key}: {part}" for key, part in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list) else value
