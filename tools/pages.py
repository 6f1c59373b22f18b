"""The pages of docs/ that are generated: every command, the state tables, and where the papers' methods stand.

``python tools/pages.py`` writes them; a test asks whether the committed pages are current.
"""

import importlib
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any, Final

import typer

from deploy.cli import COMMANDS
from edge_agent.releases import activation, events
from shared.errors import StateError
from shared.release import Rollout
from trainer.experiment.standings import PENDING_GPU, Standing, standings
from trainer.rounds import machine

ROOT: Final = Path(__file__).resolve().parent.parent
DOCS: Final = ROOT / "docs"
RESULTS: Final = ROOT / "benchmarks" / "results"
RECIPES: Final = ROOT / "recipes"
_GENERATED: Final = "<!-- Written by tools/pages.py (make docs); edit the code instead. -->\n"


def pages() -> dict[str, str]:
    """Write every generated page, by file name."""
    return {"cli.md": _cli_page(), "methods.md": _methods_page(), "states.md": _states_page()}


def _cli_page() -> str:
    parts = [
        "# Commands\n",
        _GENERATED,
        "Every command takes `--help`. Commands with `--json` write one JSON object a line to standard output and",
        "everything else to standard error. An error is one line on standard error and exit status 1; a wrong command",
        "line is exit status 2, Ctrl-C is 130.\n",
    ]
    for name, entry in COMMANDS.items():
        module, _, attribute = entry.app.partition(":")
        app: typer.Typer = getattr(importlib.import_module(module), attribute)
        parts += _command(typer.main.get_command(app), f"winnow {name}", depth=2)
    return "\n".join(parts).rstrip() + "\n"


def _command(command: Any, path: str, *, depth: int) -> list[str]:
    """Describe one command and what lies below it; known by shape, for typer may bring its own click."""
    parts = [f"{'#' * min(depth, 4)} {path}\n"]
    if command.help:
        parts.append(f"{_plain(command.help)}\n")
    inner = getattr(command, "commands", {})
    shown = [
        param
        for param in command.params
        if not getattr(param, "hidden", False) and param.name not in {"help", "install_completion", "show_completion"}
    ]
    if shown:
        parts.append(f"```\n{path} {' '.join(_usage(param) for param in shown)}\n```\n")
        parts.append("| | |\n|---|---|")
        parts += [f"| {_names(param)} | {_about(param)} |" for param in shown]
        parts.append("")
    for name in sorted(inner):
        if not inner[name].hidden:
            parts += _command(inner[name], f"{path} {name}", depth=depth + 1)
    return parts


def _is_argument(param: Any) -> bool:
    return str(param.param_type_name) == "argument"


def _usage(param: Any) -> str:
    if _is_argument(param):
        word = param.metavar or param.name.upper()
    else:
        word = param.opts[0] if param.is_flag else f"{param.opts[0]} {_value(param)}"
    return word if param.required else f"[{word}]"


def _value(param: Any) -> str:
    return str(param.metavar or param.name.rsplit("_", 1)[-1].upper())


def _names(param: Any) -> str:
    if _is_argument(param):
        return f"`{param.metavar or param.name.upper()}`"
    return ", ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])


def _about(param: Any) -> str:
    text = _plain(getattr(param, "help", None) or "")
    # A flag that is off and a list that is empty go without saying.
    unsaid = param.required or callable(param.default) or param.default in (None, False, [], ())
    return text if unsaid else f"{text} Default: `{param.default}`.".lstrip()


def _plain(text: str) -> str:
    """Join the lines of each paragraph."""
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n")).replace("|", "\\|")


