"""Re-scoring: the newest model's score of every candidate of the pool, on its crop."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from shared.console import Step
from shared.geometry import Image, PatchGrid
from trainer.acquisition.scoring import TaskGraph
from trainer.learning.model import TaskModel


def rescore(
    model: TaskModel,
    crops: Iterable[Image],
    *,
    grid: PatchGrid,
    top_share: float,
    total: int,
    step: Step,
    minibatch: int = 64,
) -> NDArray[np.float64]:
    """Return the score of each crop, ``(n,)``, through the very modules that stand in the task graph.

    ``total`` is for the progress only.
    """
    graph = TaskGraph(model, grid.as_crop(), top_share=top_share).to(next(model.parameters()).device).eval()
    scores: list[NDArray[np.float64]] = []
    done = 0
    with torch.inference_mode():
        for some in _stacked(crops, minibatch):
            score, _, _ = graph(torch.from_numpy(some).to(graph.entropy.ones.device))
            scores.append(score[:, 0, 0].double().cpu().numpy())
            done += len(some)
            step(done, total)
    return np.concatenate(scores) if scores else np.zeros(0)


def _stacked(crops: Iterable[Image], size: int) -> Iterator[Image]:
    waiting: list[Image] = []
    for crop in crops:
        waiting.append(crop)
        if len(waiting) == size:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)
