"""Superpixels of many images as units: a region's number follows from the order of the images.

What :class:`~trainer.experiment.units.Units` is to boxes: what is not labelled is 255 in a mask for training.
"""

from collections.abc import Iterable
from typing import assert_never

import numpy as np

from shared.errors import StateError
from trainer.experiment.clicks import CostRule, OneLabel, Outline, region_costs
from trainer.experiment.superpixels import Regions
from trainer.labelling.masks import Mask
from trainer.selection.numbers import Floats, Ints


class RegionUnits:
    """All regions of some images: number to (image, region) and back."""

    def __init__(self, images: Iterable[tuple[str, Regions]]) -> None:
        """Number the regions of images given as ``(key, regions)``, in that order."""
        self._regions: dict[str, Regions] = {}
        self._of: dict[str, range] = {}
        start = 0
        for key, regions in images:
            if key in self._of:
                raise StateError(f"units: image {key} was given twice")
            self._regions[key] = regions
            self._of[key] = range(start, start + regions.count)
            start += regions.count
        self._keys = [*self._of]
        self._starts = np.array([own.start for own in self._of.values()], dtype=np.intp)
        self._length = start
        #: How many pixels each has, ``(n,)``.
        self.sizes: Ints = np.concatenate(
            [np.zeros(0, dtype=np.intp), *(each.sizes() for each in self._regions.values())]
        )

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> tuple[str, int]:
        if not 0 <= index < self._length:
            raise IndexError(index)
        image = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self._keys[image], index - int(self._starts[image])

    def of_image(self, key: str) -> range:
        """Return the numbers of an image's regions."""
        return self._of[key]

    def by_image(self, indices: Iterable[int]) -> dict[str, list[int]]:
        """Group units by image, both in the order of their numbers."""
        grouped: dict[str, list[int]] = {}
        for index in sorted(indices):
            grouped.setdefault(self[index][0], []).append(index)
        return grouped

    def scores(self, key: str, uncertainty: Floats) -> Floats:
        """Average an image's map ``(h, w)`` over its regions, in the order of their numbers."""
        return self._regions[key].means(uncertainty)

    def predicted(self, key: str, mask: Mask, *, classes: int) -> Ints:
        """Say which class most of each of an image's regions is predicted to have."""
        return self._regions[key].dominant(mask, classes=classes)

    def costs(self, key: str, mask: Mask, rule: CostRule) -> Ints:
        """Count the clicks that each of an image's regions costs, by its truth."""
        return region_costs(rule, self._regions[key], mask)

    def supervision(self, key: str, mask: Mask, labelled: Iterable[int], *, rule: CostRule, classes: int) -> Mask:
        """Return what a person would answer for an image's labelled regions, 255 elsewhere.

        Args:
            key: The image.
            mask: ``(h, w)``, the truth of the whole image.
            labelled: Numbers of units; those of other images count for nothing.
            rule: Whether the person names a region or outlines what is in it.
            classes: How many there are.
        """
        mine, regions = self._of[key], self._regions[key]
        chosen = np.array([index - mine.start for index in labelled if index in mine], dtype=np.intp)
        match rule:
            case OneLabel():
                return regions.named(mask, chosen, classes=classes)
            case Outline():
                return regions.outlined(mask, chosen)
            case _:
                assert_never(rule)
