"""What training does with material that teaches little, nothing, or nonsense."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from shared.config import LearningTable
from shared.errors import ConfigError, InputError
from trainer.learning.loop import TrainReport, train
from trainer.learning.model import TaskModel, build_model
from trainer.learning.weights import to_bytes

SETTINGS = LearningTable(architecture="compact", encoder="compact-8-8", steps=6, minibatch=2, threads=1)


def samples(n: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, size=(n, 32, 32, 1)).astype(np.uint8)
    return crops, rng.integers(0, 3, size=(n, 32, 32)).astype(np.uint8)


def learn(
    model: TaskModel, crops: NDArray[np.uint8], masks: NDArray[np.uint8], settings: LearningTable = SETTINGS
) -> TrainReport:
    return train(model, crops, masks, settings, classes=3, seed=1, step=lambda _done, _total: None)


def new_model() -> TaskModel:
    return build_model(SETTINGS, classes=3, channels=1, seed=1)


class _Failing(nn.Module):
    """A network whose logits are no numbers from one step on, and what it was before that step."""

    def __init__(self, step: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 3, 1)
        self.norm = nn.BatchNorm2d(3)
        self.seen: list[dict[str, torch.Tensor]] = []
        self._step = step

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        self.seen.append({name: value.clone() for name, value in self.state_dict().items()})
        logits: torch.Tensor = self.norm(self.layer(pixels))
        return logits * (torch.nan if len(self.seen) > self._step else 1.0)


@pytest.mark.parametrize(("fails_after", "kept"), [(0, 0), (3, 0), (20, 20), (27, 20)])
def test_a_loss_that_is_no_number_is_named_and_leaves_the_last_sound_weights(fails_after: int, kept: int) -> None:
    network = _Failing(fails_after)
    settings = LearningTable(architecture="compact", encoder="compact-8-8", steps=30, minibatch=2, threads=1)

    with pytest.raises(
        ConfigError, match=rf"the loss is nan .* step {kept} stay, lower learning\.learning_rate 0\.001"
    ):
        learn(TaskModel(network, classes=3, channels=1), *samples(4), settings)

    stays, sound = network.state_dict(), network.seen[kept]
    assert all(torch.equal(stays[name], sound[name]) for name in sound)


def test_a_loss_that_fails_in_the_last_step_is_seen() -> None:
    with pytest.raises(ConfigError, match="the loss is nan within 6 steps"):
        learn(TaskModel(_Failing(5), classes=3, channels=1), *samples(4))


def test_minibatches_without_a_label_are_skipped_counted_and_told() -> None:
    crops, masks = samples(4)
    masks[1:] = 255
    one = LearningTable(architecture="compact", encoder="compact-8-8", steps=8, minibatch=1, threads=1)
    model = new_model()

    report = learn(model, crops, masks, one)

    assert report.skipped == 6
    assert report.steps == 8
    assert len(report.losses) == 2
    assert report.warnings == ("training: 6 of 8 minibatches held no label and were skipped",)
    assert int(model.state_dict()["network.encoder.stages.0.1.num_batches_tracked"]) == 2


def test_samples_without_any_label_are_refused() -> None:
    crops, masks = samples(4)
    model = new_model()
    before = to_bytes(model)

    with pytest.raises(InputError, match="no supervised pixel"):
        learn(model, crops, np.full_like(masks, 255))

    assert to_bytes(model) == before


def test_a_class_without_a_pixel_is_told_and_teaches_nothing() -> None:
    crops, masks = samples(4)
    masks[masks == 1] = 0

    report = learn(new_model(), crops, masks)

    assert report.warnings == ("class 1: no labelled pixel in 4 samples; it weighs nothing and will not be found",)
    assert np.isfinite(report.losses).all()


@pytest.mark.parametrize("minibatch", [1, 4])
def test_one_image_is_enough(minibatch: int) -> None:
    crops, masks = samples(1)
    settings = LearningTable(architecture="compact", encoder="compact-8-8", steps=6, minibatch=minibatch, threads=1)

    report = learn(new_model(), crops, masks, settings)

    assert report.finished
    assert report.warnings == ()
    assert np.isfinite(report.losses).all()


def test_a_network_that_cannot_learn_from_one_sample_at_a_time_says_which_setting_to_change() -> None:
    settings = LearningTable(architecture="deeplabv3plus", encoder="tu-test_resnet", steps=2, minibatch=1, threads=1)
    model = build_model(settings, classes=3, channels=1, seed=1)

    with pytest.raises(ConfigError, match=r"learning\.minibatch is 1 and crops are 32 px: a norm of deeplabv3plus"):
        learn(model, *samples(1), settings)


def test_masks_of_another_size_are_refused() -> None:
    crops, masks = samples(4)
    model = new_model()
    before = to_bytes(model)

    with pytest.raises(InputError, match="crops of 32 x 32 px, masks of 30 x 32"):
        learn(model, crops, masks[:, :30])

    assert to_bytes(model) == before


def test_a_value_no_class_has_is_refused_before_anything_is_learned() -> None:
    crops, masks = samples(4)
    masks[0, 0, 0] = 7
    model = new_model()
    before = to_bytes(model)

    with pytest.raises(InputError, match="value 7, expected classes 0 to 2"):
        learn(model, crops, masks)

    assert to_bytes(model) == before
