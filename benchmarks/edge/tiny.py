"""Tiny defects: does the score of every second row and column rank their patches as the score of every pixel does?"""

from typing import Any, Final

import numpy as np
import torch
from scipy.stats import rankdata, spearmanr

from benchmarks.edge.network import planted, trained
from shared.config import LearningTable
from shared.geometry import PatchGrid
from shared.steel_line import SteelLine
from trainer.acquisition.scoring import TaskGraph
from trainer.learning.model import TaskModel

#: Defects of one to a few pixels across.
SCALE: Final = 0.12
TINY_PX: Final = 64
CLASSES: Final = ("pitting", "inclusion", "dent", "blister", "hole", "crack")
GRID: Final = PatchGrid(tile_px=320, patch_px=64, margin_px=32, cell_px=16)
NETWORKS: Final = {
    "compact": LearningTable(architecture="compact", encoder="compact-32-64"),
    "unet": LearningTable(architecture="unet", encoder="resnet18", decoder_channels=(64, 32, 32, 16, 16)),
}


def measure(name: str, *, steps: int, tiles: int) -> dict[str, Any]:
    """Train a network, score patches both ways, and compare how they rank those that hold a tiny defect."""
    line = SteelLine(5, "tiny", height_px=GRID.tile_px, width_px=GRID.tile_px, classes=CLASSES, scale=SCALE)
    model = trained(NETWORKS[name], line, steps=steps, minibatch=8, images=64)
    return compare(model, line, tiles=tiles)


def compare(model: TaskModel, line: SteelLine, *, tiles: int) -> dict[str, Any]:
    """Score the patches of tiles that the network never saw, from every pixel and from every second row and column."""
    pixels, masks = planted(line, range(10_000, 10_000 + tiles), seed=1)
    one, two = (_scores(model, pixels, stride) for stride in (1, 2))
    area = _defect_px(masks)
    tiny, clean = (area > 0) & (area <= TINY_PX), area == 0
    return {
        "patches": int(area.size),
        "tiny": int(tiny.sum()),
        "median_px": float(np.median(area[tiny])),
        "spearman": float(spearmanr(one, two).statistic),
        "auc_stride1": _auc(one[tiny], one[clean]),
        "auc_stride2": _auc(two[tiny], two[clean]),
        "found_stride1": _found(one, tiny, clean),
        "found_stride2": _found(two, tiny, clean),
    }


def _scores(model: TaskModel, pixels: np.ndarray[Any, Any], stride: Any) -> np.ndarray[Any, Any]:
    graph = TaskGraph(model, GRID, top_share=1 / 64, stride=stride).eval()
    with torch.inference_mode():
        parts = [graph(torch.from_numpy(pixels[at : at + 4]))[0].numpy() for at in range(0, len(pixels), 4)]
    return np.concatenate(parts).ravel()


def _defect_px(masks: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    side, start = GRID.patches_per_side, GRID.inset_px
    inner = masks[:, start : start + side * GRID.patch_px, start : start + side * GRID.patch_px] > 0
    return inner.reshape(len(masks), side, GRID.patch_px, side, GRID.patch_px).sum(axis=(2, 4)).ravel()


def _auc(above: np.ndarray[Any, Any], below: np.ndarray[Any, Any]) -> float:
    ranks = rankdata(np.concatenate([above, below]))[: len(above)]
    return float((ranks.sum() - len(above) * (len(above) + 1) / 2) / (len(above) * len(below)))


def _found(scores: np.ndarray[Any, Any], tiny: np.ndarray[Any, Any], clean: np.ndarray[Any, Any]) -> float:
    """Return the share of the tiny ones that pass a gate which lets every tenth clean patch through."""
    return float((scores[tiny] > np.quantile(scores[clean], 0.9)).mean())
