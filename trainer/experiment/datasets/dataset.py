"""What every data set of an experiment is: opaque keys in splits, and pixels on demand.

File names tell the class and sort by it, so nobody outside a loader sees one: a key is a hash, and the order of
the keys is a shuffle by the experiment's seed. ``origin`` names the file for messages and pictures only.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, NoReturn, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.console import Step
from shared.errors import InputError, StateError
from shared.geometry import Image
from shared.identity import sha256_hex
from trainer.experiment.datasets.resize import resized_image, resized_mask
from trainer.labelling.masks import IGNORE, Mask

Task: TypeAlias = Literal["segmentation", "classification"]
Split: TypeAlias = Literal["train", "val", "test"]
#: What a user may ask for; ``seeded`` is what a set without splits gets.
Choice: TypeAlias = Literal["official", "grouped"]
SplitKind: TypeAlias = Literal["official", "grouped", "seeded"]

SPLITS: Final[tuple[Split, ...]] = ("train", "val", "test")
_KEY_DIGITS: Final = 16
#: More faults than this help nobody; the rest is counted.
_MOST_FAULTS: Final = 20


class Source(Protocol):
    """Where the pixels of one layout lie; items are numbered from 0."""

    def origin(self, item: int) -> str:
        """Name the file, for messages and pictures."""

    def size(self, item: int) -> tuple[int, int]:
        """Say an image's height and width without decoding it."""

    def image(self, item: int) -> Image:
        """Read an image: ``(h, w, c)``."""

    def truth(self, item: int) -> NDArray[np.uint8]:
        """Read the classes: ``(h, w)``, 255 for ignore; ``()`` where one class is the whole image's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a recipe asks of a loader.

    ``split`` None means grouped where the set has such a split (its public one leaks), else official. ``size_px``
    and ``channels`` None leave the images as they lie on disk.
    """

    name: str
    seed: int
    split: Choice | None = None
    size_px: tuple[int, int] | None = None
    channels: int | None = None
    step: Step | None = None


