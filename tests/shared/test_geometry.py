import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.geometry import Patch, PatchGrid, reflected


@st.composite
def grids(draw: st.DrawFn) -> PatchGrid:
    """Draw small grids of every legal kind: with and without margin, with tiles that do not divide evenly."""
    patch = draw(st.sampled_from([16, 32, 64]))
    margin = draw(st.sampled_from([margin for margin in (0, 8, 16, 32) if (patch + 2 * margin) % 32 == 0]))
    crop = patch + 2 * margin
    tile = draw(st.sampled_from([side for side in range(32, 257, 32) if side >= crop]))
    return PatchGrid(tile_px=tile, patch_px=patch, margin_px=margin, cell_px=draw(st.sampled_from([8, 16])))


SIDES = st.integers(1, 200)


def coded(height: int, width: int) -> np.ndarray:
    """A frame whose pixels differ from their neighbours."""
    return np.random.default_rng(height * 1000 + width).integers(0, 256, (height, width), dtype=np.uint8)


@given(grid=grids(), height=SIDES, width=SIDES)
def test_every_patch_has_exactly_one_owner_tile(grid: PatchGrid, height: int, width: int) -> None:
    frame = coded(height, width)
    tiles = grid.tiles(frame)
    rows, cols = grid.patch_shape(height, width)
    tile_rows, tile_cols = grid.tile_shape(height, width)
    side = grid.patches_per_side
    owners = np.zeros((rows, cols), dtype=int)

    for index in range(tile_rows * tile_cols):
        for i in range(side):
            for j in range(side):
                row, col = index // tile_cols * side + i, index % tile_cols * side + j
                if row >= rows or col >= cols:
                    continue
                owners[row, col] += 1
                y, x = grid.inset_px + i * grid.patch_px, grid.inset_px + j * grid.patch_px
                inside_tile = tiles[index, y : y + grid.patch_px, x : x + grid.patch_px]
                assert np.array_equal(inside_tile, grid.patch(frame, Patch(row, col)))

    assert (owners == 1).all()
    assert len(tiles) == tile_rows * tile_cols


@given(grid=grids(), height=SIDES, width=SIDES)
def test_frame_scores_put_every_score_back_where_its_patch_lies(grid: PatchGrid, height: int, width: int) -> None:
    frame = coded(height, width)
    tiles = grid.tiles(frame)
    side, step, inset = grid.patches_per_side, grid.patch_px, grid.inset_px
    # A stand-in for the task graph: the mean of each interior patch of each tile.
    interior = tiles[:, inset : inset + side * step, inset : inset + side * step, 0].astype(np.float32)
    scores = interior.reshape(-1, side, step, side, step).mean((2, 4))

    placed = grid.frame_scores(scores, height, width)

    expected = [grid.patch(frame, patch).astype(np.float32).mean() for patch in grid.patches(height, width)]
    assert placed.shape == grid.patch_shape(height, width)
    assert placed.ravel() == pytest.approx(np.array(expected), abs=1e-2)


@given(grid=grids(), height=SIDES, width=SIDES)
def test_a_crop_is_the_patch_in_a_frame_padded_by_reflection(grid: PatchGrid, height: int, width: int) -> None:
    frame = coded(height, width)
    rows, cols = grid.patch_shape(height, width)
    margin = grid.margin_px
    below, right = rows * grid.patch_px - height + margin, cols * grid.patch_px - width + margin
    # The second formula: numpy's own padding, which takes a side of one pixel by its edge only.
    padded = np.pad(frame, ((margin, below), (0, 0)), mode="reflect" if height > 1 else "edge")
    padded = np.pad(padded, ((0, 0), (margin, right)), mode="reflect" if width > 1 else "edge")

    for patch in grid.patches(height, width):
        y, x = patch.row * grid.patch_px, patch.col * grid.patch_px
        expected = padded[y : y + grid.crop_px, x : x + grid.crop_px, None]
        assert np.array_equal(grid.crop(frame, patch), expected)


