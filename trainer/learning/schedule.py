"""How the learning rate goes over a training: a warm-up, then a fall. A short training gains most from both."""

import math
from typing import Final

WARM_UP: Final = 0.2


def rate(done: int, steps: int) -> float:
    """Return the share of the full learning rate at a step: a linear warm-up from a tenth, then a cosine to a hundredth."""
    warm = max(1, round(WARM_UP * steps))
    if done < warm:
        return 0.1 + 0.9 * done / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - warm) / max(1, steps - warm)))
