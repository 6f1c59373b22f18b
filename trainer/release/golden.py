"""Golden tiles of a release: real pixels and what the torch modules make of them."""

from typing import Final

import numpy as np
import torch
from torch import nn

from shared.errors import StateError
from shared.geometry import Image, PatchGrid, reflected
from shared.golden import Golden
from trainer.representation.space import SpaceModule, embed, inner

#: Enough to tell two models apart, few enough for a trial of a second.
GOLDEN_TILES: Final = 3


def make_golden(crops: Image, *, grid: PatchGrid, scorer: nn.Module | None, space: SpaceModule | None) -> Golden:
    """Make the self-test of a release from up to ``GOLDEN_TILES`` crops ``(n, crop_px, crop_px, c)``.

    ``scorer`` is what the task graph was exported from.
    """
    if not len(crops):
        raise StateError("golden tiles: no crop to make them from; collect patches first")
    chosen = np.ascontiguousarray(crops[:GOLDEN_TILES])
    tiles = score = patches = embedding = None
    if scorer is not None:
        tiles = as_tiles(chosen, grid)
        device = next(scorer.parameters()).device
        with torch.inference_mode():
            score = scorer.to(device).eval()(torch.from_numpy(tiles).to(device))[0].cpu().numpy()
    if space is not None:
        patches = inner(chosen, grid)
        embedding = embed(space, patches)
    return Golden(tiles=tiles, score=score, patches=patches, embedding=embedding)


def as_tiles(crops: Image, grid: PatchGrid) -> Image:
    """Continue crops by reflection to tiles: real texture, also where a tile is larger than a crop."""
    start = (grid.crop_px - grid.tile_px) // 2
    places = reflected(start, grid.tile_px, grid.crop_px)
    return np.ascontiguousarray(crops[:, places[:, None], places[None, :]])
