"""Logits inside a window are those of the whole tile, and cost less."""

import pytest
import torch

from shared.config import LearningTable
from trainer.learning import windowed
from trainer.learning.compact import Window
from trainer.learning.model import TaskModel, build_model

COMPACT = LearningTable(architecture="compact", encoder="compact-8-16")
UNET = LearningTable(encoder="resnet18", decoder_channels=(32, 16, 16, 8, 8))
NETWORKS = [
    COMPACT,
    UNET,
    LearningTable(encoder="tu-lcnet_035", decoder_channels=(16, 16, 8, 8)),
    # An encoder with a block of its own between it and the decoder.
    LearningTable(encoder="vgg11", decoder_channels=(16, 16, 8, 8, 8)),
    # An encoder with a level that holds nothing.
    LearningTable(encoder="mit_b0", decoder_channels=(16, 16, 8, 8, 8)),
    LearningTable(architecture="linknet", encoder="tu-test_resnet"),
    # Its logits are raised by interpolation: computed whole and cut.
    LearningTable(architecture="fpn", encoder="tu-test_resnet"),
]
TILE = (192, 256)
WINDOWS: list[Window] = [(0, 192, 0, 256), (64, 128, 64, 192), (34, 110, 58, 202), (0, 66, 130, 256), (96, 98, 96, 98)]


def built(settings: LearningTable, *, heads: int = 0) -> TaskModel:
    model = build_model(settings, classes=3, channels=1, seed=0, heads=heads).eval()
    model.temperature = 1.7
    # Weights as drawn make normalised layers that do nothing.
    torch.manual_seed(1)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(part.bias, -0.2, 0.2)
    return model


def tile() -> torch.Tensor:
    return torch.randint(0, 256, (2, 1, *TILE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("heads", [0, 4])
@pytest.mark.parametrize("settings", NETWORKS, ids=lambda settings: f"{settings.architecture}-{settings.encoder}")
def test_a_window_s_logits_are_those_of_the_whole_tile(settings: LearningTable, heads: int) -> None:
    model = built(settings, heads=heads)

    with torch.inference_mode():
        whole = model(tile())
        for window in WINDOWS:
            top, bottom, left, right = window
            cut = whole[:, :, top:bottom, left:right]
            torch.testing.assert_close(model(tile(), window), cut, atol=1e-5, rtol=1e-4)
            torch.testing.assert_close(model.every_second(tile(), window), cut[:, :, ::2, ::2], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("settings", [COMPACT, UNET], ids=lambda settings: settings.architecture)
def test_a_window_may_begin_and_end_anywhere(settings: LearningTable) -> None:
    model = built(settings)

    with torch.inference_mode():
        whole = model(tile())
        for window in [(1, 2, 3, 5), (33, 96, 7, 201), (5, 191, 0, 255)]:
            top, bottom, left, right = window
            torch.testing.assert_close(model(tile(), window), whole[:, :, top:bottom, left:right], atol=1e-5, rtol=1e-4)


def test_a_narrower_halo_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(UNET)
    monkeypatch.setattr(windowed, "_HALO", 1)

    with torch.inference_mode():
        apart = (model(tile(), (64, 128, 64, 192)) - model(tile())[:, :, 64:128, 64:192]).abs().max()

    assert apart > 1e-3


def test_a_unet_decodes_no_more_than_the_window_and_its_halo() -> None:
    model = built(UNET)
    decoded: list[tuple[int, ...]] = []
    for block in model.network.get_submodule("decoder.blocks").children():
        block.register_forward_hook(lambda _module, _input, output: decoded.append(tuple(output.shape[2:])))

    with torch.inference_mode():
        model(tile(), (64, 128, 64, 192))

    assert decoded == [(12, 16), (16, 24), (24, 40), (40, 72), (72, 136)]


def test_a_unet_whose_levels_are_not_halved_is_computed_whole() -> None:
    model = built(UNET)
    model.network.get_submodule("encoder").make_dilated(16)

    with torch.inference_mode():
        inside = model(tile(), (64, 128, 64, 192))

        torch.testing.assert_close(inside, model(tile())[:, :, 64:128, 64:192])


def test_while_training_the_batch_s_statistics_are_of_whole_tiles() -> None:
    model = built(UNET).train()

    torch.testing.assert_close(model(tile(), (64, 128, 64, 192)), model(tile())[:, :, 64:128, 64:192])
