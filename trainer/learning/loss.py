"""The loss: weighted cross-entropy over supervised pixels only (255 is not background, it is unknown)."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shared.errors import InputError
from trainer.labelling.masks import IGNORE

#: How much more a rare class may weigh than the most frequent one; above it, single pixels lead training astray.
MOST: Final = 20.0


def class_weights(masks: NDArray[np.uint8], *, classes: int) -> NDArray[np.float32]:
    """Weigh classes by the inverse square root of their frequency among supervised pixels.

    The most frequent class weighs 1, none more than ``MOST``; a class without a pixel weighs nothing.
    """
    counts = np.bincount(masks[masks != IGNORE], minlength=classes)
    if not counts.any() or len(counts) > classes:
        found = "no supervised pixel" if not counts.any() else f"value {len(counts) - 1}"
        raise InputError(f"masks: {found}, expected classes 0 to {classes - 1} and 255 where nothing is known")
    weights = np.zeros(classes)
    present = counts > 0
    weights[present] = np.minimum(np.sqrt(counts.max() / counts[present]), MOST)
    return weights.astype(np.float32)


def supervised_loss(logits: Tensor, masks: Tensor, weights: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Return the weighted mean of the cross-entropy over supervised pixels; zero when there is none.

    Args:
        logits: ``(n, k, h, w)``.
        masks: ``(n, h, w)`` class values, 255 where nothing is known.
        weights: ``(k,)``.
        weight: What the pixels weigh together, where these are only some of a minibatch's.
    """
    each = functional.cross_entropy(logits, masks.long(), weight=weights, ignore_index=IGNORE, reduction="sum")
    total = supervised_weight(masks, weights) if weight is None else weight
    return each / total.clamp(min=1e-12)


def supervised_weight(masks: Tensor, weights: Tensor) -> Tensor:
    """Return what the supervised pixels weigh together."""
    supervised = masks != IGNORE
    return weights[torch.where(supervised, masks, 0).long()].mul(supervised).sum()
