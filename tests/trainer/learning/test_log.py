"""The log of a training: its losses by step, without a gap where it was broken off, and no training ends for it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shared.config import LearningTable
from shared.errors import InputError
from trainer.learning.checkpoints import Checkpoints, Judgement
from trainer.learning.curves import draw_training
from trainer.learning.data import Order
from trainer.learning.judging import Judging
from trainer.learning.log import POINTS, Line, _losses, read_log
from trainer.learning.loop import TrainReport, train
from trainer.learning.model import build_model
from trainer.learning.schedule import rate
from trainer.learning.state import Training


class PowerGoneError(Exception):
    """A training is broken off."""


def learn(
    folder: Path, *, log: Path | None = None, breaks_at: int | None = None, unlabelled: int = 0, minibatch: int = 2
) -> TrainReport:
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, size=(6, 32, 32, 1)).astype(np.uint8)
    masks = rng.integers(0, 3, size=(6, 32, 32)).astype(np.uint8)
    masks[:unlabelled] = 255
    settings = LearningTable(architecture="compact", encoder="compact-8-8", steps=12, minibatch=minibatch, threads=1)

    def step(done: int, _total: int) -> None:
        if done == breaks_at:
            raise PowerGoneError

    return train(
        build_model(settings, classes=3, channels=1, seed=1),
        crops,
        masks,
        settings,
        classes=3,
        seed=1,
        step=step,
        checkpoints=Checkpoints(folder / "checkpoints", every=5),
        judging=Judging(lambda _model: Judgement(miou=0.5, per_class=(0.5, None, 0.5), ece=0.1), every=4),
        log=folder / "training.jsonl" if log is None else log,
    )


def test_a_log_says_each_loss_with_its_step_and_what_was_judged_after_it(tmp_path: Path) -> None:
    report = learn(tmp_path)

    lines = read_log(tmp_path / "training.jsonl")
    losses = [line for line in lines if line.loss is not None]
    assert [line.loss for line in losses] == pytest.approx(list(report.losses))
    assert [(line.step, line.learning_rate) for line in losses] == [
        (step, pytest.approx(1e-3 * rate(step - 1, 12))) for step in range(1, 13)
    ]
    assert [line.step for line in lines] == [1, 2, 3, 4, 4, 5, 6, 7, 8, 8, 9, 10, 11, 12, 12]
    assert lines[4].judged == Judgement(miou=0.5, per_class=(0.5, None, 0.5), ece=0.1)


@pytest.mark.parametrize("steps", [199, 200, 399, 400, 4_001])
def test_a_long_training_has_no_more_losses_than_a_curve_shows(steps: int) -> None:
    model = build_model(LearningTable(architecture="compact", encoder="compact-8-8"), classes=3, channels=1, seed=1)
    order = Order(4, size=2, generator=torch.Generator())
    training = Training(model, torch.optim.AdamW(model.parameters()), order, room=torch.zeros(steps))
    for training.done in range(1, steps + 1):
        training.tell(torch.tensor(float(training.done)))

    lines = list(_losses(training, LearningTable(steps=steps)))

    assert len(lines) <= POINTS
    assert len(lines) >= POINTS / 2 - 1
    assert lines[-1].step == steps


def test_a_step_without_a_label_has_no_loss(tmp_path: Path) -> None:
    report = learn(tmp_path, unlabelled=3, minibatch=1)

    steps = [line.step for line in read_log(tmp_path / "training.jsonl") if line.loss is not None]
    assert report.skipped == 6
    assert len(steps) == len(set(steps)) == 6
    assert set(steps) < set(range(1, 13))


def test_a_broken_training_has_the_log_of_an_unbroken_one(tmp_path: Path) -> None:
    learn(tmp_path / "whole")
    with pytest.raises(PowerGoneError):
        learn(tmp_path / "broken", breaks_at=9)
    early = read_log(tmp_path / "broken" / "training.jsonl")

    report = learn(tmp_path / "broken")

    assert (report.resumed_from, early[-1].step) == (5, 8)
    assert read_log(tmp_path / "broken" / "training.jsonl") == read_log(tmp_path / "whole" / "training.jsonl")


def test_a_log_that_cannot_be_written_ends_no_training_and_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "in-the-way").write_bytes(b"")

    report = learn(tmp_path, log=tmp_path / "in-the-way" / "training.jsonl")

    (warning,) = report.warnings
    assert report.finished
    assert "in-the-way/training.jsonl: " in warning
    assert warning.endswith("the training goes on, its log is not complete")


def test_what_is_no_log_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "training.jsonl").write_bytes(b'{"step": 1}\n{"step": "two"}\n')

    with pytest.raises(InputError, match=r"training\.jsonl: .*it is not the log of a training"):
        read_log(tmp_path / "training.jsonl")


def test_curves_are_drawn_of_whatever_a_log_holds(tmp_path: Path) -> None:
    judged = Judgement(miou=None, per_class=(None,), ece=None)

    for number, lines in enumerate([[], [Line(step=1, loss=0.0)], [Line(step=1, judged=judged)]]):
        draw_training(tmp_path / f"{number}.png", lines, title="curves")

        assert (tmp_path / f"{number}.png").read_bytes().startswith(b"\x89PNG")
