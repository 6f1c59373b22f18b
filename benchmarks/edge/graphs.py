"""The graphs that are timed: the task graph in its forms, and what it is compared with."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from shared.geometry import PatchGrid
from trainer.acquisition.scoring import MaskGraph, TaskGraph
from trainer.learning.model import TaskModel
from trainer.release.graph import export, export_mask, export_task

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
        return _export_tiles(Bare(model), grid, outputs=("logits",))
    if name == "naive":
        return _export_tiles(Naive(model, grid), grid, outputs=("cells", "mask"))
    about = {"line": "bench", "release": "bench-0001", "classes": [str(n) for n in range(model.classes)]}
    stride = 1 if name.startswith("stride1") else 2
    if name.endswith("mask"):
        return export_mask(MaskGraph(model, grid, top_share=TOP_SHARE, stride=stride), grid, **about)
    return export_task(TaskGraph(model, grid, top_share=TOP_SHARE, stride=stride), grid, **about)


def _export_tiles(module: nn.Module, grid: PatchGrid, *, outputs: Sequence[str]) -> bytes:
    """Export what takes tiles without saying what it is: no release, but something to compare one with."""
    example = torch.zeros(2, grid.tile_px, grid.tile_px, grid.channels, dtype=torch.uint8)
    return export(module, example, name="tiles", outputs=outputs, metadata={})
