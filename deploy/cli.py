"""The `winnow` command: its root, loaded lazily, and the one place where an error becomes a line.

The table holds names, not imports: `winnow --help` loads no part of winnow, and a machine that has only one
part installed can run that part.
"""

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import typer

from shared.errors import WinnowError

_OURS: Final = frozenset({"shared", "edge_agent", "trainer", "deploy"})
_INTERRUPTED: Final = 130
_USAGE: Final = 2


@dataclass(frozen=True, slots=True)
class _Entry:
    """One command: where its app stands, the extra that installs what it imports, one line for `--help`."""

    app: str
    extra: str
    help: str


COMMANDS: Final[dict[str, _Entry]] = {
    "agent": _Entry("edge_agent.cli:app", "edge,cpu", "Run the agent of a camera node, or replay frames through it."),
    "trainer": _Entry("trainer.cli:app", "trainer", "Serve the centre; select, train, export, exchange labels."),
    "experiment": _Entry(
        "trainer.commands.experiment:app",
        "trainer",
        "Run the methods of the papers side by side; baselines beside a line.",
    ),
    "release": _Entry("deploy.commands.release:app", "deploy", "List and show the releases of a site."),
    "rollout": _Entry("deploy.commands.rollout:app", "deploy", "Bring a release to the nodes and watch it arrive."),
    "fleet": _Entry("deploy.commands.fleet:app", "deploy", "See what every node of a site does."),
    "demo": _Entry("deploy.commands.demo:app", "deploy", "Run the whole loop on this machine and write a report."),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    name = next((word for word in given if not word.startswith("-")), None)
    try:
        answer = typer.main.get_command(_root(name))(given or ["--help"], prog_name="winnow", standalone_mode=False)
    except WinnowError as error:
        _say(str(error))
        return 1
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if name not in COMMANDS or not missing or missing in _OURS:
            raise
        extra = COMMANDS[name].extra
        _say(
            f"winnow {name}: needs the extra [{extra}] (module {error.name} is missing); pip install 'winnow[{extra}]'"
        )
        return 1
    except OSError as error:
        # A disk that is full, a folder that may not be written to, a file where a folder should be.
        where = "" if error.filename is None else f"{error.filename}: "
        _say(f"winnow {name}: {where}{error.strerror or error}; the command ends, what was written before stays")
        return 1
    except (KeyboardInterrupt, typer.Abort):
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001  # what is no usage error is raised again
        return _usage(error, name)
    return answer if isinstance(answer, int) else 0


def _root(name: str | None) -> typer.Typer:
    """Build the root with the named command in it; the others are there by their help line alone."""
    root = typer.Typer(
        help="Keep the few camera patches that would teach a segmentation model something, and leave the rest.",
        add_completion=False,
        pretty_exceptions_enable=False,
    )

    @root.callback()
    def _winnow() -> None:
        pass

    for command, entry in COMMANDS.items():
        if command == name:
            module, _, attribute = entry.app.partition(":")
            app: typer.Typer = getattr(importlib.import_module(module), attribute)
            root.add_typer(app, name=command, help=entry.help)
        else:
            root.command(command, help=entry.help)(_not_loaded)
    return root


def _not_loaded() -> None:
    raise AssertionError("only the named command is ever run")


def _usage(error: Exception, name: str | None) -> int:
    """Tell a wrong command line in one line; anything else is our bug and keeps its traceback."""
    # Typer brings its own copy of click in some versions and not in others: know the error by its shape.
    show, message = getattr(error, "show", None), getattr(error, "format_message", None)
    if show is None or message is None:
        raise error
    if type(error).__name__ == "NoArgsIsHelpError":
        show()
        return _USAGE
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else f"winnow {name or ''}".strip()
    _say(f"{command}: {str(message()).rstrip('.')}; see {command} --help")
    return _USAGE


def _say(text: str) -> None:
    from shared.console import plain  # noqa: PLC0415  # rich is loaded only where there is something to say

    sys.stderr.write(f"{plain(text)}\n")


if __name__ == "__main__":
    sys.exit(main())
