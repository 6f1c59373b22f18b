"""From pixels to patches: a second formula in plain loops, tiny defects, the bounds."""

from math import log

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.geometry import PatchGrid
from trainer.acquisition.aggregation import PatchScores, sizes_at, top_cells

CLASSES = 5
# An uneven inset: (160 - 2 * 64) // 2 = 16 with margin 10.
GRIDS = [
    PatchGrid(tile_px=160, patch_px=64, margin_px=16, cell_px=16),
    PatchGrid(tile_px=192, patch_px=64, margin_px=0, cell_px=32),
    PatchGrid(tile_px=160, patch_px=32, margin_px=16, cell_px=8),
]


def by_loops(entropy: NDArray[np.float64], grid: PatchGrid, top_share: float) -> list[NDArray[np.float64]]:
    """Score, mean and above of one map ``(tile, tile)``, one patch and one cell at a time."""
    side = grid.patches_per_side
    results = [np.zeros((side, side)) for _ in range(3)]
    for row in range(side):
        for col in range(side):
            y, x = grid.inset_px + row * grid.patch_px, grid.inset_px + col * grid.patch_px
            patch = entropy[y : y + grid.patch_px, x : x + grid.patch_px]
            cells = [
                patch[v : v + grid.cell_px, u : u + grid.cell_px].mean()
                for v in range(0, grid.patch_px, grid.cell_px)
                for u in range(0, grid.patch_px, grid.cell_px)
            ]
            top = max(1, round(top_share * len(cells)))
            results[0][row, col] = np.mean(sorted(cells)[-top:]) / log(CLASSES)
            results[1][row, col] = patch.mean() / log(CLASSES)
            results[2][row, col] = (patch > log(2)).mean()
    return results


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("top_share", [1 / 64, 0.25, 1.0])
def test_scores_agree_with_plain_loops(grid: PatchGrid, top_share: float) -> None:
    rng = np.random.default_rng(3)
    entropy = rng.uniform(0, log(CLASSES), size=(2, 1, grid.tile_px, grid.tile_px)).astype(np.float32)

    found = PatchScores(grid, top_share=top_share, classes=CLASSES)(torch.from_numpy(entropy))

    for index in range(2):
        wanted = by_loops(entropy[index, 0].astype(np.float64), grid, top_share)
        for value, expected in zip(found, wanted, strict=True):
            np.testing.assert_allclose(value[index].numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("grid", GRIDS)
def test_scores_of_every_second_row_and_column_agree_with_plain_loops(grid: PatchGrid) -> None:
    rng = np.random.default_rng(4)
    entropy = rng.uniform(0, log(CLASSES), size=(grid.tile_px, grid.tile_px)).astype(np.float32)
    # Every pixel of a block of 2 x 2 becomes its first: loops over all pixels then see what is thinned.
    blocks = entropy[::2, ::2].repeat(2, axis=0).repeat(2, axis=1).astype(np.float64)
    thinned = torch.from_numpy(entropy[None, None, ::2, ::2].copy())

    found = PatchScores(sizes_at(grid, 2), top_share=0.25, classes=CLASSES)(thinned)

    for value, expected in zip(found, by_loops(blocks, grid, 0.25), strict=True):
        np.testing.assert_allclose(value[0].numpy(), expected, atol=1e-6)


def test_cells_that_would_begin_between_two_pixels_are_refused() -> None:
    grid = PatchGrid(tile_px=96, patch_px=54, margin_px=5, cell_px=9)

    with pytest.raises(ConfigError, match=r"cell_px 9 and the tile's inset 21 must be even for entropy_stride 2"):
        sizes_at(grid, 2)
    assert sizes_at(grid, 1) is grid


def test_a_tiny_defect_lifts_the_score_and_hardly_the_mean() -> None:
    grid = GRIDS[0]
    entropy = torch.full((1, 1, grid.tile_px, grid.tile_px), 0.05)
    # One cell of 16 x 16 in the second patch of the first row, as unsure as can be.
    y, x = grid.inset_px, grid.inset_px + grid.patch_px
    entropy[:, :, y : y + 16, x : x + 16] = log(CLASSES)

    score, mean, above = PatchScores(grid, top_share=1 / 64, classes=CLASSES)(entropy)

    assert float(score[0, 0, 1]) == pytest.approx(1.0, abs=1e-5)
    assert float(mean[0, 0, 1]) < 0.1
    assert float(above[0, 0, 1]) == pytest.approx(1 / 16)
    assert float(score[0].flatten().sort().values[-2]) < 0.05


def test_pixels_outside_every_patch_do_not_count() -> None:
    grid = GRIDS[0]
    entropy = torch.full((1, 1, grid.tile_px, grid.tile_px), log(CLASSES))
    start, end = grid.inset_px, grid.inset_px + grid.patches_per_side * grid.patch_px
    entropy[:, :, start:end, start:end] = 0.0

    score, mean, above = PatchScores(grid, top_share=1 / 64, classes=CLASSES)(entropy)

    assert float(score.max()) == float(mean.max()) == float(above.max()) == 0.0


def test_scores_stay_within_zero_and_one_in_spite_of_rounding() -> None:
    grid = GRIDS[0]
    entropy = torch.full((1, 1, grid.tile_px, grid.tile_px), log(CLASSES) * (1 + 1e-4))

    score, mean, _ = PatchScores(grid, top_share=1.0, classes=CLASSES)(entropy)

    assert float(score.max()) == 1.0
    assert float(mean.max()) == 1.0


def test_the_paper_s_top_four_of_256_cells() -> None:
    assert top_cells(PatchGrid(tile_px=1024, patch_px=1024, margin_px=0, cell_px=64), 1 / 64) == 4
    assert top_cells(PatchGrid(tile_px=1024, patch_px=256, margin_px=128, cell_px=64), 1 / 64) == 1
