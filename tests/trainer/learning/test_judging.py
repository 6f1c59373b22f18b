"""Judging: a training is measured on its way, and ends when it gets no better, with the weights that were best."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from shared.config import LearningTable
from shared.errors import ConfigError
from trainer.learning.checkpoints import Judgement
from trainer.learning.evaluate import evaluate, reliability
from trainer.learning.judging import Judging, judging
from trainer.learning.loop import TrainReport, train
from trainer.learning.metrics import iou, miou
from trainer.learning.model import TaskModel, build_model
from trainer.learning.weights import to_bytes

SETTINGS = LearningTable(architecture="compact", encoder="compact-8-8", steps=12, minibatch=2, threads=1)


def learn(
    scores: Sequence[float | None], *, patience: int, every: int = 2, steps: int = 12
) -> tuple[TaskModel, TrainReport, list[bytes]]:
    """Train with given scores, and keep the weights each was given for."""
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, size=(4, 32, 32, 1)).astype(np.uint8)
    masks = rng.integers(0, 3, size=(4, 32, 32)).astype(np.uint8)
    model = build_model(SETTINGS, classes=3, channels=1, seed=1)
    judged: list[bytes] = []

    def judge(seen: TaskModel) -> Judgement:
        assert not seen.training
        judged.append(to_bytes(seen))
        return Judgement(miou=scores[len(judged) - 1], per_class=(), ece=None)

    settings = LearningTable(architecture="compact", encoder="compact-8-8", steps=steps, minibatch=2, threads=1)
    report = train(
        model,
        crops,
        masks,
        settings,
        classes=3,
        seed=1,
        step=lambda _done, _total: None,
        judging=Judging(judge, every=every, patience=patience),
    )
    return model, report, judged


def test_training_ends_when_patience_does_and_the_best_weights_stay() -> None:
    model, report, judged = learn([0.1, 0.5, 0.4, 0.5, 0.9], patience=2)

    assert report.steps == 8
    assert report.best == (0.5, 4)
    assert report.finished
    assert len(judged) == 4
    assert to_bytes(model) == judged[1]
    assert not model.training


def test_a_rising_score_trains_to_the_end() -> None:
    model, report, judged = learn([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], patience=1)

    assert report.steps == 12
    assert report.best == (0.6, 12)
    assert to_bytes(model) == judged[-1]


def test_the_last_weights_are_judged_also_out_of_turn() -> None:
    _, report, judged = learn([0.1, 0.2, 0.3], patience=1, every=5)

    assert len(judged) == 3
    assert report.best == (0.3, 12)


def test_weights_that_no_label_speaks_of_are_never_the_best() -> None:
    model, report, judged = learn([None, 0.1, None, 0.0], patience=2)

    assert report.best == (0.1, 4)
    assert to_bytes(model) == judged[1]


def test_without_a_single_score_the_last_weights_stay() -> None:
    model, report, judged = learn([None] * 6, patience=3)

    assert report.best is None
    assert report.steps == 6
    assert to_bytes(model) == judged[-1]


def test_judging_changes_no_step() -> None:
    _, plain, _ = learn([0.0], patience=1, every=12)
    _, judged, _ = learn([0.0, 0.1, 0.2, 0.3, 0.4, 0.5], patience=1)

    assert judged.losses == plain.losses


def test_without_patience_a_training_is_judged_to_its_end_and_the_last_weights_stay() -> None:
    model, report, judged = learn([0.9, 0.1, 0.1, 0.1, 0.1, 0.1], patience=0)

    assert (report.steps, report.best) == (12, None)
    assert [(step, found.miou) for step, found in report.judged] == list(
        zip(range(2, 13, 2), [0.9, *[0.1] * 5], strict=True)
    )
    assert to_bytes(model) == judged[-1]


def test_what_a_training_is_judged_by_is_what_its_labels_say() -> None:
    rng = np.random.default_rng(4)
    crops = rng.integers(0, 256, size=(40, 32, 32, 1)).astype(np.uint8)
    masks = rng.integers(0, 3, size=(40, 32, 32)).astype(np.uint8)
    masks[:, :9] = 255
    model = build_model(SETTINGS, classes=4, channels=1, seed=1)
    asked = judging(msgspec.structs.replace(SETTINGS, judgements=5, stop_patience=2), crops, masks, classes=4)
    assert asked is not None

    found = asked.judge(model)

    counts = evaluate(model, crops, masks, classes=4).sum(axis=0)
    assert (asked.every, asked.patience) == (3, 2)
    assert found.miou == pytest.approx(miou(counts))
    assert found.per_class == tuple(None if np.isnan(value) else value for value in iou(counts))
    assert found.ece == pytest.approx(reliability(model, crops, masks).ece)


def test_nothing_labelled_judges_nothing() -> None:
    nothing = np.zeros((0, 32, 32), np.uint8)

    assert judging(SETTINGS, nothing[..., None], nothing, classes=3) is None


@pytest.mark.parametrize(("every", "patience"), [(0, 1), (1, -1)])
def test_a_patience_of_less_than_nothing_is_refused(every: int, patience: int) -> None:
    with pytest.raises(ConfigError, match="expected at least 1 and 0"):
        Judging(lambda _model: Judgement(miou=None, per_class=(), ece=None), every=every, patience=patience)
