"""The worker of one line's rounds: performs the stage that is due, and commits where the round stands after it.

The round's row in the pool is the only memory. Killed anywhere, the worker does the stage again that was not
committed: with the same seeds, and finding on disk what it had finished. Events are told at least once.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from trainer.pool.pool import Pick
from trainer.rounds.answering import await_labels
from trainer.rounds.collecting import collect
from trainer.rounds.gating import judge_run
from trainer.rounds.machine import Fact, Round, Stage, advance, first_round, next_round
from trainer.rounds.overriding import heed
from trainer.rounds.releasing import release_run
from trainer.rounds.selecting import select
from trainer.rounds.spacing import make_space
from trainer.rounds.training import train_run
from trainer.rounds.wish import read_round, write_round
from trainer.rounds.workbench import AskedError, Workbench

_WORK: Final[Mapping[Stage, Callable[[Workbench, Round], Fact]]] = {
    Stage.SPACE: make_space,
    Stage.COLLECT: collect,
    Stage.LABEL: await_labels,
    Stage.TRAIN: train_run,
    Stage.GATE: judge_run,
    Stage.RELEASE: release_run,
}


def hold_rounds(bench: Workbench) -> None:
    """Hold one round after another, until ``rounds.max_rounds`` are done or for ever without a limit."""
    limit = bench.line.rounds.max_rounds
    # Where all rounds are done, no stage is left that a wish would be heeded before.
    round_ = heed(bench, current_round(bench))
    for row in bench.pool.rounds(bench.line.line):
        # Whoever listens may have missed them when the worker before this one was killed.
        if row.stage == Stage.DONE and row.number < round_.number:
            _tell_done(bench, read_round(row))
    while True:
        round_ = hold_round(bench, round_)
        if limit and round_.number + 1 >= limit:
            bench.event("all_done", f"all {limit} rounds are done")
            return
        round_ = begin_next(bench, round_)


def hold_round(bench: Workbench, round_: Round) -> Round:
    """Perform what is left of a round, and tell that it is done."""
    while round_.stage is not Stage.DONE:
        round_ = perform(bench, round_)
    _tell_done(bench, round_)
    return round_


def begin_next(bench: Workbench, done: Round) -> Round:
    """Begin the round after a finished one."""
    round_ = next_round(done)
    save_round(bench, round_)
    return round_


def perform(bench: Workbench, round_: Round) -> Round:
    """Perform the stage that is due, commit, and return where the round stands then."""
    bench.check()
    round_ = heed(bench, round_)
    bench.event("stage", f"round {round_.number}: {round_.stage}", round=round_.number, stage=str(round_.stage))
    try:
        fact, picks = _work(bench, round_)
    except AskedError:
        return heed(bench, round_)
    moved = advance(round_, fact)
    with bench.pool.write():
        if picks:
            bench.pool.hand_over(bench.line.line, round_.number, picks)
        save_round(bench, moved)
    # A wish for an older round may have come meanwhile, and this may be the last stage that anybody performs.
    return heed(bench, moved)


def current_round(bench: Workbench) -> Round:
    """Read where the line's rounds stand; a line without any begins."""
    row = bench.pool.round(bench.line.line)
    return first_round() if row is None else read_round(row)


def save_round(bench: Workbench, round_: Round) -> None:
    """Write where the round stands."""
    write_round(bench.pool, bench.line.line, round_)


def _work(bench: Workbench, round_: Round) -> tuple[Fact, Sequence[Pick]]:
    if round_.stage is Stage.SELECT:
        selection = select(bench, round_)
        return selection.fact, selection.picks
    return _WORK[round_.stage](bench, round_), ()


def _tell_done(bench: Workbench, round_: Round) -> None:
    asked = [
        task for task in bench.pool.tasks(bench.line.line) if task.round <= round_.number and task.purpose != "seed"
    ]
    # A wish that nobody has heeded yet has released nothing.
    served = round_.run is not None and round_.serving == round_.run
    bench.event(
        "round_done",
        f"round {round_.number}: done, {'released' if served else 'held back'}",
        round=round_.number,
        labels_total=len(asked),
        train_total=sum(task.purpose == "train" for task in asked),
        run=round_.run,
        released=served,
        miou=round_.miou,
    )