@dataclass(frozen=True, slots=True)
class Division:
    """Which items each split holds, and what drew the line between them."""

    kind: SplitKind
    parts: Mapping[Split, tuple[int, ...]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DataSet:
    """Labelled images in splits. A set whose owners keep the test labels to themselves has no ``test``.

    ``size_px`` is the size of every image ``(h, w)``, or None where each keeps its own.
    """

    name: str
    task: Task
    classes: tuple[str, ...]
    channels: int
    size_px: tuple[int, int] | None
    split_kind: SplitKind
    splits: Mapping[Split, tuple[str, ...]]
    source: Source = field(repr=False)
    items: Mapping[str, int] = field(repr=False)
    ignore: int = IGNORE

    @property
    def measured(self) -> Split:
        """The split that results are told of."""
        return "test" if "test" in self.splits else "val"

    def size(self, key: str) -> tuple[int, int]:
        """Say an image's height and width as :meth:`image` gives it."""
        return self.size_px or self.source.size(self.items[key])

    def image(self, key: str) -> Image:
        """Read an image: ``(h, w, c)``."""
        image = self.source.image(self.items[key])
        return image if self.size_px is None else resized_image(image, self.size_px)

    def mask(self, key: str) -> Mask:
        """Read the classes of an image's pixels: ``(h, w)``, 255 where nothing is known."""
        self._expect("segmentation")
        item = self.items[key]
        mask, size = self.source.truth(item), self.source.size(item)
        # Both are resized each for itself: only here can it be seen that they do not belong together.
        if mask.shape != size:
            raise InputError(_unlike(self.source.origin(item), size, mask))
        return mask if self.size_px is None else resized_mask(mask, self.size_px)

    def label(self, key: str) -> int:
        """Read the class of a whole image."""
        self._expect("classification")
        return int(self.source.truth(self.items[key]))

    def origin(self, key: str) -> str:
        """Name the file behind a key: for messages and pictures, never for a strategy."""
        return self.source.origin(self.items[key])

    def truth(self, key: str) -> NDArray[np.uint8]:
        """Read what a model is to say of an image: ``(h, w)`` classes of its pixels, or ``()`` of the whole."""
        return self.mask(key) if self.task == "segmentation" else np.array(self.label(key), dtype=np.uint8)

    def read(self, splits: Sequence[Split], *, step: Step) -> Iterator[tuple[Split, int, Image, NDArray[np.uint8]]]:
        """Read the images of some splits, each with its place there and its truth.

        What cannot be used is passed over and refused at the end, all of it at once.
        """
        places = [(split, place, key) for split in splits for place, key in enumerate(self.splits[split])]
        problems: list[str] = []
        for done, (split, place, key) in enumerate(places, start=1):
            try:
                image, truth = self.image(key), self.truth(key)
            except InputError as error:
                problems += error.problems
            else:
                yield split, place, image, truth
            step(done, len(places))
        if problems:
            refuse(problems, where=f"data set {self.name}")

    def check_classes(self, truth: NDArray[np.uint8]) -> None:
        """Refuse a training split, ``truth`` its classes, that never shows a class: nothing can learn it, and its value would be no result."""
        # Image by image: a count of all at once would take eight times their size.
        counts = sum((np.bincount(np.ravel(one), minlength=256) for one in truth), np.zeros(256, dtype=np.int64))
        absent = [name for value, name in enumerate(self.classes) if not counts[value]]
        if absent:
            shown = absent[:_MOST_FAULTS] + (
                [f"{len(absent) - _MOST_FAULTS} more"] if len(absent) > _MOST_FAULTS else []
            )
            raise InputError(
                f"data set {self.name}: {', '.join(shown)} in no {'mask' if self.task == 'segmentation' else 'label'} of the training split; leave the class out of its list, or give images that show it"
            )

    def _expect(self, task: Task) -> None:
        if task != self.task:
            raise StateError(f"data set {self.name}: a set for {self.task}; {task} was asked of it")


def assemble(
    request: Request,
    source: Source,
    *,
    task: Task,
    classes: Sequence[str],
    channels: int,
    contents: Sequence[str],
    division: Division,
) -> DataSet:
    """Make a data set of a layout's items.

    Args:
        request: What was asked for.
        source: Where the pixels lie.
        task: What the truth of an item is.
        classes: Their names, by value.
        channels: Of every image.
        contents: A hash of each item's content.
        division: Items by split; checked by :mod:`splits`.
    """
    keys = _keys(contents)
    return DataSet(
        name=request.name,
        task=task,
        classes=tuple(classes),
        channels=channels,
        size_px=request.size_px,
        split_kind=division.kind,
        splits=MappingProxyType(
            {
                split: _shuffled([keys[item] for item in division.parts[split]], seed=(request.seed, number))
                for number, split in enumerate(SPLITS)
                if split in division.parts
            }
        ),
        source=source,
        items=MappingProxyType({key: item for item, key in enumerate(keys)}),
    )


def refuse(problems: Sequence[str], *, where: Path | str) -> NoReturn:
    """Refuse with all faults, one a line."""
    shown = list(problems[:_MOST_FAULTS])
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more like these")
    count = "1 fault" if len(problems) == 1 else f"{len(problems)} faults"
    raise InputError("\n".join([*shown, f"{where}: {count}"]), problems=tuple(problems))


def _unlike(origin: str, size: tuple[int, ...], mask: NDArray[np.uint8]) -> str:
    return f"{origin}: {size[0]} x {size[1]} pixels, its mask is {mask.shape[0]} x {mask.shape[1]}"


def _keys(contents: Sequence[str]) -> list[str]:
    """Turn content hashes into keys; the same content a second time gets a key of its own."""
    seen: Counter[str] = Counter()
    keys = []
    for content in contents:
        keys.append(sha256_hex(f"{content}/{seen[content]}".encode())[:_KEY_DIGITS])
        seen[content] += 1
    return keys


def _shuffled(keys: list[str], *, seed: tuple[int, int]) -> tuple[str, ...]:
    # Sorted first: the order of the files leaves no trace.
    ordered = sorted(keys)
    return tuple(ordered[place] for place in np.random.default_rng(seed).permutation(len(ordered)))
