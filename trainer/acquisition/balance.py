"""Class balance: more of what the pool holds little of.

Cai et al. (CVPR 2021; Zhang's slides name the idea and give no formula) weigh a region's uncertainty by
``exp(-p_c)``, where c is the region's predicted class and p_c the share of the pool's regions predicted so. The form is
that of their published program. The weights lie between 1/e and 1: a rare class is favoured, never forced.
"""

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError


def balanced_weights(predicted: NDArray[np.intp], *, classes: int) -> NDArray[np.float64]:
    """Weigh each class by ``exp(-share)``, its share among the predicted classes ``(n,)``; returns ``(classes,)``."""
    counts = np.bincount(predicted, minlength=classes)
    if len(counts) > classes:
        raise ConfigError(f"predicted class {len(counts) - 1}: expected 0 to {classes - 1}; one for each region")
    weights: NDArray[np.float64] = np.exp(-counts / max(1, counts.sum()))
    return weights


def balanced(scores: NDArray[np.float64], predicted: NDArray[np.intp], *, classes: int) -> NDArray[np.float64]:
    """Weigh a pool's scores from 0 ``(n,)`` by the classes predicted for its regions ``(n,)``."""
    return scores * balanced_weights(predicted, classes=classes)[predicted]
