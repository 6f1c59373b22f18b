"""The embedding of pixels: images of any size, and alike ones side by side."""

import numpy as np
import pytest

from tests.trainer.learning.classification.pictures import quadrants
from trainer.experiment.pixel_space import PIXEL_AXES, pixel_rows, shrunk
from trainer.learning.classification.axes import MOST_NUMBERS, pixel_axes


@pytest.mark.parametrize(
    "size", [(72, 96, 3), (360, 480, 3), (1024, 1024, 1), (1, 9_000, 1), (9_000, 1, 3), (65, 64, 1)]
)
def test_a_large_image_keeps_its_shape_as_far_as_its_numbers_can_be_weighed(size: tuple[int, int, int]) -> None:
    images = np.full((2, *size), 77, dtype=np.uint8)

    _, rows, cols, channels = shrunk(images).shape

    assert MOST_NUMBERS // 4 < rows * cols * channels <= MOST_NUMBERS // 2
    assert rows / cols == pytest.approx(size[0] / size[1], rel=0.05) or 1 in {rows, cols}
    assert (shrunk(images) == 77).all()


def test_an_image_that_is_small_enough_is_taken_as_it_is() -> None:
    images, _ = quadrants(40, 1, side=8)

    assert shrunk(images) is images
    axes = pixel_axes(images, dim=PIXEL_AXES)
    np.testing.assert_array_equal(pixel_rows(images), axes.embed(images, np.arange(40)))


def test_large_images_of_one_class_lie_together() -> None:
    images, labels = quadrants(60, 1, side=200)

    rows = pixel_rows(images)

    alike = rows @ rows.T
    same = labels[:, None] == labels[None]
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert alike[same].mean() > 0.5 > alike[~same].mean() + 0.5
