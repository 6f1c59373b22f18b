"""``winnow trainer serve``: the service in the foreground."""

import signal
import threading
from typing import Annotated

import typer

from shared.console import Console
from trainer.commands.options import AsJson, SiteToml


def serve(
    site: SiteToml,
    *,
    rounds: Annotated[bool, typer.Option("--rounds", help="Hold rounds for every line, as rounds.auto does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take candidates in, serve releases over HTTP, and hold rounds where asked; ends at Ctrl-C or SIGTERM."""
    from trainer.service import serve as run  # the database and the web server only when asked

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    run(site, rounds=rounds, console=Console(as_json=as_json), stop=stop)
