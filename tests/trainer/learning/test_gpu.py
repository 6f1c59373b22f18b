"""Training on a GPU: in bfloat16 and channels last, to what a CPU learns; ``pytest --gpu`` where there is one."""

import numpy as np
import pytest
import torch
from torch import nn

from shared.config import LearningTable
from trainer.learning.loop import TrainReport, train
from trainer.learning.model import TaskModel, build_model

pytestmark = pytest.mark.gpu

SETTINGS = LearningTable(
    architecture="compact", encoder="compact-8-16", steps=60, minibatch=8, learning_rate=1e-2, threads=1
)


def learn(model: TaskModel) -> TrainReport:
    rng = np.random.default_rng(2)
    masks = rng.integers(0, 2, size=(16, 4, 4)).repeat(8, axis=1).repeat(8, axis=2).astype(np.uint8)
    crops = (90 + 80 * masks[..., None] + rng.integers(0, 20, size=(16, 32, 32, 1))).astype(np.uint8)
    return train(model, crops, masks, SETTINGS, classes=2, seed=1, step=lambda _done, _total: None)


def test_a_gpu_learns_in_bfloat16_and_channels_last() -> None:
    model = build_model(SETTINGS, classes=2, channels=1, seed=1)
    seen: list[tuple[torch.dtype, bool]] = []

    def look(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        seen.append((output.dtype, output.is_contiguous(memory_format=torch.channels_last)))

    stem = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    stem.register_forward_hook(look)

    report = learn(model)

    assert next(model.parameters()).is_cuda
    assert next(model.parameters()).dtype == torch.float32
    assert seen[0] == (torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32, True)
    assert report.losses[-1] < report.losses[0] / 3


def test_a_gpu_learns_what_a_cpu_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    on_gpu = learn(build_model(SETTINGS, classes=2, channels=1, seed=1))
    monkeypatch.setattr("trainer.learning.steps.best_device", lambda: torch.device("cpu"))

    on_cpu = learn(build_model(SETTINGS, classes=2, channels=1, seed=1))

    # The same samples in the same order; bfloat16 has three digits.
    assert on_gpu.losses[0] == pytest.approx(on_cpu.losses[0], rel=0.02)
    assert on_gpu.losses[-1] == pytest.approx(on_cpu.losses[-1], abs=0.1)
