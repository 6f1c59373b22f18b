"""Re-scoring beside the bare model's logits, and the memory it takes."""

import resource
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import torch

from benchmarks.learning.crops import CLASSES, read_crops
from benchmarks.learning.pairs import in_turns
from shared.config import LearningTable
from shared.geometry import Image, PatchGrid
from trainer.acquisition.rescore import rescore_by
from trainer.acquisition.scoring import MaskGraph
from trainer.learning.model import TaskModel, at_once, best_device, build_model

#: Crops of one block; blocks of ours and of the bare model take turns.
BLOCK: Final = 128
TOP_SHARE: Final = 1 / 64


def measure_rescore(images: Image, *, architecture: str, encoder: str, count: int) -> dict[str, Any]:
    """Score ``count`` crops with ours and with the bare model, a block at a time."""
    torch.set_num_threads(1)
    side = images.shape[1]
    model, grid = _model(architecture, encoder), _grid(side)
    graph = MaskGraph(model, grid.as_crop(), top_share=TOP_SHARE)
    size = at_once(side, side)
    tensors = [torch.from_numpy(some) for some in _minibatches(images, size)]
    device = best_device()

    def ours() -> None:
        rescore_by(graph, _walk(images, BLOCK), grid=grid, total=BLOCK, step=lambda _done, _total: None)

    def bare() -> None:
        with torch.inference_mode():
            for some in tensors:
                model(some.to(device).permute(0, 3, 1, 2))

    pairs = max(2, count // BLOCK)
    ratio, mine, theirs = in_turns(ours, bare, pairs=pairs)
    return {
        "ratio": ratio,
        "crops": pairs * BLOCK,
        "ours_ms": 1e3 * mine / BLOCK,
        "bare_ms": 1e3 * theirs / BLOCK,
        "crop_px": side,
        "minibatch": size,
        "encoder": encoder,
    }


def measure_memory(count: int) -> int:
    """Return the peak of this process, in bytes, after re-scoring ``count`` crops of 256 px with a small network."""
    torch.set_num_threads(1)
    model = _model("compact", "compact-8-8")
    grid = PatchGrid(tile_px=512, patch_px=128, margin_px=64, cell_px=32, channels=1)
    images = read_crops(None, count=16, side_px=grid.crop_px).images
    graph = MaskGraph(model, grid.as_crop(), top_share=TOP_SHARE)
    rescore_by(graph, _walk(images, count), grid=grid, total=count, step=lambda _done, _total: None)
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _model(architecture: str, encoder: str) -> TaskModel:
    settings = LearningTable(architecture=architecture, encoder=encoder)
    return build_model(settings, classes=CLASSES, channels=1, seed=1).to(best_device()).eval()


def _grid(side_px: int) -> PatchGrid:
    """Make a grid whose crops have this side: half of it patch, a quarter margin."""
    patch = side_px // 2
    return PatchGrid(tile_px=2 * side_px, patch_px=patch, margin_px=patch // 2, cell_px=patch // 4, channels=1)


def _walk(images: Image, count: int) -> Iterator[Image]:
    """Walk crops as the pool gives them, one at a time."""
    return (images[number % len(images)].copy() for number in range(count))


def _minibatches(images: Image, size: int) -> Iterator[Image]:
    crops = list(_walk(images, BLOCK))
    return (np.stack(crops[start : start + size]) for start in range(0, BLOCK, size))
