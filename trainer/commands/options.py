"""The options that several commands share."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

SiteToml: TypeAlias = Annotated[Path, typer.Argument(metavar="SITE.toml", help="The site's configuration.")]
Line: TypeAlias = Annotated[str | None, typer.Option("--line", help="The line; a site's only line needs no name.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON lines instead of sentences.")]
DryRun: TypeAlias = Annotated[bool, typer.Option("--dry-run", help="Check everything and say what would come in.")]
