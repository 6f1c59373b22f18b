"""Gate: the run and the one in service, measured on the same reference patches."""

import numpy as np

from shared.errors import StateError
from trainer.learning.evaluate import evaluate, reliability
from trainer.learning.metrics import Confusion
from trainer.learning.model import TaskModel, best_device
from trainer.learning.snapshot import Snapshot, freeze
from trainer.learning.weights import load_run
from trainer.release.gate import GateReport, Measured, judge
from trainer.release.latency import Latency, measure
from trainer.release.parity import open_graph
from trainer.release.variants import export_graph
from trainer.rounds.machine import HeldBack, Passed, Round
from trainer.rounds.workbench import Workbench


def judge_run(bench: Workbench, round_: Round) -> Passed | HeldBack:
    """Judge the round's run on the whole reference set of the line."""
    if round_.run is None:
        raise StateError(f"round {round_.number}: no run to judge; train first")
    reference = freeze(bench.pool, bench.line, purposes=("reference",))
    model = _model(bench, round_.run)
    serving = None if round_.serving is None else _model(bench, round_.serving)
    report = judge(
        Measured(
            _counts(bench, model, reference),
            # Patch by patch: the calibration error is bounded by resampling patches.
            tuple(
                reliability(model, reference.crops[place : place + 1], reference.masks[place : place + 1])
                for place in range(len(reference.ids))
            ),
            _latency(bench, model, serving),
        ),
        None if serving is None else _counts(bench, serving, reference),
        bench.line.gate,
        classes=bench.line.class_names,
        rng=bench.rng(round_.number, "gate"),
    )
    _tell(bench, round_, report)
    if report.passed:
        return Passed(report.miou, report.ece, report.classes, report.notes)
    return HeldBack(report.miou, report.reasons, report.ece, report.classes, report.notes)


def _tell(bench: Workbench, round_: Round, report: GateReport) -> None:
    bench.event(
        "gate",
        f"round {round_.number}: {'passed' if report.passed else 'held back'} on {report.patches} reference patches, "
        f"mIoU {_shown(report.miou)}, in service {_shown(report.miou_before)}, calibration error {_shown(report.ece)}"
        f"{''.join(f'; {why}' for why in report.reasons)}",
        round=round_.number,
        passed=report.passed,
        miou=report.miou,
        miou_before=report.miou_before,
        per_class=report.per_class,
        class_patches={name: found.patches for name, found in report.classes.items()},
        class_bounds={name: [found.low, found.high] for name, found in report.classes.items()},
        ece=report.ece,
        latency_ms=None if report.latency is None else report.latency.ms,
        latency_before_ms=None if report.latency is None else report.latency.before_ms,
        patches=report.patches,
        reasons=list(report.reasons),
        notes=list(report.notes),
    )
    for note in report.notes:
        bench.event("note", f"round {round_.number}: gate: {note}", round=round_.number, note=f"gate: {note}")
    if report.latency is not None:
        bench.event("latency", f"round {round_.number}: {report.latency}", round=round_.number, ms=report.latency.ms)


def _model(bench: Workbench, run: str) -> TaskModel:
    model, record = load_run(bench.paths.runs / run)
    if record.classes != bench.line.class_names:
        raise StateError(
            f"run {run}: it knows {len(record.classes)} classes, line {bench.line.line} has {len(bench.line.classes)} or others; a class map is for life, begin another line"
        )
    return model.to(best_device())


def _counts(bench: Workbench, model: TaskModel, reference: Snapshot) -> Confusion:
    return evaluate(model, reference.crops, reference.masks, classes=len(bench.line.classes))


def _latency(bench: Workbench, model: TaskModel, serving: TaskModel | None) -> Latency | None:
    """Time the task graph as it would be released, where the line has a limit, beside that of the run in service."""
    settings = bench.line.gate
    if settings.latency_ms is None:
        return None
    new, old = (
        None
        if one is None
        else open_graph(
            export_graph("task", one, bench.line, release="gate"),
            what="task graph in the gate",
            provider=settings.latency_provider,
            threads=settings.latency_threads,
        )
        for one in (model, serving)
    )
    assert new is not None
    grid = bench.line.grid
    # What a convolution takes does not depend on what it sees.
    tile = np.full((1, grid.tile_px, grid.tile_px, grid.channels), 128, dtype=np.uint8)
    return measure(
        new, old, tile, clock=bench.clock, provider=settings.latency_provider, threads=settings.latency_threads
    )


def _shown(miou: float | None) -> str:
    return "unknown" if miou is None else f"{miou:.3f}"
