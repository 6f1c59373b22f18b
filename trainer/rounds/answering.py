"""Label: the oracle answers at once, people whenever they have painted; the stage waits until every task came back."""

from trainer.labelling.oracle import answer_open_tasks
from trainer.rounds.machine import AllLabelled, Round
from trainer.rounds.workbench import Workbench


def await_labels(bench: Workbench, round_: Round) -> AllLabelled:
    """Tell what was handed over, and wait until no task of the line is open."""
    _tell_batch(bench, round_)
    told = -1
    while True:
        bench.check()
        waiting = len(bench.pool.open_tasks(bench.line.line))
        if not waiting:
            return AllLabelled()
        if bench.line.labelling.source == "oracle":
            with bench.progress("label", round_.number) as step:
                answer_open_tasks(bench.pool, bench.line, step=step)
            continue
        if waiting != told:
            told = waiting
            bench.event(
                "waiting",
                f"round {round_.number}: {waiting} labels to come; winnow trainer labels export, paint, import",
                round=round_.number,
                labels=waiting,
            )
        bench.wait()


def _tell_batch(bench: Workbench, round_: Round) -> None:
    """Tell the selection here, after its commit, so that a restart tells it again rather than never."""
    bench.event(
        "selected",
        f"round {round_.number}: {round_.train} patches to train on and {round_.reference} for reference handed over{_agreement(round_)}",
        round=round_.number,
        train=round_.train,
        reference=round_.reference,
        labels_total=labels_total(bench, round_.number),
        rank_correlation=round_.rank_correlation,
    )


def _agreement(round_: Round) -> str:
    if round_.rank_correlation is None:
        return ""
    return f"; the nodes' scores rank as the newest run's do by {round_.rank_correlation:.2f}"


def labels_total(bench: Workbench, number: int) -> int:
    """Return how many labels the line's rounds up to this one have asked for, labels that came with images aside."""
    return sum(task.purpose != "seed" and task.round <= number for task in bench.pool.tasks(bench.line.line))
