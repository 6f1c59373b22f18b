"""Train: freeze what is labelled, learn from it, judge it by the reference set on the way, and keep the run.

The reference set tells the curves of a run, where a training that may end early does so, and the temperature that its
logits are divided by. Nothing is ever learned from it but these.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.config import LineConfig
from shared.console import Step
from shared.errors import InputError, StateError
from shared.geometry import Image
from trainer.learning.calibration import Calibration
from trainer.learning.checkpoints import Checkpoints
from trainer.learning.evaluate import calibrate
from trainer.learning.judging import Judging, judging
from trainer.learning.log import LOG_NAME, read_log
from trainer.learning.loop import TrainReport, train
from trainer.learning.model import TaskModel, build_model
from trainer.learning.snapshot import Snapshot, freeze
from trainer.learning.together import tell_lesson
from trainer.learning.weights import RunRecord, copy_weights, has_run, load_run, read_record, save_run
from trainer.representation.sources import initialise_encoder
from trainer.representation.space import SpaceModule, load_space
from trainer.rounds.machine import Round, Trained
from trainer.rounds.workbench import Workbench

CURVES_NAME: Final = "training.png"
#: Of a larger reference set so many patches, evenly chosen, judge a training on its way; the gate looks at all.
WATCHED: Final = 256


def train_run(bench: Workbench, round_: Round) -> Trained:
    """Train the round's run, or find it complete from before a restart."""
    snapshot = freeze(bench.pool, bench.line)
    if not snapshot.ids:
        raise StateError(f'line "{bench.line.line}": no label to train on came back; label patches first')
    reference = freeze(bench.pool, bench.line, purposes=("reference",))
    # The labels' hash in the name: a run of an older pool in the same folder is never taken for this one.
    run = f"{bench.line.line}-r{round_.number:03d}-{snapshot.id[:8]}"
    record = _kept(bench, run, snapshot, reference) or _learn(bench, round_, run, snapshot, reference)
    # Also when the run is from before a restart: a kill between the two leaves checkpoints behind.
    _checkpoint_place(bench, every=1).clear()
    loss = record.losses[-1] if record.losses else None
    bench.event(
        "trained",
        f"round {round_.number}: run {run} on {record.samples} labels in {record.seconds:.0f} s, loss {_shown(loss)}",
        round=round_.number,
        run=run,
        samples=record.samples,
        seconds=round(record.seconds, 2),
        loss=loss,
    )
    return Trained(run)


def fit(
    line: LineConfig,
    crops: Image,
    masks: NDArray[np.uint8],
    *,
    seed: int,
    start: TaskModel | None,
    space: SpaceModule | None = None,
    step: Step,
    checkpoints: Checkpoints | None = None,
    judged: Judging | None = None,
    log: Path | None = None,
) -> tuple[TaskModel, TrainReport]:
    """Train a model as the line's settings say; every arm learns through here.

    It begins with the weights of ``start``, without one with new ones, their encoder that of a ``space`` where one is given.
    """
    classes = len(line.classes)
    model = build_model(
        line.learning,
        classes=classes,
        channels=line.grid.channels,
        seed=seed,
        heads=line.acquisition.heads,
        beta=_beta_of(line),
    )
    if start is not None:
        copy_weights(start, model)
    elif space is not None:
        initialise_encoder(model, space)
    settings = line.learning.decisive()
    tell_lesson(model, crops, masks, settings, seed=seed, judging=judged)
    report = train(
        model,
        crops,
        masks,
        settings,
        classes=classes,
        seed=seed,
        step=step,
        checkpoints=checkpoints,
        judging=judged,
        log=log,
    )
    return model, report


def _beta_of(line: LineConfig) -> float:
    return line.acquisition.beta if line.acquisition.heads else 0.0


def _kept(bench: Workbench, run: str, snapshot: Snapshot, reference: Snapshot) -> RunRecord | None:
    """Return a run that was complete before a restart, if it learned from these very labels and was judged by those."""
    folder = bench.paths.runs / run
    if not has_run(folder):
        return None
    record = read_record(folder)
    alike = (
        (record.snapshot, record.reference) == (snapshot.id, reference.id)
        and record.learning.decisive() == bench.line.learning.decisive()
        and (record.heads, record.beta) == (bench.line.acquisition.heads, _beta_of(bench.line))
    )
    return record if alike else None


