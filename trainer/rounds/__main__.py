"""The worker process: ``python -m trainer.rounds SITE.toml --line L --json``, a child that lives as long as the pipe on its standard input."""

import os
import signal
import stat
import sys
import threading
from pathlib import Path
from typing import Annotated

import typer

from shared.clock import SystemClock
from shared.console import Console
from shared.errors import WinnowError


def main(
    site: Annotated[Path, typer.Argument(metavar="SITE.toml")],
    *,
    line: Annotated[str, typer.Option("--line")],
    as_json: Annotated[bool, typer.Option("--json")] = False,
) -> None:
    """Hold the rounds of one line until they are all done, or until the pipe on standard input ends.

    A worker that a signal ended exits with 128 and the signal's number: 0 would say that its rounds are done.
    """
    from trainer.rounds.session import open_workbench  # noqa: PLC0415  # torch only when the options are right
    from trainer.rounds.workbench import StoppedError  # noqa: PLC0415  # as above
    from trainer.rounds.worker import hold_rounds  # noqa: PLC0415  # as above

    stop = threading.Event()
    heard: list[int] = []

    def end(number: int, _: object) -> None:
        heard.append(number)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        threading.Thread(target=_watch_input, args=(stop,), name="input", daemon=True).start()
    try:
        with open_workbench(site, line, clock=SystemClock(), console=Console(as_json=as_json), stop=stop) as bench:
            hold_rounds(bench)
    except StoppedError:
        if heard:
            raise SystemExit(128 + heard[0]) from None
    except WinnowError as error:
        print(error, file=sys.stderr)
        raise SystemExit(1) from None


def _watch_input(stop: threading.Event) -> None:
    """Set ``stop`` when the parent is gone; unbuffered, so that nothing is held when the process ends first."""
    while os.read(0, 4096):
        pass
    stop.set()


if __name__ == "__main__":
    typer.run(main)
