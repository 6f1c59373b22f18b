"""Small trainings that one process or several learn: ``torchrun -m tests.trainer.learning.lessons FOLDER`` holds them all.

Statistics of a minibatch are each process's own on CPUs; with norms of each sample instead, what is learned is the same.
"""

import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

import trainer.learning.model
from shared.config import LearningTable
from trainer.learning.checkpoints import Checkpoints, Judgement
from trainer.learning.judging import Judging
from trainer.learning.log import read_log
from trainer.learning.loop import train
from trainer.learning.model import TaskModel, build_model
from trainer.learning.networks import build_network
from trainer.learning.together import crewed, tell_lesson
from trainer.learning.weights import to_bytes

SETTINGS: Final = LearningTable(
    architecture="compact", encoder="compact-8-8", steps=6, minibatch=3, learning_rate=0.01, threads=1
)
LONG: Final = LearningTable(
    architecture="compact", encoder="compact-8-8", steps=12, minibatch=3, learning_rate=0.01, threads=1
)


def learn(
    folder: Path, settings: LearningTable = SETTINGS, *, heads: int = 0, beta: float = 0.1, patience: int = 0
) -> dict[str, Any]:
    """Train on six samples, two of them without a label, and say what came of it."""
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, size=(6, 32, 32, 1)).astype(np.uint8)
    masks = rng.integers(0, 3, size=(6, 32, 32)).astype(np.uint8)
    masks[:, :5] = 255
    masks[4:] = 255
    model = build_model(settings, classes=3, channels=1, seed=1, heads=heads, beta=beta)
    judged: list[int] = []

    def judge(_model: TaskModel) -> Judgement:
        judged.append(1)
        return Judgement(miou=1.0 / len(judged), per_class=(), ece=None)

    judging = Judging(judge, every=2, patience=patience)
    tell_lesson(model, crops, masks, settings, seed=1, judging=judging)
    report = train(
        model,
        crops,
        masks,
        settings,
        classes=3,
        seed=1,
        step=lambda _done, _total: None,
        judging=judging,
        checkpoints=Checkpoints(folder / "checkpoints", every=2),
        log=folder / "log.jsonl",
    )
    (folder / "weights").write_bytes(to_bytes(model))
    return {
        "losses": report.losses,
        "steps": report.steps,
        "best": report.best,
        "resumed": report.resumed_from,
        "judged": len(judged),
        "logged": len(read_log(folder / "log.jsonl")),
    }


def without_statistics() -> None:
    """Build every network of this process with norms of each sample."""

    def plain(module: nn.Module) -> nn.Module:
        for name, child in module.named_children():
            norm = isinstance(child, nn.BatchNorm2d)
            setattr(module, name, nn.GroupNorm(1, child.num_features) if norm else plain(child))
        return module

    trainer.learning.model.build_network = lambda *args, **words: plain(build_network(*args, **words))


def main(root: Path) -> None:
    """Hold every lesson, each in a folder of its own."""
    without_statistics()
    with crewed() as leads:
        if not leads:
            return
        found = {}
        for name, words in {"plain": {}, "heads": {"heads": 4}, "early": {"settings": LONG, "patience": 1}}.items():
            found[name] = learn(root / name, **words)
        found["whole"] = learn(root / "long", LONG)
        weights = (root / "long" / "weights").read_bytes()
        for file in (root / "long" / "checkpoints").rglob("step-00000012*"):
            file.unlink()
        found["resumed"] = learn(root / "long", LONG) | {"alike": (root / "long" / "weights").read_bytes() == weights}
    print(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]))
