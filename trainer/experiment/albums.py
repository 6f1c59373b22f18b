"""The images of a classification study, decoded once into memory and kept as uint8.

Memory is bounded before the first image is read; every image has one size, so that minibatches can be stacked. A
unit's number is its image's place in the training split.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np

from shared.console import Step
from shared.errors import ConfigError, StateError
from shared.geometry import Image
from trainer.experiment.datasets.dataset import DataSet, Split
from trainer.learning.checkpoints import fingerprint
from trainer.learning.classification.loop import Labels
from trainer.selection.numbers import Ints

#: Images of the splits of a study may take so much; more is refused, not swapped.
MOST_BYTES: Final = 16 << 30


@dataclass(frozen=True, slots=True, eq=False)
class Album:
    """One split: images ``(n, h, w, c)`` and their classes ``(n,)``, in the order of the keys."""

    images: Image
    labels: Labels


@dataclass(frozen=True, slots=True, eq=False)
class Albums:
    """The images of a study."""

    parts: dict[Split, Album]
    classes: int

    @classmethod
    def read(cls, data: DataSet, splits: Sequence[Split], *, step: Step) -> Self:
        """Decode the images of some splits, ``train`` among them."""
        if data.task != "classification":
            raise ConfigError(f"data set {data.name}: a set for {data.task}; a classifier learns one class an image")
        keys = {split: data.splits[split] for split in splits}
        sizes = {data.size(key) for part in keys.values() for key in part}
        if len(sizes) != 1:
            raise ConfigError(
                f"data set {data.name}: {len(sizes)} sizes of images; set data.size_px to bring them to one"
            )
        ((height, width),) = sizes
        total = sum(len(part) for part in keys.values())
        needed = total * height * width * data.channels
        if needed > MOST_BYTES:
            raise ConfigError(
                f"data set {data.name}: {total} images of {height} x {width} take {needed / 2**30:.1f} GiB, at most {MOST_BYTES / 2**30:.0f} are held; set a smaller data.size_px"
            )
        parts: dict[Split, Album] = {
            split: Album(
                np.empty((len(names), height, width, data.channels), dtype=np.uint8),
                np.empty(len(names), dtype=np.uint8),
            )
            for split, names in keys.items()
        }
        for split, place, image, label in data.read(splits, step=step):
            parts[split].images[place], parts[split].labels[place] = image, label
        data.check_classes(parts["train"].labels)
        return cls(parts, len(data.classes))

    @property
    def train(self) -> Album:
        """The images that units number."""
        return self.parts["train"]

    @property
    def truth(self) -> str:
        """The hash of the classes of every split."""
        return fingerprint(*(np.ascontiguousarray(self.parts[split].labels).data for split in sorted(self.parts)))

    def places(self, units: Sequence[int]) -> Ints:
        """Turn units into places, or refuse one that is not there."""
        places = np.asarray(units, dtype=np.intp)
        n = len(self.train.images)
        strange = places[(places < 0) | (places >= n)]
        if strange.size:
            raise StateError(f"unit {strange[0]}: the training split has 0 to {n - 1}; nothing was done")
        return places
