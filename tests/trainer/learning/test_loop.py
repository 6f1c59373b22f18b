"""Training: it learns, repeats itself, and sees nothing outside labelled patches."""

import gc

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from shared.config import LearningTable
from shared.errors import ConfigError, InputError
from trainer.learning.data import minibatches, varied
from trainer.learning.evaluate import evaluate
from trainer.learning.loop import train
from trainer.learning.loss import class_weights, supervised_loss
from trainer.learning.metrics import miou
from trainer.learning.model import TaskModel, build_model
from trainer.learning.schedule import rate

SETTINGS = LearningTable(
    architecture="compact", encoder="compact-8-16", steps=100, minibatch=8, learning_rate=1e-2, threads=1
)


def quiet(_done: int, _total: int) -> None:
    """Say nothing."""


def blobs(n: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Dark and bright squares on grey, labelled inside a patch of 32 in crops of 48."""
    rng = np.random.default_rng(seed)
    crops = rng.normal(128, 6, size=(n, 48, 48, 1))
    masks = np.full((n, 48, 48), 255, dtype=np.uint8)
    masks[:, 8:40, 8:40] = 0
    for index in range(n):
        y, x, kind = (*rng.integers(8, 28, size=2), 1 + index % 2)
        crops[index, y : y + 12, x : x + 12] += 60 if kind == 1 else -60
        masks[index, y : y + 12, x : x + 12] = kind
    return crops.clip(0, 255).astype(np.uint8), masks


def trained(
    crops: NDArray[np.uint8], masks: NDArray[np.uint8], *, seed: int = 1, settings: LearningTable = SETTINGS
) -> TaskModel:
    model = build_model(settings, classes=3, channels=1, seed=seed)
    train(model, crops, masks, settings, classes=3, seed=seed, step=quiet)
    return model


def test_a_longer_training_keeps_no_more_tensors() -> None:
    # What a step leaves behind stays between the large tensors that come and go, and the process grows with every step.
    crops, masks = blobs(8, 1)
    settings = replace(SETTINGS, steps=40)
    alive: dict[int, int] = {}

    def count(done: int, _total: int) -> None:
        if done in {22, 38}:
            gc.collect()
            alive[done] = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    train(build_model(settings, classes=3, channels=1, seed=1), crops, masks, settings, classes=3, seed=1, step=count)

    assert alive[38] == alive[22]


def weights(model: TaskModel) -> list[torch.Tensor]:
    return list(model.state_dict().values())


def test_a_short_training_finds_squares_it_has_not_seen() -> None:
    model = trained(*blobs(24, 1))
    crops, masks = blobs(16, 2)

    untrained = build_model(SETTINGS, classes=3, channels=1, seed=1)

    assert miou(evaluate(untrained, crops, masks, classes=3).sum(axis=0)) < 0.4
    assert miou(evaluate(model, crops, masks, classes=3).sum(axis=0)) > 0.8


def test_the_same_seed_gives_the_same_weights() -> None:
    crops, masks = blobs(12, 1)
    short = LearningTable(architecture="compact", encoder="compact-8-16", steps=5, minibatch=4, threads=1)

    first = trained(crops, masks, settings=short)
    # What torch has drawn in between must not matter.
    torch.rand(17)
    again = trained(crops, masks, settings=short)
    other = trained(crops, masks, settings=short, seed=2)

    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(again), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(weights(first), weights(other), strict=True))


def test_leaving_out_the_margin_s_logits_changes_no_loss() -> None:
    """The loop computes logits where labels are; the loss is that of the whole crop, where the margin is 255."""
    crops, masks = blobs(6, 1)
    one = LearningTable(architecture="compact", encoder="compact-8-16", steps=1, minibatch=6, threads=1)
    model = build_model(one, classes=3, channels=1, seed=1)
    generator = torch.Generator().manual_seed(4)
    (chosen,) = minibatches(6, size=6, steps=1, generator=generator)
    pixels, truth = varied(
        torch.from_numpy(crops[chosen]).permute(0, 3, 1, 2).float(), torch.from_numpy(masks[chosen]), generator
    )
    expected = supervised_loss(model(pixels), truth, torch.from_numpy(class_weights(masks, classes=3)))

    fresh = build_model(one, classes=3, channels=1, seed=1)
    report = train(fresh, crops, masks, one, classes=3, seed=4, step=quiet)

    assert report.losses[0] == pytest.approx(float(expected.detach()), rel=1e-5)


def test_a_stop_is_heard_and_said() -> None:
    crops, masks = blobs(8, 1)
    told: list[int] = []

    report = train(
        build_model(SETTINGS, classes=3, channels=1, seed=1),
        crops,
        masks,
        SETTINGS,
        classes=3,
        seed=1,
        step=lambda done, _total: told.append(done),
        stop=lambda: len(told) >= 20,
    )

    assert not report.finished
    assert told == list(range(1, 21))


def test_a_diverging_training_ends_with_the_setting_to_change() -> None:
    crops, masks = blobs(8, 1)
    model = build_model(SETTINGS, classes=3, channels=1, seed=1)
    with torch.no_grad():
        next(model.parameters()).fill_(float("inf"))

    with pytest.raises(ConfigError, match=r"lower learning\.learning_rate 0\.01"):
        train(model, crops, masks, SETTINGS, classes=3, seed=1, step=quiet)


def test_training_on_nothing_is_refused() -> None:
    crops, masks = blobs(1, 1)

    with pytest.raises(InputError, match="0 crops and 0 masks"):
        train(
            build_model(SETTINGS, classes=3, channels=1, seed=1),
            crops[:0],
            masks[:0],
            SETTINGS,
            classes=3,
            seed=1,
            step=quiet,
        )


def test_the_thread_count_of_the_process_is_given_back() -> None:
    before = torch.get_num_threads()
    crops, masks = blobs(4, 1)
    one = LearningTable(
        architecture="compact", encoder="compact-8-8", steps=1, minibatch=2, threads=1 if before > 1 else 2
    )

    trained(crops, masks, settings=one)

    assert torch.get_num_threads() == before


def test_the_learning_rate_rises_then_falls_to_a_hundredth() -> None:
    rates = [rate(done, 100) for done in range(100)]

    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == rates[20] == pytest.approx(1.0)
    assert rates[:21] == sorted(rates[:21])
    assert rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[-1] < 0.012
    assert rate(0, 1) > 0
