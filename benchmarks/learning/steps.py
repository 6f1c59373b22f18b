"""A training step of ours beside one of a bare loop with its minibatch made beforehand."""

from typing import Any, Final

import torch

from benchmarks.learning.crops import CLASSES, Crops
from benchmarks.learning.pairs import in_turns
from shared.config import LearningTable
from trainer.learning.loop import Steps, begin
from trainer.learning.model import build_model
from trainer.learning.objective import Objective, parameter_groups
from trainer.learning.samples import Samples

#: Steps of a block, and pairs of blocks, by how long a step takes.
BLOCK: Final = {"compact": 4, "unet": 1}
PAIRS: Final = {"compact": 15, "unet": 9}


def measure_step(crops: Crops, *, architecture: str, encoder: str, minibatch: int) -> dict[str, Any]:
    """Measure one network."""
    settings = LearningTable(
        architecture=architecture, encoder=encoder, minibatch=minibatch, threads=1, steps=1_000_000
    )
    torch.set_num_threads(1)
    torch.manual_seed(0)
    samples = Samples(crops.images, crops.masks, classes=CLASSES)
    training = begin(build_model(settings, classes=CLASSES, channels=1, seed=1), samples, settings, seed=1)
    ours = Steps(training, samples, settings)
    device = next(training.model.parameters()).device
    model = build_model(settings, classes=CLASSES, channels=1, seed=1)
    model.to(device, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(parameter_groups(model), lr=1e-3, fused=device.type == "cuda")
    objective = Objective(model, samples.window, samples.class_weights)
    made = samples.minibatch(training.order, device)
    assert made is not None

    def bare() -> None:
        for _ in range(BLOCK[architecture]):
            with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
                loss, _ = objective(*made)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    def whole() -> None:
        for _ in range(BLOCK[architecture]):
            ours.take()

    def loading() -> None:
        for _ in range(BLOCK[architecture]):
            samples.minibatch(training.order, device)

    ratio, mine, theirs = in_turns(whole, bare, pairs=PAIRS[architecture])
    share, _, _ = in_turns(loading, bare, pairs=5)
    return {
        "ratio": ratio,
        "loading_share": share,
        "ours_ms": 1e3 * mine / BLOCK[architecture],
        "bare_ms": 1e3 * theirs / BLOCK[architecture],
        "crop_px": crops.images.shape[1],
        "minibatch": minibatch,
        "encoder": encoder,
    }
