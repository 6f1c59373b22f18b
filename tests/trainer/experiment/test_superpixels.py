"""Superpixels: connected regions that follow edges, and what is averaged, named and labelled by them."""

import sys
from collections import Counter, deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from shared.errors import ConfigError, InputError
from trainer.experiment import superpixels
from trainer.experiment.superpixels import Regions, connect, grid, pieces, seeds

TINY = arrays.arrays(np.int32, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 3))


def flooded(labels: np.ndarray) -> np.ndarray:
    """Number the pieces by flooding from each pixel in turn."""
    found = np.full(labels.shape, -1, dtype=np.int32)
    count = 0
    for place in np.ndindex(*labels.shape):
        if found[place] >= 0:
            continue
        found[place] = count
        waiting = deque([place])
        while waiting:
            y, x = waiting.popleft()
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= near[0] < labels.shape[0] and 0 <= near[1] < labels.shape[1]
                if inside and found[near] < 0 and labels[near] == labels[place]:
                    found[near] = count
                    waiting.append(near)
        count += 1
    return found


def scene(*, channels: int) -> np.ndarray:
    """Draw a bright square on a dark ground with a little noise."""
    image = np.random.default_rng(0).integers(20, 40, (64, 96, channels), dtype=np.uint8)
    image[13:42, 22:67] += 150
    return image


@given(TINY)
def test_pieces_are_what_a_flood_from_each_pixel_finds(labels: np.ndarray) -> None:
    found, count = pieces(labels)

    np.testing.assert_array_equal(found, flooded(labels))
    assert count == found.max() + 1


@given(TINY)
def test_regions_are_connected_and_numbered_by_their_first_pixel(labels: np.ndarray) -> None:
    regions = connect(labels)

    np.testing.assert_array_equal(flooded(regions.labels), regions.labels)
    assert regions.count == len(np.unique(labels))


@given(TINY)
def test_the_largest_piece_of_a_label_stays_whole(labels: np.ndarray) -> None:
    flood = flooded(labels)

    regions = connect(labels)

    kept = []
    for label in np.unique(labels):
        own = Counter(flood[labels == label].tolist())
        largest = min(own, key=lambda piece: (-own[piece], piece))
        inside = set(regions.labels[flood == largest].tolist())
        assert len(inside) == 1
        kept += inside
    assert len(set(kept)) == len(kept)


def test_a_stray_piece_goes_to_the_neighbour_with_the_longest_border() -> None:
    labels = np.array([[0, 0, 0, 5], [1, 5, 1, 5], [1, 1, 1, 5]], dtype=np.int32)

    regions = connect(labels)

    # The lone 5 has one side with 0 and three with 1.
    np.testing.assert_array_equal(regions.labels, [[0, 0, 0, 1], [2, 2, 2, 1], [2, 2, 2, 1]])


def test_of_equal_borders_the_first_neighbour_takes_a_stray_piece() -> None:
    labels = np.array([[0, 0, 0, 5], [0, 5, 1, 5], [1, 1, 1, 5]], dtype=np.int32)

    regions = connect(labels)

    np.testing.assert_array_equal(regions.labels, [[0, 0, 0, 1], [0, 0, 2, 1], [2, 2, 2, 1]])


def test_a_stray_piece_among_strays_waits_for_its_neighbours() -> None:
    # The lone 7 touches only the ring of strays labelled 5, which goes to 0 first.
    labels = np.zeros((7, 9), dtype=np.int32)
    labels[1:4, 1:4] = 5
    labels[2, 2] = 7
    labels[:, 6:8] = 5
    labels[:, 8] = 7

    regions = connect(labels)

    expected = np.zeros((7, 9), dtype=np.int32)
    expected[:, 6:8] = 1
    expected[:, 8] = 2
    np.testing.assert_array_equal(regions.labels, expected)


@given(TINY, st.integers(0, 2**32 - 1))
def test_sizes_and_means_are_those_of_each_region_s_pixels(labels: np.ndarray, seed: int) -> None:
    regions = connect(labels)
    values = np.random.default_rng(seed).random(labels.shape)

    sizes, means = regions.sizes(), regions.means(values)

    for region in range(regions.count):
        assert sizes[region] == (regions.labels == region).sum()
        assert means[region] == pytest.approx(values[regions.labels == region].mean())


@given(TINY, st.integers(0, 2**32 - 1))
def test_one_label_is_the_class_of_most_pixels(labels: np.ndarray, seed: int) -> None:
    regions = connect(labels)
    mask = np.random.default_rng(seed).choice(np.array([0, 1, 2, 255], dtype=np.uint8), labels.shape)
    chosen = np.arange(0, regions.count, 2)

    dominant = regions.dominant(mask, classes=3)
    named = regions.named(mask, chosen, classes=3)
    outlined = regions.outlined(mask, chosen)

    for region in range(regions.count):
        own = Counter(value for value in mask[regions.labels == region].tolist() if value != 255)
        assert dominant[region] == (min(own, key=lambda value: (-own[value], value)) if own else 255)
    for place in np.ndindex(*labels.shape):
        region = regions.labels[place]
        answered = region in chosen and mask[place] != 255
        assert named[place] == (dominant[region] if answered else 255)
        assert outlined[place] == (mask[place] if region in chosen else 255)


