"""How unsure a classifier is of an image: the pixel measures, on a map of one pixel."""

from typing import Final, TypeAlias, assert_never, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.errors import ConfigError, StateError
from shared.ways import Measure
from trainer.acquisition.entropy import PixelEntropy
from trainer.acquisition.pixels import Bvsb, LeastConfidence, Margin, PixelMeasure

Floats: TypeAlias = NDArray[np.float64]

MEASURES: Final[tuple[Measure, ...]] = get_args(Measure)


def uncertainty(logits: Tensor, measure: Measure, *, temperature: float = 0.1) -> Floats:
    """Return a score for each image, 0 for certain and 1 for a fair die.

    Args:
        logits: ``(n, k)``.
        measure: ``odin`` is least confidence at a temperature, without a step of the input (the thesis, section 3.1.3).
        temperature: ODIN's, above 0; the thesis' best by default.

    Returns:
        ``(n,)`` in [0, 1].
    """
    if measure not in MEASURES:
        raise ConfigError(f'measure "{measure[:60]}": not known; known are {", ".join(sorted(MEASURES))}')
    if not 0 < temperature < float("inf"):
        raise ConfigError(f"odin: temperature {temperature}; expected one above 0")
    if not bool(torch.isfinite(logits).all()):
        raise StateError("logits: some are not finite; a model that learned nothing scores nothing")
    pixels = _pixel_measure(measure, logits.shape[1])
    with torch.inference_mode():
        tempered = logits.float() / (temperature if measure == "odin" else 1.0)
        values = pixels(tempered[:, :, None, None]).flatten() / pixels.most
    # Rounding may leave a hair beyond the ends.
    scores: Floats = values.clamp(0.0, 1.0).double().cpu().numpy()
    return scores


def _pixel_measure(measure: Measure, classes: int) -> PixelMeasure:
    match measure:
        case "entropy":
            return PixelEntropy(classes)
        case "least-confidence" | "odin":
            return LeastConfidence(classes)
        case "margin":
            return Margin(classes)
        case "bvsb":
            return Bvsb(classes)
        case _:
            assert_never(measure)