def _learn(bench: Workbench, round_: Round, run: str, snapshot: Snapshot, reference: Snapshot) -> RunRecord:
    line, folder = bench.line, bench.paths.runs / run
    seed = training_seed(bench, round_.number)
    start = starting_model(bench, round_.run)
    every = line.learning.checkpoint_every
    some = watched(len(reference.ids))
    with bench.progress("train", round_.number) as step:
        model, report = fit(
            line,
            snapshot.crops,
            snapshot.masks,
            seed=seed,
            start=start,
            space=space_to_start_from(bench),
            step=step,
            checkpoints=_checkpoint_place(bench, every=every) if every else None,
            judged=judging(line.learning, reference.crops[some], reference.masks[some], classes=len(line.classes)),
            log=folder / LOG_NAME,
        )
    calibration = calibrate(model, reference.crops, reference.masks, rng=bench.rng(round_.number, "calibrate"))
    _tell(bench, round_, run, report, calibration)
    _draw(bench, folder, title=f"{run}: {len(snapshot.ids)} labels, judged by {len(some)} of the reference set")
    record = RunRecord(
        run=run,
        line=line.line,
        round=round_.number,
        snapshot=snapshot.id,
        samples=len(snapshot.ids),
        seed=seed,
        classes=line.class_names,
        channels=line.grid.channels,
        learning=line.learning,
        losses=report.losses,
        seconds=report.seconds,
        started_from=round_.run if start is not None else None,
        heads=line.acquisition.heads,
        beta=_beta_of(line),
        temperature=calibration.temperature,
        calibration=calibration,
        reference=reference.id,
        step=report.steps if report.best is None else report.best[1],
        steps=report.steps,
    )
    return save_run(folder, model, record)


def watched(count: int) -> NDArray[np.intp]:
    """Choose the patches of a reference set that judge a training on its way: at most ``WATCHED``, evenly."""
    return np.linspace(0, count - 1, min(WATCHED, count)).round().astype(np.intp)


def _draw(bench: Workbench, folder: Path, *, title: str) -> None:
    """Draw the curves of a run; a disk that is full costs the picture, not the run."""
    from trainer.learning.curves import draw_training  # noqa: PLC0415  # matplotlib takes its time to load

    try:
        draw_training(folder / CURVES_NAME, read_log(folder / LOG_NAME), title=title)
    except (OSError, InputError) as error:
        warning = f"{folder / CURVES_NAME}: {error}; the run is kept without it"
        bench.event("warning", warning, work="train", warning=warning)


def _checkpoint_place(bench: Workbench, *, every: int) -> Checkpoints:
    """Name the folder beside the runs: one per line, so that what an older snapshot left behind goes as well."""
    # No run and no line has a dot in its name.
    return Checkpoints(bench.paths.runs / f"{bench.line.line}.checkpoints", every)


def _tell(bench: Workbench, round_: Round, run: str, report: TrainReport, calibration: Calibration) -> None:
    """Tell what a person should know of a training, one event each."""
    number = round_.number
    if report.resumed_from:
        bench.event(
            "resumed",
            f"round {number}: run {run} went on from its checkpoint of step {report.resumed_from}",
            round=number,
            work="train",
            step=report.resumed_from,
        )
    # Damaged checkpoints and skipped minibatches are among them.
    for warning in report.warnings:
        bench.event("warning", f"round {number}: {warning}", round=number, work="train", warning=warning)
    if report.best is not None and report.best[1] < report.steps:
        score, step = report.best
        bench.event(
            "best",
            f"round {number}: run {run} keeps the weights of step {step}, mIoU {score:.3f}; {report.steps} were taken",
            round=number,
            run=run,
            step=step,
            steps=report.steps,
            miou=score,
        )
    bench.event(
        "calibrated",
        f"round {number}: run {run}: temperature {calibration.temperature:.2f}"
        f"{'' if calibration.why is None else f': {calibration.why}'}; calibration error {_shown(calibration.ece_before)}, with it {_shown(calibration.ece)}",
        round=number,
        run=run,
        temperature=calibration.temperature,
        ece_before=calibration.ece_before,
        ece=calibration.ece,
    )


def _shown(value: float | None) -> str:
    return "not known" if value is None else f"{value:.3f}"


def starting_model(bench: Workbench, run: str | None) -> TaskModel | None:
    """Return the model that training begins with: an older run, where the line warm-starts and was then as it is now."""
    if run is None or not bench.line.learning.warm_start:
        return None
    model, record = load_run(bench.paths.runs / run)
    return model if fits(bench.line, record) else None


def space_to_start_from(bench: Workbench) -> SpaceModule | None:
    """Return the space whose encoder a model without older weights begins with, where the line asks for it."""
    if bench.line.learning.encoder_from == "nothing":
        return None
    stored = load_space(bench.space_folder)
    if stored is None:
        raise StateError(
            f'{bench.space_folder}: no space is there and learning.encoder_from is "space"; restore the folder or set it to "nothing"'
        )
    return stored.module


def fits(line: LineConfig, record: RunRecord) -> bool:
    """Say whether a run's model is built as the line builds its models now."""
    return (
        record.classes == line.class_names
        and record.channels == line.grid.channels
        and record.learning.architecture == line.learning.architecture
        and record.learning.encoder == line.learning.encoder
        and record.learning.decoder_channels == line.learning.decoder_channels
        and record.heads == line.acquisition.heads
    )


def training_seed(bench: Workbench, number: int) -> int:
    """Return the seed of a round's training: first weights, order and variation of samples, in every arm."""
    return bench.seed(number, "train")