def test_a_map_of_another_size_is_refused() -> None:
    regions = Regions(np.zeros((4, 5), dtype=np.int32), 1)

    with pytest.raises(InputError, match=r"map: \(5, 4\), the regions are \(4, 5\)"):
        regions.means(np.zeros((5, 4)))
    with pytest.raises(InputError, match=r"mask: \(5, 4\), the regions are \(4, 5\)"):
        regions.dominant(np.zeros((5, 4), dtype=np.uint8), classes=2)
    with pytest.raises(InputError, match=r"mask: \(5, 4\), the regions are \(4, 5\)"):
        regions.outlined(np.zeros((5, 4), dtype=np.uint8), np.array([0]))
    with pytest.raises(InputError, match="mask: value 2, expected 0 to 1 and 255"):
        regions.dominant(np.full((4, 5), 2, dtype=np.uint8), classes=2)


@pytest.mark.parametrize("channels", [1, 3])
def test_superpixels_follow_the_edges_of_the_image(channels: int) -> None:
    library()
    image = scene(channels=channels)

    regions = seeds(image, side_px=8)

    np.testing.assert_array_equal(flooded(regions.labels), regions.labels)
    assert regions.count == pytest.approx(64 * 96 / 8**2, rel=0.35)
    truth = (image[..., 0] > 100).astype(np.uint8)
    mixed = (regions.named(truth, np.arange(regions.count), classes=2) != truth).mean()
    rows, cols = np.indices(truth.shape)
    squares = Regions((rows // 8 * 12 + cols // 8).astype(np.int32), 96)
    of_squares = (squares.named(truth, np.arange(96), classes=2) != truth).mean()
    assert mixed < of_squares / 3


def test_the_same_image_gives_the_same_superpixels() -> None:
    library()
    image = scene(channels=1)

    first, again, flat = seeds(image, side_px=10), seeds(image, side_px=10), seeds(image[..., 0], side_px=10)

    np.testing.assert_array_equal(first.labels, again.labels)
    np.testing.assert_array_equal(first.labels, flat.labels)


@pytest.mark.parametrize(
    ("height", "width", "side_px"),
    [(16, 16, 4), (16, 16, 8), (16, 300, 4), (16, 300, 8), (301, 33, 16), (65, 233, 30), (129, 77, 5)],
)
def test_any_shape_is_cut_into_about_as_many_as_asked_for(height: int, width: int, side_px: int) -> None:
    library()
    image = np.random.default_rng(height).integers(0, 256, (height, width), dtype=np.uint8)

    regions = seeds(image, side_px=side_px)

    assert regions.labels.shape == (height, width)
    assert 0.6 < regions.count * side_px**2 / (height * width) < 1.7


def test_the_library_starts_from_the_grid_that_was_foreseen() -> None:
    cv2 = library()
    rng = np.random.default_rng(3)

    seen = 0
    for _ in range(200):
        height, width, asked = int(rng.integers(24, 240)), int(rng.integers(24, 240)), int(rng.integers(10, 90))
        for levels in (3, 5):
            rows, cols, reached = grid(height, width, asked=asked, levels=levels)
            if min(rows, cols) >= 1 and reached >= 2:
                finder = cv2.ximgproc.createSuperpixelSEEDS(width, height, 1, asked, levels, 2, 5)
                assert finder.getNumberOfSuperpixels() == rows * cols
                seen += 1
    assert seen > 200


def test_what_would_crash_the_library_is_refused() -> None:
    with pytest.raises(InputError, match="image: 15 x 40 px for superpixels of 4 px; both sides must be at least 16"):
        seeds(np.zeros((15, 40), dtype=np.uint8), side_px=4)
    with pytest.raises(InputError, match="image: 40 x 63 px for superpixels of 32 px; both sides must be at least 64"):
        seeds(np.zeros((40, 63), dtype=np.uint8), side_px=32)
    with pytest.raises(ConfigError, match="side of 3 px; expected at least 4"):
        seeds(np.zeros((40, 40), dtype=np.uint8), side_px=3)
    with pytest.raises(InputError, match=r"image: float64 \(40, 40\); superpixels take uint8"):
        seeds(np.zeros((40, 40)), side_px=8)
    with pytest.raises(InputError, match=r"image: uint8 \(40, 40, 4\); superpixels take uint8"):
        seeds(np.zeros((40, 40, 4), dtype=np.uint8), side_px=8)


def test_a_size_without_any_grid_is_refused() -> None:
    assert grid(3, 200, asked=10, levels=2) == (0, 0, 0)
    with pytest.raises(InputError, match="image: 3 x 200 px cannot be cut into superpixels of 20 px"):
        superpixels._asked(3, 200, 20)


def test_without_the_library_its_name_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)

    with pytest.raises(ConfigError, match="opencv-contrib-python-headless is not installed"):
        seeds(np.zeros((40, 40), dtype=np.uint8), side_px=8)


def test_an_opencv_without_the_contributed_part_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(__version__="5.0.0"))

    with pytest.raises(ConfigError, match=r"this OpenCV 5\.0\.0 has no ximgproc"):
        seeds(np.zeros((40, 40), dtype=np.uint8), side_px=8)


def library() -> Any:
    return pytest.importorskip("cv2", reason="opencv-contrib-python-headless is not installed")
