"""The graphs that are timed: the task graph in its forms, and what it is compared with."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.geometry import PatchGrid
from trainer.acquisition.scoring import MaskGraph, TaskGraph
from trainer.learning.model import TaskModel
from trainer.release.graph import export_mask, export_module, export_task

TOP_SHARE = 1 / 64


class Bare(nn.Module):
    """The network alone: tiles in, logits out."""

    def __init__(self, model: TaskModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, tiles: Tensor) -> Tensor:
        """Return logits ``(n, k, h, w)``."""
        return self.model(tiles.permute(0, 3, 1, 2))


class Naive(nn.Module):
    """What one writes first: a softmax, an epsilon in the logarithm, a mean per cell, and the mask."""

    def __init__(self, model: TaskModel, grid: PatchGrid) -> None:
        super().__init__()
        self.model = model
        self.grid = grid

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Return the entropy of each cell of the tile, and the mask."""
        logits = self.model(tiles.permute(0, 3, 1, 2))
        share = torch.softmax(logits, dim=1)
        entropy = -(share * torch.log(share + 1e-8)).sum(dim=1, keepdim=True)
        return functional.avg_pool2d(entropy, self.grid.cell_px), logits.argmax(dim=1).to(torch.uint8)


def build(name: str, model: TaskModel, grid: PatchGrid) -> bytes:
    """Export one of them by its name in the table."""
    if name == "bare":
        return export_module(Bare(model), grid, outputs=("logits",))
    if name == "naive":
        return export_module(Naive(model, grid), grid, outputs=("cells", "mask"))
    about = {"line": "bench", "release": "bench-0001", "classes": [str(n) for n in range(model.classes)]}
    stride = 1 if name.startswith("stride1") else 2
    if name.endswith("mask"):
        return export_mask(MaskGraph(model, grid, top_share=TOP_SHARE, stride=stride), grid, **about)
    return export_task(TaskGraph(model, grid, top_share=TOP_SHARE, stride=stride), grid, **about)
