"""A model on labelled crops: one confusion matrix per sample, so that whoever judges can resample them."""

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.geometry import Image
from trainer.labelling.masks import IGNORE
from trainer.learning.calibration import BINS, FOLDS, Calibration, Reliability, cross_fitted
from trainer.learning.checkpoints import Judgement
from trainer.learning.metrics import Confusion, confusion, iou, miou
from trainer.learning.model import TaskModel, at_once

#: How many pixels a temperature is fitted on: one number needs few, and all of a reference set may not fit in memory.
FITTED: Final = 200_000


def predict(model: TaskModel, crops: Image, *, minibatch: int | None = None) -> NDArray[np.uint8]:
    """Return the most likely class of every pixel: ``(n, h, w)`` for crops ``(n, h, w, c)``."""
    masks = np.empty(crops.shape[:3], dtype=np.uint8)
    for some, logits in _logits(model, crops, minibatch):
        masks[some] = logits.argmax(dim=1).to(torch.uint8).cpu().numpy()
    return masks


def evaluate(model: TaskModel, crops: Image, masks: NDArray[np.uint8], *, classes: int) -> Confusion:
    """Return ``(n, classes, classes)`` pixel counts, one matrix per crop; only supervised pixels count."""
    predicted = predict(model, crops)
    counts = [confusion(truth, guess, classes=classes) for truth, guess in zip(masks, predicted, strict=True)]
    return np.stack(counts) if counts else np.zeros((0, classes, classes), dtype=np.int64)


def reliability(
    model: TaskModel, crops: Image, masks: NDArray[np.uint8], *, bins: int = BINS, minibatch: int | None = None
) -> Reliability:
    """Count supervised pixels by how sure the model is of them."""
    total = Reliability.none(bins=bins)
    for some, logits in _logits(model, crops, minibatch):
        shares = torch.softmax(logits, dim=1).cpu().numpy()
        total += Reliability.of(shares, masks[some], bins=bins)
    return total


def assess(
    model: TaskModel, crops: Image, masks: NDArray[np.uint8], *, classes: int, minibatch: int | None = None
) -> Judgement:
    """Measure IoU and calibration error in one look at the crops; only supervised pixels count."""
    counts, total = np.zeros((classes, classes), dtype=np.int64), Reliability.none()
    for some, logits in _logits(model, crops, minibatch):
        truth = masks[some]
        counts += confusion(truth, logits.argmax(dim=1).to(torch.uint8).cpu().numpy(), classes=classes)
        total += Reliability.of(torch.softmax(logits, dim=1).cpu().numpy(), truth)
    return Judgement(
        miou=_known(miou(counts)), per_class=tuple(_known(value) for value in iou(counts)), ece=_known(total.ece)
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def calibrate(
    model: TaskModel,
    crops: Image,
    masks: NDArray[np.uint8],
    *,
    rng: np.random.Generator,
    most: int = FITTED,
    minibatch: int | None = None,
) -> Calibration:
    """Give a model the temperature under which labels it was not trained on are likeliest, and say how good it is.

    Neighbours in the order of the crops are in the same fold: patches of one frame are often alike.

    Args:
        model: Its temperature is set.
        crops: ``(n, h, w, c)``, of the reference set.
        masks: ``(n, h, w)``, 255 where nothing is supervised.
        rng: Chooses pixels where there are more than ``most``.
        most: Pixels to fit on.
        minibatch: Crops at a time; as many as fit well when absent.
    """
    before, model.temperature = model.temperature, 1.0
    supervised = masks != IGNORE
    labelled = np.flatnonzero(supervised.any(axis=(1, 2)))
    fold = np.zeros(len(masks), dtype=np.intp)
    for number, members in enumerate(np.array_split(labelled, FOLDS)):
        fold[members] = number
    share = min(1.0, most / max(1, int(supervised.sum())))
    logits, truth = [np.zeros((0, model.classes), dtype=np.float32)], [np.zeros(0, dtype=np.uint8)]
    folds = [np.zeros(0, dtype=np.intp)]
    try:
        for part, found in _logits(model, crops, minibatch):
            taken = supervised[part]
            taken &= rng.random(taken.shape) < share
            logits.append(found.permute(0, 2, 3, 1).cpu().numpy()[taken])
            truth.append(masks[part][taken])
            folds.append(np.repeat(fold[part], taken.sum(axis=(1, 2))))
        calibration = cross_fitted(np.concatenate(logits), np.concatenate(truth), np.concatenate(folds))
        before = calibration.temperature
    finally:
        model.temperature = before
    return calibration


def _logits(model: TaskModel, crops: Image, minibatch: int | None) -> Iterator[tuple[slice, Tensor]]:
    """Walk the logits of a few crops at a time, each with where they stand."""
    size = minibatch or at_once(*crops.shape[1:3])
    device = next(model.parameters()).device
    model.eval()
    for some in (slice(start, start + size) for start in range(0, len(crops), size)):
        pixels = torch.from_numpy(np.ascontiguousarray(crops[some])).to(device)
        with torch.inference_mode():
            logits = model(pixels.permute(0, 3, 1, 2))
        yield some, logits
