"""Gate: the run and the one in service, measured on the same reference patches."""

from shared.errors import StateError
from trainer.learning.evaluate import evaluate
from trainer.learning.metrics import Confusion
from trainer.learning.model import best_device
from trainer.learning.snapshot import Snapshot, freeze
from trainer.learning.weights import load_run
from trainer.release.gate import judge
from trainer.rounds.machine import HeldBack, Passed, Round
from trainer.rounds.workbench import Workbench


def judge_run(bench: Workbench, round_: Round) -> Passed | HeldBack:
    """Judge the round's run on the whole reference set of the line."""
    if round_.run is None:
        raise StateError(f"round {round_.number}: no run to judge; train first")
    reference = freeze(bench.pool, bench.line, purposes=("reference",))
    report = judge(
        _measured(bench, round_.run, reference),
        None if round_.serving is None else _measured(bench, round_.serving, reference),
        bench.line.gate,
        classes=bench.line.class_names,
        rng=bench.rng(round_.number, "gate"),
    )
    bench.event(
        "gate",
        f"round {round_.number}: {'passed' if report.passed else 'held back'} on {report.patches} reference patches, "
        f"mIoU {_shown(report.miou)}, in service {_shown(report.miou_before)}{''.join(f'; {why}' for why in report.reasons)}",
        round=round_.number,
        passed=report.passed,
        miou=report.miou,
        miou_before=report.miou_before,
        per_class=report.per_class,
        patches=report.patches,
        reasons=list(report.reasons),
    )
    return Passed(report.miou) if report.passed else HeldBack(report.miou, report.reasons)


def _measured(bench: Workbench, run: str, reference: Snapshot) -> Confusion:
    model, record = load_run(bench.paths.runs / run)
    if record.classes != bench.line.class_names:
        raise StateError(
            f"run {run}: it knows {len(record.classes)} classes, line {bench.line.line} has {len(bench.line.classes)} or others; a class map is for life, begin another line"
        )
    return evaluate(model.to(best_device()), reference.crops, reference.masks, classes=len(record.classes))


def _shown(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"
