"""The task graph as a torch module: tiles in, scores per patch out. Exported for nodes, run as it is by the trainer."""

import torch
from torch import Tensor, nn

from shared.geometry import PatchGrid
from trainer.acquisition.aggregation import PatchScores, Stride, sizes_at
from trainer.acquisition.entropy import PixelEntropy
from trainer.learning.model import TaskModel

#: What the graphs compute, written into their metadata.
FORMULA = "entropy = log S - T/S on logits less their maximum; score = mean of the top cells of cell means / log K"


class TaskGraph(nn.Module):
    """Score a tile's patches."""

    def __init__(self, model: TaskModel, grid: PatchGrid, *, top_share: float, stride: Stride = 1) -> None:
        """Score by the entropy of every ``stride``-th row and column."""
        super().__init__()
        self.model = model
        self.grid = grid
        self.stride = stride
        self.entropy = PixelEntropy(model.classes)
        self.patches = PatchScores(sizes_at(grid, stride), top_share=top_share, classes=model.classes)
        end = grid.inset_px + grid.patches_per_side * grid.patch_px
        #: Where the patches lie; the rest of a tile is there to be seen, not to be judged.
        self.window = (grid.inset_px, end, grid.inset_px, end)

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return score, mean, above for uint8 tiles ``(n, tile, tile, c)``."""
        pixels = tiles.permute(0, 3, 1, 2)
        logits = self.model(pixels, self.window) if self.stride == 1 else self.model.every_second(pixels, self.window)
        score, mean, above = self.patches.inside(self.entropy(logits))
        return score, mean, above


class MaskGraph(TaskGraph):
    """Score a tile's patches and say the class of every pixel."""

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # type: ignore[override]  # one more output
        """Return score, mean, above and the uint8 mask ``(n, tile, tile)``."""
        logits = self.model(tiles.permute(0, 3, 1, 2))
        score, mean, above = self.patches(self.entropy(logits[:, :, :: self.stride, :: self.stride]))
        return score, mean, above, logits.argmax(dim=1).to(torch.uint8)
