"""A model on labelled crops: one confusion matrix per sample, so that whoever judges can resample them."""

import numpy as np
import torch
from numpy.typing import NDArray

from shared.geometry import Image
from trainer.learning.metrics import Confusion, confusion
from trainer.learning.model import TaskModel


def predict(model: TaskModel, crops: Image, *, minibatch: int = 32) -> NDArray[np.uint8]:
    """Return the most likely class of every pixel: ``(n, h, w)`` for crops ``(n, h, w, c)``."""
    device = next(model.parameters()).device
    model.eval()
    masks = np.empty(crops.shape[:3], dtype=np.uint8)
    with torch.inference_mode():
        for start in range(0, len(crops), minibatch):
            pixels = torch.from_numpy(np.ascontiguousarray(crops[start : start + minibatch])).to(device)
            logits = model(pixels.permute(0, 3, 1, 2))
            masks[start : start + minibatch] = logits.argmax(dim=1).to(torch.uint8).cpu().numpy()
    return masks


def evaluate(model: TaskModel, crops: Image, masks: NDArray[np.uint8], *, classes: int) -> Confusion:
    """Return ``(n, classes, classes)`` pixel counts, one matrix per crop; only supervised pixels count."""
    predicted = predict(model, crops)
    counts = [confusion(truth, guess, classes=classes) for truth, guess in zip(masks, predicted, strict=True)]
    return np.stack(counts) if counts else np.zeros((0, classes, classes), dtype=np.int64)