@given(grid=grids(), height=SIDES, width=SIDES)
def test_the_parts_of_patches_inside_the_frame_cover_it_once(grid: PatchGrid, height: int, width: int) -> None:
    seen = np.zeros((height, width), dtype=int)

    for patch in grid.patches(height, width):
        rows, cols = grid.inside(patch, height, width)
        assert 1 <= rows <= grid.patch_px
        assert 1 <= cols <= grid.patch_px
        y, x = patch.row * grid.patch_px, patch.col * grid.patch_px
        assert y + rows <= height
        assert x + cols <= width
        seen[y : y + rows, x : x + cols] += 1

    assert (seen == 1).all()


@given(start=st.integers(-300, 300), length=st.integers(1, 300), size=st.integers(1, 40))
def test_reflection_walks_back_and_forth_however_far_it_reaches(start: int, length: int, size: int) -> None:
    index = reflected(start, length, size)

    # The second formula: walk there step by step from pixel 0, turning at the ends.
    position, step, walk = 0, 1, [0]
    for _ in range(max(abs(start), abs(start + length))):
        if size > 1:
            if not 0 <= position + step < size:
                step = -step
            position += step
        walk.append(position)
    assert index.tolist() == [walk[abs(place)] for place in range(start, start + length)]


@given(grids())
def test_a_tiles_patches_lie_in_its_middle_with_at_least_the_margin_around(grid: PatchGrid) -> None:
    before = grid.inset_px
    after = grid.tile_px - before - grid.patches_per_side * grid.patch_px

    assert min(before, after) >= grid.margin_px
    assert after - before in {0, 1}
    assert after + before < 2 * grid.margin_px + grid.patch_px


def test_a_tile_that_is_one_crop_holds_its_patch_in_the_middle() -> None:
    grid = PatchGrid(tile_px=1024, patch_px=256, margin_px=128, cell_px=64)

    crop = grid.as_crop()

    assert (crop.tile_px, crop.patches_per_side, crop.inset_px) == (grid.crop_px, 1, grid.margin_px)
    assert crop.as_crop() == crop


def test_colour_frames_keep_their_channels() -> None:
    grid = PatchGrid(tile_px=64, patch_px=32, margin_px=16, cell_px=8, channels=3)
    frame = np.arange(50 * 70 * 3, dtype=np.uint32).astype(np.uint8).reshape(50, 70, 3)

    assert grid.tiles(frame).shape == (6, 64, 64, 3)
    assert grid.crop(frame, Patch(1, 2)).shape == (64, 64, 3)


def test_a_frame_with_the_wrong_channels_is_refused_with_both_numbers() -> None:
    grid = PatchGrid(tile_px=64, patch_px=32, margin_px=16, cell_px=8)

    with pytest.raises(ConfigError, match="3 channels, the line's graphs take 1"):
        grid.tiles(np.zeros((64, 64, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("sizes", "reason"),
    [
        ({"cell_px": 24}, "not a multiple of cell_px"),
        ({"tile_px": 1000}, "multiples of 32"),
        ({"margin_px": 100}, "multiples of 32"),
        ({"tile_px": 256}, "holds no patch"),
        ({"margin_px": 1024}, "holds no patch"),
        ({"margin_px": -1}, "outside 8 to 8192"),
        ({"patch_px": 4, "cell_px": 4}, "outside 8 to 8192"),
        ({"tile_px": 16384}, "outside 8 to 8192"),
        ({"channels": 2}, "expected 1"),
    ],
)
def test_sizes_that_cannot_be_are_refused_by_name(sizes: dict[str, int], reason: str) -> None:
    good = {"tile_px": 1024, "patch_px": 256, "margin_px": 128, "cell_px": 64}

    with pytest.raises(ConfigError, match=reason):
        PatchGrid(**{**good, **sizes})
