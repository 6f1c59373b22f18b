"""``winnow trainer gate``: what the gate found of the newest run, and a run released over it."""

import getpass
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from shared.clock import SystemClock
from shared.console import Console
from shared.errors import ConfigError, StateError
from trainer.commands.options import AsJson, Line, SiteToml

if TYPE_CHECKING:
    from shared.config import LineConfig
    from trainer.rounds.machine import Round

Override = Annotated[
    str | None,
    typer.Option("--override", metavar="REASON", help="Release the run that was held back; the reason is kept."),
]
By = Annotated[
    str | None, typer.Option("--by", metavar="NAME", help="Who releases it; the account's name when absent.")
]


def gate(
    site: SiteToml,
    *,
    line: Line = None,
    override: Override = None,
    by: By = None,
    as_json: AsJson = False,
) -> None:
    """Show how the newest run was judged, or release it although it was held back."""
    from trainer.paths import ClaimedError, load, pick_line  # the database and torch only when asked
    from trainer.pool.pool import Pool
    from trainer.rounds.wish import judged_rounds, wish_override

    if by is not None and override is None:
        raise ConfigError("--by says who overrides the gate; give --override REASON as well")
    console = Console(as_json=as_json)
    _, lines, paths = load(site)
    chosen = pick_line(lines, line)
    if not paths.pool.exists():
        raise StateError(f'{paths.directory}: no pool is there yet; "winnow trainer serve" makes it')
    with Pool.open(paths.directory) as pool:
        if override is None:
            judged = judged_rounds(pool, chosen.line)
            if not judged:
                raise StateError(f'line "{chosen.line}": no run was judged yet; winnow trainer train judges one')
            _show(console, chosen, judged[-1])
            return
        wished = wish_override(pool, chosen.line, reason=override, by=by or getpass.getuser(), now=SystemClock().now())
    from trainer.rounds.overriding import heed
    from trainer.rounds.session import working
    from trainer.rounds.worker import current_round

    # Whoever holds the rounds heeds it; the wish is on record already.
    with suppress(ClaimedError):
        with working(site, line, console) as bench:
            heed(bench, current_round(bench))
        return
    console.event(
        "wished",
        f"round {wished.number}: run {wished.run} will be released by the process that holds the rounds of line {chosen.line}, before its next stage",
        line=chosen.line,
        round=wished.number,
        run=wished.run,
    )


def _show(console: Console, line: "LineConfig", round_: "Round") -> None:
    """Show a verdict: one event for machines; for people the classes as a table, then reasons and doubts."""
    override = (
        None
        if round_.override is None
        else {
            "reason": round_.override.reason,
            "by": round_.override.by,
            "at": round_.override.at,
        }
    )
    bounds = {
        name: {"patches": found.patches, "iou": found.value, "low": found.low, "high": found.high}
        for name, found in round_.classes.items()
    }
    floors = line.gate.class_floors
    words = "passed" if round_.passed else "held back" if override is None else "held back, overridden"
    # A round from before bounds were kept has none to show.
    if bounds and not console.as_json:
        rows = [
            (name, found["patches"], *(_plain(found[key]) for key in ("iou", "low", "high")), _plain(floors.get(name)))
            for name, found in bounds.items()
        ]
        console.table(
            f"line {line.line}, round {round_.number}, run {round_.run}: {words}",
            ("class", "reference patches", "IoU", "at least", "at most", "floor"),
            rows,
        )
    told = [f"mIoU {_plain(round_.miou)}, calibration error {_plain(round_.ece)} (allowed {line.gate.max_ece:g})"]
    told += [f"refused: {reason}" for reason in round_.reasons]
    told += [f"unsure: {note}" for note in round_.notes]
    if round_.override is not None:
        told.append(f"overridden by {round_.override.by}: {round_.override.reason}")
    console.event(
        "verdict",
        "\n".join(told),
        line=line.line,
        round=round_.number,
        run=round_.run,
        passed=round_.passed,
        miou=round_.miou,
        ece=round_.ece,
        classes=bounds,
        reasons=list(round_.reasons),
        notes=list(round_.notes),
        override=override,
    )


def _plain(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
