"""Scorers: from uint8 tiles to scores per patch, put together from a source of pixel uncertainty and an aggregation.

:class:`~trainer.acquisition.scoring.TaskGraph` is the default scorer in the form nodes run. A :class:`PatchScorer` gives the
same outputs by any other method, so it re-scores the pool and, unless ``kept_out`` says why not, can be exported.
"""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from shared.geometry import PatchGrid
from trainer.acquisition.aggregation import Aggregator, Count, Mean, Stride, interior, sizes_at
from trainer.acquisition.committee import CommitteeMeasurer
from trainer.acquisition.members import Committee
from trainer.acquisition.pixels import PixelMeasure
from trainer.learning.model import TaskModel


class PixelSource(Protocol):
    """Uncertainty of pixels, and what is seen there.

    For pixels ``(n, channels, h, w)`` of 0 to 255: ``(n, 1, h, w)`` from 0 to ``most``, and ``(n, k, h, w)``, highest for the
    likeliest class.
    """

    @property
    def most(self) -> float: ...

    @property
    def threshold(self) -> float | None:
        """What counting compares with; None where no paper gives it."""

    @property
    def kept_out(self) -> str | None:
        """Why the source cannot stand in a task graph; None where it can."""

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]: ...


class OneModel(nn.Module):
    """A measure of one model's logits."""

    kept_out: None = None

    def __init__(self, model: TaskModel, measure: PixelMeasure) -> None:
        super().__init__()
        self.model = model
        self.measure = measure
        self.most, self.threshold = measure.most, measure.threshold

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.model(pixels)
        return self.measure(logits), logits


class SeveralModels(nn.Module):
    """A measure of a committee's probabilities; what is seen is their sum."""

    def __init__(self, committee: Committee, measure: CommitteeMeasurer) -> None:
        super().__init__()
        self.committee = committee
        self.measure = measure
        self.most, self.threshold = measure.most, measure.threshold
        self.kept_out = committee.kept_out

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        total: list[Tensor] = []

        def summed() -> Iterator[Tensor]:
            for member in self.committee(pixels):
                total[:] = [total[0] + member] if total else [member]
                yield member

        return self.measure(summed()), total[0]


class PatchScorer(nn.Module):
    """Score a tile's patches from 0 to 1: the task graph's outputs, by another measure or aggregation."""

    def __init__(
        self,
        source: PixelSource,
        aggregation: Aggregator,
        grid: PatchGrid,
        *,
        threshold: float | None = None,
        stride: Stride = 1,
    ) -> None:
        """Aggregate every ``stride``-th row and column; the aggregation must be built for the sizes there."""
        super().__init__()
        self.source = source
        self.aggregation = aggregation
        self.stride = stride
        self.sizes = sizes_at(grid, stride)
        self.mean = Mean(self.sizes)
        self.most = source.most
        level = source.threshold if threshold is None else threshold
        # A measure that no paper counts still has to say what is above: half of what it can reach.
        self.above = Count(self.sizes, threshold=self.most / 2 if level is None else level)
        self.reach = aggregation.reach(source.most)

    @property
    def kept_out(self) -> str | None:
        """Why the scorer cannot stand in a task graph; None where it can."""
        return self.source.kept_out

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Return score, mean and above, each ``(n, g, g)``, for uint8 tiles ``(n, tile, tile, c)``."""
        uncertainty, _ = self.source(tiles.permute(0, 3, 1, 2))
        return self.per_patch(uncertainty)

    def per_patch(self, uncertainty: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Aggregate a tile's map."""
        inner = interior(uncertainty[..., :: self.stride, :: self.stride], self.sizes)
        mean = self.mean(inner) / self.most
        score = self.aggregation(inner) / self.reach
        # Counting takes nan for certain; a broken model must show.
        score = torch.where(mean.isnan(), mean, score)
        return score.clamp(0.0, 1.0), mean.clamp(0.0, 1.0), self.above(inner).clamp(0.0, 1.0)


class MaskScorer(PatchScorer):
    """Score a tile's patches and say the class of every pixel."""

    def forward(self, tiles: Tensor) -> tuple[Tensor, ...]:
        """Return score, mean, above and the uint8 mask ``(n, tile, tile)``."""
        uncertainty, seen = self.source(tiles.permute(0, 3, 1, 2))
        return *self.per_patch(uncertainty), seen.argmax(dim=1).to(torch.uint8)
