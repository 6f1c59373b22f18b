"""Networks by name: those of the library and our compact one, wrong names refused."""

import pytest
import torch

from shared.config import LearningTable
from shared.errors import ConfigError
from trainer.learning.model import TaskModel, build_model
from trainer.learning.networks import build_encoder

COMPACT = LearningTable(architecture="compact", encoder="compact-8-16")


@pytest.mark.parametrize(
    "settings",
    [
        COMPACT,
        LearningTable(encoder="resnet18", decoder_channels=(32, 16, 16, 8, 8)),
        LearningTable(encoder="tu-lcnet_035", decoder_channels=(16, 16, 8, 8)),
        LearningTable(architecture="fpn", encoder="tu-test_resnet"),
        # MEAL's own.
        LearningTable(architecture="deeplabv3plus", encoder="mobilenet_v2"),
    ],
    ids=lambda settings: settings.encoder,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_gives_one_logit_per_class_and_pixel(settings: LearningTable, channels: int) -> None:
    model = build_model(settings, classes=5, channels=channels, seed=0).eval()

    with torch.inference_mode():
        logits = model(torch.zeros(2, channels, 64, 96, dtype=torch.uint8))

    assert logits.shape == (2, 5, 64, 96)
    assert logits.dtype == torch.float32


def test_the_seed_decides_the_first_weights_and_leaves_torch_s_own_generator_alone() -> None:
    state = torch.get_rng_state()

    first, again, other = (build_model(COMPACT, classes=3, channels=1, seed=seed) for seed in (1, 1, 2))

    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))


def test_grey_levels_reach_the_network_normalised() -> None:
    model = TaskModel(torch.nn.Identity(), classes=1, channels=1)

    found = model(torch.tensor([0, 127, 255], dtype=torch.uint8).reshape(1, 1, 1, 3))

    torch.testing.assert_close(found.flatten(), torch.tensor([-127.5, -0.5, 127.5]) / 64)


def test_an_encoder_of_the_space_pools_to_one_row_per_patch() -> None:
    for name in ("compact-8-16-24", "tu-test_resnet"):
        encoder, dim = build_encoder(name, channels=1)

        assert encoder.eval()(torch.zeros(3, 1, 64, 64)).shape == (3, dim)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (LearningTable(architecture="unnet"), 'learning.architecture is "unnet"; known architectures are compact'),
        (LearningTable(encoder="resnet35"), 'learning.encoder "resnet35"'),
        (LearningTable(encoder="tu-resnet35"), 'learning.encoder "tu-resnet35"'),
        (LearningTable(architecture="compact"), "compact goes with compact-"),
        (LearningTable(encoder="compact-8-16"), "compact goes with compact-"),
        (LearningTable(architecture="compact", encoder="compact-64-32"), "widths from 4 that do not fall"),
        (LearningTable(architecture="compact", encoder="compact"), "widths from 4 that do not fall"),
        (LearningTable(architecture="compact", encoder="compact-0-8"), "widths from 4 that do not fall"),
        (LearningTable(architecture="compact", encoder="compact-x"), "widths from 4 that do not fall"),
    ],
)
def test_a_name_nobody_knows_is_refused_with_its_key(settings: LearningTable, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(settings, classes=3, channels=1, seed=0)
