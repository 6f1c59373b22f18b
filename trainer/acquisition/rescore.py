"""Re-scoring: the newest model's score of every candidate of the pool on its crop, and the class it sees there."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.console import Step
from shared.geometry import Image, PatchGrid
from trainer.acquisition.scorer import MaskScorer
from trainer.acquisition.scoring import MaskGraph
from trainer.learning.compact import STRIDE
from trainer.learning.model import at_once


@dataclass(frozen=True, slots=True)
class Rescores:
    """What a model says of ``n`` crops: scores ``(n,)``, and classes ``(n,)`` by their value in masks."""

    scores: NDArray[np.float64]
    classes: NDArray[np.intp]


def rescore_by(
    scorer: MaskGraph | MaskScorer,
    crops: Iterable[Image],
    *,
    grid: PatchGrid,
    total: int,
    step: Step,
    minibatch: int | None = None,
) -> Rescores:
    """Score each crop through a scorer built on ``grid.as_crop()``, on the device its model is on.

    A patch's class is the one with the most pixels besides the background, and the background where there is no other.
    ``total`` is for the progress only.
    """
    device = next(scorer.parameters()).device
    look = _InPatch.of(scorer.to(device).eval(), grid)
    scores: list[NDArray[np.float64]] = []
    classes: list[int] = []
    done = 0
    with torch.inference_mode():
        for some in _stacked(crops, minibatch or at_once(grid.crop_px, grid.crop_px)):
            score, seen = look(torch.from_numpy(some).to(device))
            scores.append(score[:, 0, 0].double().cpu().numpy())
            classes += [_largest_class(mask) for mask in seen.cpu().numpy()]
            done += len(some)
            step(done, total)
    return Rescores(np.concatenate(scores) if scores else np.zeros(0), np.array(classes, dtype=np.intp))


@dataclass(frozen=True, slots=True)
class _InPatch:
    """A scorer of crops of which only the patch is asked for: to all but the network the margin is nothing.

    Of a mask graph no more is computed, with the graph's own modules; other scorers are asked whole.
    """

    scorer: MaskGraph | MaskScorer
    patch: slice
    whole: bool

    @classmethod
    def of(cls, scorer: MaskGraph | MaskScorer, grid: PatchGrid) -> Self:
        """Compute the patch alone where its edges lie on the network's own."""
        fine = isinstance(scorer, MaskGraph) and scorer.stride == 1
        on_edges = grid.margin_px % STRIDE == 0 and grid.patch_px % STRIDE == 0
        return cls(scorer, slice(grid.margin_px, grid.margin_px + grid.patch_px), not (fine and on_edges))

    def __call__(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Return the scores ``(n, 1, 1)`` and the class of each pixel of the patch."""
        patch, scorer = self.patch, self.scorer
        if self.whole or not isinstance(scorer, MaskGraph):
            score, _, _, mask = scorer(crops)
            return score, mask[:, patch, patch]
        logits = scorer.model(crops.permute(0, 3, 1, 2), (patch.start, patch.stop, patch.start, patch.stop))
        score, _, _ = scorer.patches.inside(scorer.entropy(logits))
        return score, logits.argmax(dim=1).to(torch.uint8)


def _largest_class(mask: NDArray[np.uint8]) -> int:
    counts = np.bincount(mask.ravel())
    counts[0] = 0
    return int(counts.argmax())


def _stacked(crops: Iterable[Image], size: int) -> Iterator[Image]:
    waiting: list[Image] = []
    for crop in crops:
        waiting.append(crop)
        if len(waiting) == size:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)
