"""The samples of a training: labelled crops that become varied minibatches on the device it learns on."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shared.errors import InputError
from shared.geometry import Image
from trainer.labelling.masks import IGNORE
from trainer.learning.crew import Crew
from trainer.learning.data import Order, supervised_window, varied
from trainer.learning.loss import class_weights


class Samples:
    """Crops with masks, at least one of them with a label."""

    def __init__(self, crops: Image, masks: NDArray[np.uint8], *, classes: int) -> None:
        """Take crops ``(n, h, w, c)`` and masks ``(n, h, w)``, 255 where nothing is supervised."""
        if len(crops) != len(masks) or not len(crops):
            raise InputError(f"training: {len(crops)} crops and {len(masks)} masks; label patches first")
        if crops.shape[1:3] != masks.shape[1:]:
            raise InputError(
                f"training: crops of {crops.shape[1]} x {crops.shape[2]} px, masks of {masks.shape[1]} x {masks.shape[2]}; nothing is trained, give masks of the crops' size"
            )
        self.crops = crops
        self.masks = masks
        self.class_weights = class_weights(masks, classes=classes)
        self.window = supervised_window(masks)
        self._known = (masks != IGNORE).any(axis=(1, 2))

    @property
    def unseen(self) -> tuple[str, ...]:
        """Tell of each class that has no pixel."""
        return tuple(
            f"class {number}: no labelled pixel in {len(self.masks)} samples; it weighs nothing and will not be found"
            for number in np.flatnonzero(self.class_weights == 0)
        )

    def minibatch(self, order: Order, device: torch.device, crew: Crew | None = None) -> tuple[Tensor, Tensor] | None:
        """Return the next minibatch, varied: pixels ``(n, c, h, w)`` and masks; None when it holds no label.

        A process of a crew gets its share; that the whole holds no label is the same for all.
        """
        chosen = order.take().numpy()
        if not self._known[chosen].any():
            return None
        share = (crew or Crew()).share(len(chosen))
        pixels = self._moved(self.crops[chosen[share]], device).permute(0, 3, 1, 2).float()
        truth = self._moved(self.masks[chosen[share]], device)
        pixels, truth = varied(pixels, truth, order.generator, share=share, of=len(chosen))
        # Channels last makes the small convolutions of short trainings two to three times faster on CPUs as well.
        return pixels.contiguous(memory_format=torch.channels_last), truth

    @staticmethod
    def _moved(values: NDArray[np.uint8], device: torch.device) -> Tensor:
        held = torch.from_numpy(values)
        # From pinned memory the copy waits for nobody: the next minibatch is made while the GPU works on this one.
        return held.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else held
