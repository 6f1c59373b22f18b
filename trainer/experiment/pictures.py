"""The images of a segmentation study, decoded once into memory, and their units.

Memory is bounded before the first image is read; every image has one size, so that minibatches can be stacked.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from shared.console import Step
from shared.errors import ConfigError, InputError
from shared.geometry import Image
from trainer.experiment.datasets.dataset import DataSet, Split
from trainer.experiment.units import UnitRule, Units
from trainer.labelling.masks import IGNORE, Mask
from trainer.learning.checkpoints import fingerprint

#: Images and masks of the splits of a study may take so much; more is refused, not swapped.
MOST_BYTES: Final = 16 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One split: images ``(n, h, w, c)`` and masks ``(n, h, w)``, in the order of the keys."""

    images: Image
    masks: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """The pixels of a study; a unit's number goes over the training split."""

    parts: dict[Split, Part]
    units: Units
    #: Which image each unit lies in, ``(n,)``.
    image_of: Sequence[int]

    @classmethod
    def read(cls, data: DataSet, rule: UnitRule, splits: Sequence[Split], *, step: Step) -> Self:
        """Decode the images of some splits, ``train`` among them."""
        keys = {split: data.splits[split] for split in splits}
        sizes = {data.size(key) for part in keys.values() for key in part}
        if len(sizes) > 1:
            raise ConfigError(
                f"data set {data.name}: {len(sizes)} sizes of images, from {min(sizes)} to {max(sizes)}; set data.size_px to bring them to one"
            )
        (height, width) = sizes.pop()
        total = sum(len(part) for part in keys.values())
        needed = total * height * width * (data.channels + 1)
        if needed > MOST_BYTES:
            raise ConfigError(
                f"data set {data.name}: {total} images of {height} x {width} take {needed / 2**30:.1f} GiB, at most {MOST_BYTES / 2**30:.0f} are held; set a smaller data.size_px"
            )
        parts: dict[Split, Part] = {
            split: Part(
                np.empty((len(names), height, width, data.channels), dtype=np.uint8),
                np.empty((len(names), height, width), dtype=np.uint8),
            )
            for split, names in keys.items()
        }
        for split, place, image, mask in data.read(splits, step=step):
            parts[split].images[place], parts[split].masks[place] = image, mask
        data.check_classes(parts["train"].masks)
        for split, part in parts.items():
            if not any((mask != IGNORE).any() for mask in part.masks):
                raise InputError(
                    f"data set {data.name}: no pixel of its {split} split has a class, all are {IGNORE}; give masks that say more, or set data.measured to another split"
                )
        units = Units(rule, [(key, (height, width)) for key in keys["train"]])
        where = [place for place, key in enumerate(keys["train"]) for _ in units.of_image(key)]
        return cls(parts, units, where)

    @property
    def truth(self) -> str:
        """The hash of the masks of every split."""
        return fingerprint(*(np.ascontiguousarray(self.parts[split].masks).data for split in sorted(self.parts)))

    def crops(self, units: Sequence[int], *, margin_px: int) -> Image:
        """Cut some units with their margins: ``(n, h, w, c)``."""
        images = self.parts["train"].images
        return np.stack([self.units.crop(unit, images[self.image_of[unit]], margin_px=margin_px) for unit in units])

    def labelled_crops(self, units: Sequence[int], *, margin_px: int) -> tuple[Image, Mask]:
        """Cut some units with their margins, and their labels: 255 in the margin."""
        masks = self.parts["train"].masks
        known = [self.units.crop_mask(unit, masks[self.image_of[unit]], margin_px=margin_px) for unit in units]
        return self.crops(units, margin_px=margin_px), np.stack(known)

    def labelled_images(self, units: Sequence[int]) -> tuple[Image, Mask]:
        """Return the full images that hold some units, and masks of 255 outside those units."""
        part = self.parts["train"]
        grouped: dict[int, list[int]] = {}
        for unit in sorted(units):
            grouped.setdefault(self.image_of[unit], []).append(unit)
        masks = [
            self.units.supervision(self.units[inside[0]].key, part.masks[place], inside)
            for place, inside in grouped.items()
        ]
        return part.images[list(grouped)], np.stack(masks)


def padded(images: Image, *, grain: int) -> Image:
    """Widen images ``(n, h, w, c)`` to multiples of ``grain`` by reflection, below and to the right."""
    down, right = (-side % grain for side in images.shape[1:3])
    return np.pad(images, ((0, 0), (0, down), (0, right), (0, 0)), mode="symmetric") if down or right else images


def padded_masks(masks: Mask, *, grain: int) -> Mask:
    """Widen masks ``(n, h, w)`` as :func:`padded` does, with 255."""
    down, right = (-side % grain for side in masks.shape[1:3])
    return np.pad(masks, ((0, 0), (0, down), (0, right)), constant_values=IGNORE) if down or right else masks
