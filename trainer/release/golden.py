"""Golden tiles of a release: real pixels and what the torch modules make of them."""

from typing import Final

import numpy as np
import torch

from shared.errors import StateError
from shared.geometry import Image, PatchGrid, reflected
from shared.golden import Golden
from trainer.acquisition.scoring import TaskGraph
from trainer.learning.model import TaskModel
from trainer.representation.space import SpaceModule, embed, inner

#: Enough to tell two models apart, few enough for a trial of a second.
GOLDEN_TILES: Final = 3


def make_golden(
    crops: Image, *, grid: PatchGrid, top_share: float, model: TaskModel | None, space: SpaceModule | None
) -> Golden:
    """Make the self-test of a release from up to ``GOLDEN_TILES`` crops ``(n, crop_px, crop_px, c)``."""
    if not len(crops):
        raise StateError("golden tiles: no crop to make them from; collect patches first")
    chosen = np.ascontiguousarray(crops[:GOLDEN_TILES])
    tiles = score = patches = embedding = None
    if model is not None:
        tiles = as_tiles(chosen, grid)
        graph = TaskGraph(model, grid, top_share=top_share).to(next(model.parameters()).device).eval()
        with torch.inference_mode():
            score = graph(torch.from_numpy(tiles).to(graph.entropy.ones.device))[0].cpu().numpy()
    if space is not None:
        patches = inner(chosen, grid)
        embedding = embed(space, patches)
    return Golden(tiles=tiles, score=score, patches=patches, embedding=embedding)


def as_tiles(crops: Image, grid: PatchGrid) -> Image:
    """Continue crops by reflection to tiles: real texture, also where a tile is larger than a crop."""
    start = (grid.crop_px - grid.tile_px) // 2
    places = reflected(start, grid.tile_px, grid.crop_px)
    return np.ascontiguousarray(crops[:, places[:, None], places[None, :]])
