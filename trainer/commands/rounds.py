"""``winnow trainer select|train|export|round``: the stages of a line's round, by hand and in the foreground."""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from shared.console import Console
from shared.errors import StateError
from trainer.commands.options import AsJson, Line, SiteToml

if TYPE_CHECKING:
    from trainer.pool.pool import Pick
    from trainer.rounds.machine import Round, Stage
    from trainer.rounds.selecting import Selection
    from trainer.rounds.workbench import Workbench

app = typer.Typer()

_NUMBERS = ("score", "novelty", "marginal", "gain")
_NEIGHBOURS = {"nearest_labelled": "nearest labelled", "nearest_chosen": "nearest chosen"}

OnlyShow = Annotated[bool, typer.Option("--dry-run", help="Show what would be chosen; nothing is handed over.")]
Explain = Annotated[bool, typer.Option("--explain", help="Say of each patch why it is chosen.")]


@app.command("select")
def select(
    site: SiteToml, *, line: Line = None, dry_run: OnlyShow = False, explain: Explain = False, as_json: AsJson = False
) -> None:
    """Choose the next batch and hand it over to be labelled; waits until the pool is large enough."""
    from trainer.pool.pool import Pick  # the database and torch only when asked
    from trainer.rounds.machine import Stage
    from trainer.rounds.selecting import select as choose
    from trainer.rounds.session import working

    with working(site, line, Console(as_json=as_json)) as bench:
        if dry_run:
            selection = choose(bench, _upcoming(bench))
            if explain:
                _summarise(bench, selection)
            _show(bench, "would be handed over", selection.picks, explain=explain)
            return
        _perform(bench, (Stage.DONE, Stage.SPACE, Stage.COLLECT, Stage.SELECT), what="batch to choose")
        if explain:
            handed = [
                Pick(task.candidate_id, task.purpose, task.explanation)
                for task in bench.pool.open_tasks(bench.line.line)
            ]
            _show(bench, "handed over", handed, explain=True)


@app.command("train")
def train(site: SiteToml, *, line: Line = None, as_json: AsJson = False) -> None:
    """Train on the labels that came back, and judge the run on the reference set; torchrun may start it several times."""
    from trainer.learning.together import crewed  # torch only when asked
    from trainer.rounds.machine import Stage
    from trainer.rounds.session import working

    with crewed() as leads:
        if not leads:
            return
        with working(site, line, Console(as_json=as_json)) as bench:
            _perform(bench, (Stage.LABEL, Stage.TRAIN, Stage.GATE), what="labels to train on")


@app.command("export")
def export(site: SiteToml, *, line: Line = None, as_json: AsJson = False) -> None:
    """Export the run that passed the gate and publish its release."""
    from trainer.rounds.machine import Stage  # torch only when asked
    from trainer.rounds.session import working

    with working(site, line, Console(as_json=as_json)) as bench:
        _perform(bench, (Stage.RELEASE,), what="run that passed the gate")


@app.command("round")
def hold(site: SiteToml, *, line: Line = None, as_json: AsJson = False) -> None:
    """Hold one round, or what is left of the one that is under way."""
    from trainer.rounds.machine import Stage  # torch only when asked
    from trainer.rounds.session import working
    from trainer.rounds.worker import begin_next, current_round, hold_round

    with working(site, line, Console(as_json=as_json)) as bench:
        round_ = current_round(bench)
        hold_round(bench, begin_next(bench, round_) if round_.stage is Stage.DONE else round_)


def _perform(bench: "Workbench", stages: "Collection[Stage]", *, what: str) -> None:
    """Perform stages as long as they are among those asked for; refuse when none of them is due."""
    from trainer.rounds.machine import Stage  # torch only when asked
    from trainer.rounds.worker import begin_next, current_round, perform

    round_ = current_round(bench)
    if round_.stage not in stages:
        raise StateError(
            f'line "{bench.line.line}": round {round_.number} is in stage {round_.stage} and has no {what}; nothing was done'
        )
    if round_.stage is Stage.DONE:
        round_ = begin_next(bench, round_)
    while round_.stage in stages and round_.stage is not Stage.DONE:
        round_ = perform(bench, round_)


def _upcoming(bench: "Workbench") -> "Round":
    """Return the round whose selection is next."""
    from trainer.rounds.machine import Stage, upcoming  # torch only when asked
    from trainer.rounds.worker import current_round

    round_ = current_round(bench)
    if round_.stage is Stage.SPACE:
        raise StateError(
            f'line "{bench.line.line}": it has no embedding space yet; winnow trainer select without --dry-run makes one'
        )
    return upcoming(round_)


def _summarise(bench: "Workbench", selection: "Selection") -> None:
    """Say how a batch was chosen: a table for people, one event for machines."""
    settings, batch = bench.line.selection, selection.batch
    facts: dict[str, object] = {
        "strategy": ", ".join(batch.strategies),
        "weighting": settings.weighting if "kdpp" in batch.strategies else None,
        "sampler": ", ".join(batch.samplers) or None,
        "tau": batch.tau,
        "pool": batch.pool,
        "labelled": batch.labelled,
        "train": len(batch.ids),
        "reference": len(selection.reference),
    }
    if bench.console.as_json:
        bench.event("selection", "", **facts, notes=list(batch.notes))
        return
    # The notes were told while the batch was chosen.
    rows = [(name, f"{value:.3g}" if isinstance(value, float) else value) for name, value in facts.items()]
    bench.console.table(f"line {bench.line.line}", ("what", "value"), [row for row in rows if row[1] is not None])


def _show(bench: "Workbench", title: str, picks: "Sequence[Pick]", *, explain: bool) -> None:
    """List chosen patches, with the reasons where asked."""
    bench.event("picks", f"line {bench.line.line}: {len(picks)} patches {title}", picks=len(picks))
    for pick in picks:
        why = pick.explanation if explain else {}
        bench.event("pick", _sentence(pick, why), id=pick.id, purpose=pick.purpose, **why)


def _sentence(pick: "Pick", why: "Mapping[str, object]") -> str:
    """Say of one patch what it is chosen for and, where there are reasons, why."""
    numbers = ", ".join(f"{name} {why[name]:.3f}" for name in _NUMBERS if isinstance(why.get(name), float))
    neighbours = "".join(
        f"\n    {words} {why[name]}, cosine {why[f'{name}_cos']:.3f}"
        for name, words in _NEIGHBOURS.items()
        if why.get(name) is not None
    )
    return f"{pick.id}  {pick.purpose}{': ' if numbers else ''}{numbers}{neighbours}"