def _states_page() -> str:
    stages = [stage.value for stage in machine.Stage]
    rounds = sorted(
        {(state.value, event.__name__, after.value) for (state, event), after in machine.TABLE.items()},
        key=lambda row: (stages.index(row[0]), stages.index(row[2]), row[1]),
    )
    order = [state.value for state in activation.State]
    steps = sorted(set(_activation_steps()), key=lambda row: (order.index(row[0]), row[1], order.index(row[2]), row[3]))
    parts = [
        "# State tables\n",
        _GENERATED,
        "## A release on a node\n",
        "One table per line and node, in `edge_agent/releases/activation.py`. What it does not hold is refused by name",
        "and changes nothing. Events that leave the state as it is are not drawn.\n",
        _diagram([(state, event, after) for state, event, after, _ in steps if state != after]),
        "| state | event | next | then |\n|---|---|---|---|",
        *(f"| {state} | {event} | {after} | {effect} |" for state, event, after, effect in steps),
        "",
        "## A round at the trainer\n",
        "One table per line, in `trainer/rounds/machine.py`. A stage is the work to be done next; a fact, committed to",
        "the pool, moves the round on. A worker that was killed reads the stage and goes on from there.\n",
        _diagram(rounds),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _methods_page() -> str:
    parts = [
        "# Methods of the papers\n",
        _GENERATED,
        "Every method that winnow is built on, the setting that selects it, the studies that run it and what the newest",
        "committed result says beside the paper's figure, where it has one that can be compared. [Experiments](experiments.md)",
        "says how to read a figure; names that end in `-cpu` are scaled down. A: Neven and Goedemé, uncertainty-aware DPP;",
        "B: MEAL; C: the Waterloo thesis on query methods; D: region and pixel querying; E: deep probabilistic ensembles.\n",
        "`winnow experiment methods` writes the same. A recipe runs with",
        "`winnow experiment run recipes/NAME.toml --data DIR --out DIR`, a result is written by `winnow experiment publish`,",
        "and this page by `make docs`.\n",
        "| row | method | setting | recipes | result | figure | the paper |",
        "|---|---|---|---|---|---|---|",
        *(_method(found) for found in standings(RESULTS, RECIPES)),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _method(found: Standing) -> str:
    method = found.method
    recipes = ", ".join(f"[{name}](../recipes/{name}.toml)" for name in found.recipes)
    result = f"[{found.result}](../benchmarks/results/{found.result})" if found.result else ""
    pending = f"{PENDING_GPU} at full size" if found.pending_gpu else ""
    cells = [
        method.id,
        method.name,
        f"`{method.setting}`",
        recipes,
        "; ".join(filter(None, (result, pending))),
        found.figure,
        method.paper,
    ]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _diagram(steps: list[tuple[str, str, str]]) -> str:
    joined: dict[tuple[str, str], list[str]] = {}
    for state, event, after in steps:
        names = joined.setdefault((state, after), [])
        if event not in names:
            names.append(event)
    lines = [f"    {state} --> {after}: {', '.join(names)}" for (state, after), names in joined.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```\n"])


def _activation_steps() -> Iterator[tuple[str, str, str, str]]:
    """Walk the node's table with every kind of line and event, and tell what came of it."""
    old, held, new = (
        activation.Held(release=f"line-000{number}", number=number, sha256=str(number) * 64) for number in (1, 2, 3)
    )
    for state, current, previous, tries, bad in product(
        activation.State, (None, held), (None, old), (0, activation.MAX_TRIES), ({}, {new.sha256: "it failed"})
    ):
        underway = state not in {activation.State.IDLE, activation.State.FAILED}
        before = activation.Activation(
            line="line",
            state=state,
            current=current,
            previous=previous,
            wanted=new if underway else None,
            tries=tries,
            bad=bad,
        )
        for event in _events(old, held, new):
            try:
                after, effect = activation.advance(before, event)
            except StateError:
                continue
            yield state.value, type(event).__name__, after.state.value, effect.value if effect else ""


def _events(old: activation.Held, held: activation.Held, new: activation.Held) -> list[events.Event]:
    orders = [
        Rollout(
            line="line",
            rollout=1,
            release=wanted.release,
            number=wanted.number,
            manifest_sha256=wanted.sha256,
            min_release=floor,
        )
        for wanted, floor in product((old, held, new), (0, new.number))
    ]
    return [
        *(events.Started(sound=frozenset(sound)) for sound in ((), (old.sha256,), (held.sha256, old.sha256))),
        *(events.Ordered(rollout=order) for order in orders),
        events.Stopping(),
        events.Arrived(sha256=new.sha256),
        events.FetchFailed(sha256=new.sha256, reason=""),
        events.TrialPassed(sha256=new.sha256),
        events.TrialFailed(sha256=new.sha256, reason=""),
        *(events.Swapped(sha256=running.sha256, at=0.0) for running in (held, new)),
        events.SwapRefused(sha256=new.sha256, reason=""),
        events.CurrentRefused(sha256=held.sha256, reason=""),
        events.ProbationPassed(sha256=new.sha256),
        events.ProbationFailed(sha256=new.sha256, reason=""),
    ]


def main() -> None:
    """Write the pages."""
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")


if __name__ == "__main__":
    main()
