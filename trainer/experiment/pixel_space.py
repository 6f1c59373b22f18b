"""The embedding of a study that needs no encoder: where an image lies along the axes in which the pixels of all of them differ most."""

from math import sqrt
from typing import Final

import numpy as np

from shared.geometry import Image
from trainer.experiment.datasets.resize import resized_image
from trainer.learning.classification.axes import MOST_NUMBERS, pixel_axes
from trainer.selection.numbers import Vectors

#: How many axes stand for an image: of Fashion-MNIST's pixels, 64 hold 88 % of the variance.
PIXEL_AXES: Final = 64
#: What a shrunk image is brought to: axes of twice as many numbers take eight times as long, and the widest say the same.
_SHRUNK_NUMBERS: Final = 2048


def pixel_rows(images: Image) -> Vectors:
    """Return unit rows ``(n, d)`` for images ``(n, h, w, c)``; large ones are shrunk first, for the widest axes are coarse."""
    small = shrunk(images)
    axes = pixel_axes(small, dim=min(PIXEL_AXES, int(np.prod(small.shape[1:]))))
    return axes.embed(small, np.arange(len(small)))


def shrunk(images: Image) -> Image:
    """Bring images of more numbers than axes are found for to fewer, in their own shape; others stay as they are."""
    _, height, width, channels = images.shape
    if height * width * channels <= MOST_NUMBERS:
        return images
    scale = sqrt(_SHRUNK_NUMBERS / (height * width * channels))
    # No side falls below a pixel; of a strip the other one then gives way.
    rows = min(max(1, int(height * scale)), _SHRUNK_NUMBERS // channels)
    cols = min(max(1, int(width * scale)), _SHRUNK_NUMBERS // (rows * channels))
    return np.stack([resized_image(image, (rows, cols)) for image in images])
