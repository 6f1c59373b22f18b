"""What a study stands on whose labels are clicks: superpixels (D5), or single pixels (D6).

The model sees full images; the loss covers what was clicked. What a label costs is known once it is given, so a batch is
filled to a budget and not to a count. There is no vector of a pixel: such units are chosen by lot or by score.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

import numpy as np
from msgspec.structs import replace

from shared.console import Step
from shared.errors import StateError
from shared.geometry import Image
from trainer.acquisition.balance import balanced
from trainer.experiment.clicks import Filled, fill
from trainer.experiment.cutting import ClickRule, Pixels, Superpixels
from trainer.experiment.datasets.dataset import DataSet, Split
from trainer.experiment.learner import Embedder, Fitted, Ground
from trainer.experiment.pictures import Pictures, padded, padded_masks
from trainer.experiment.pixelpick import NOTHING, PIXELPICK, Among, PixelRule, dealt, pick, pixel_mask
from trainer.experiment.recipe import CEILING, Arm, Recipe
from trainer.experiment.region_units import RegionUnits
from trainer.experiment.segmenting import FittedSegmentation, SegmentationLearner
from trainer.experiment.superpixels import seeds
from trainer.experiment.units import Whole
from trainer.labelling.masks import IGNORE, Mask
from trainer.selection.numbers import Floats, Ints

_EVERYWHERE: Final = Among(1.0)


class Answered(Protocol):
    """Says what a person answered for some units."""

    def masks(self, units: Sequence[int]) -> dict[int, Mask]:
        """Return the answers by the place of each image that was asked about; 255 elsewhere."""


@dataclass(frozen=True, slots=True, eq=False)
class ClickLearner(SegmentationLearner):
    """Learns full images from what was answered; without ``answered``, from their full masks."""

    answered: Answered | None = None

    def samples(self, units: Sequence[int]) -> tuple[Image, Mask]:
        part = self.pictures.parts["train"]
        if self.answered is None:
            images, masks = part.images, part.masks
        else:
            answers = self.answered.masks(units)
            images, masks = part.images[list(answers)], np.stack(list(answers.values()))
        return padded(images, grain=self.grain), padded_masks(masks, grain=self.grain)


def click_ground(
    recipe: Recipe, rule: ClickRule, data: DataSet, *, measured: Split, watched: tuple[Split, ...], step: Step
) -> Ground:
    """Read what a study needs into memory, and cut superpixels where they are what is clicked."""
    pictures = Pictures.read(data, Whole(), ("train", measured, *watched), step=step)
    clicked: ClickedRegions | ClickedPixels
    match rule:
        case Superpixels():
            clicked = ClickedRegions.cut(pictures, rule, recipe, classes=len(data.classes))
        case Pixels():
            clicked = ClickedPixels(pictures)

    @cache
    def learner(arm: str) -> ClickLearner:
        return ClickLearner(
            pictures,
            replace(recipe.unit, full=True),
            recipe.learning_of(arm),
            recipe.acquisition_of(arm),
            classes=len(data.classes),
            channels=data.channels,
            watched=pictures.parts[watched[0]] if watched else None,
            # Whoever labels everything draws masks.
            answered=None if arm == CEILING else clicked,
        )

    def embedder(arm: str) -> Embedder:
        raise StateError(f"arm {arm}: what is clicked has no embedding; nothing was learned")

    return Ground(
        data.classes,
        len(clicked),
        measured,
        clicked.pixels,
        learner,
        embedder,
        truth=pictures.truth,
        clicked=clicked,
    )


@dataclass(frozen=True, slots=True, eq=False)
class ClickedRegions:
    """Superpixels of the training split, and what each costs by its truth."""

    pictures: Pictures
    rule: Superpixels
    recipe: Recipe
    regions: RegionUnits
    costs: Ints
    classes: int

    @classmethod
    def cut(cls, pictures: Pictures, rule: Superpixels, recipe: Recipe, *, classes: int) -> "ClickedRegions":
        """Cut every image of the training split."""
        part = pictures.parts["train"]
        regions = RegionUnits(
            (str(place), seeds(image, side_px=rule.side_px)) for place, image in enumerate(part.images)
        )
        costs = [regions.costs(str(place), mask, rule.cost) for place, mask in enumerate(part.masks)]
        return cls(pictures, rule, recipe, regions, np.concatenate(costs), classes)

    def __len__(self) -> int:
        return len(self.regions)

    def pixels(self, units: Sequence[int]) -> int:
        return int(self.regions.sizes[np.asarray(units, dtype=np.intp)].sum())

    def masks(self, units: Sequence[int]) -> dict[int, Mask]:
        truth = self.pictures.parts["train"].masks
        return {
            int(key): self.regions.supervision(key, truth[int(key)], mine, rule=self.rule.cost, classes=self.classes)
            for key, mine in self.regions.by_image(units).items()
        }

    def start(self, clicks: int, rng: np.random.Generator) -> Filled:
        return fill(np.zeros(len(self)), self.costs, budget_clicks=clicks, rng=rng)

    def choose(
        self, arm: Arm, fitted: Fitted, known: Ints, clicks: int, *, rng: np.random.Generator, step: Step
    ) -> Filled:
        rest = np.setdiff1d(np.arange(len(self)), known)
        if arm.strategy == "random":
            scores = np.zeros(len(rest))
        else:
            scores, predicted = self._scored(fitted, step)
            scores = scores[rest]
            if self.recipe.acquisition_of(arm.name).class_balanced:
                scores = balanced(scores, predicted[rest], classes=self.classes)
        costs = self.costs[rest]
        if not len(rest) or clicks < costs.min():
            return Filled(rest[:0], 0, (f"{clicks} clicks left and {len(rest)} regions: none was chosen",))
        filled = fill(scores, costs, budget_clicks=clicks, rng=rng)
        return Filled(rest[filled.indices], filled.clicks, filled.notes)

    def _scored(self, fitted: Fitted, step: Step) -> tuple[Floats, Ints]:
        """Return every region's mean uncertainty and the class that most of it is predicted to have."""
        scores, predicted = np.empty(len(self)), np.empty(len(self), dtype=np.intp)
        for place, uncertainty, seen in _maps(fitted, step):
            mine = self.regions.of_image(str(place))
            scores[mine.start : mine.stop] = self.regions.scores(str(place), uncertainty)
            predicted[mine.start : mine.stop] = self.regions.predicted(str(place), seen, classes=self.classes)
        return scores, predicted


@dataclass(frozen=True, slots=True, eq=False)
class ClickedPixels:
    """Single pixels, as many of each image as of any other; one whose truth is 255 is never asked about."""

    pictures: Pictures

    def __len__(self) -> int:
        return int(np.prod(self.pictures.parts["train"].masks.shape))

    def pixels(self, units: Sequence[int]) -> int:
        return len(units)

    def masks(self, units: Sequence[int]) -> dict[int, Mask]:
        truth = self.pictures.parts["train"].masks
        return {place: pixel_mask(truth[place], mine) for place, mine in self._by_image(np.asarray(units)).items()}

    def start(self, clicks: int, rng: np.random.Generator) -> Filled:
        shape = self.pictures.parts["train"].masks.shape[1:]
        flat = np.zeros(shape)
        return self._picked(((place, flat) for place in range(self._count)), _EVERYWHERE, {}, clicks, rng)

    def choose(
        self, arm: Arm, fitted: Fitted, known: Ints, clicks: int, *, rng: np.random.Generator, step: Step
    ) -> Filled:
        before = self._by_image(known)
        if arm.strategy == "random":
            flat = np.zeros(self.pictures.parts["train"].masks.shape[1:])
            return self._picked(((place, flat) for place in range(self._count)), _EVERYWHERE, before, clicks, rng)
        rule = PIXELPICK if arm.pixels is None else arm.pixels.rule
        maps = ((place, uncertainty) for place, uncertainty, _ in _maps(fitted, step))
        return self._picked(maps, rule, before, clicks, rng)

    @property
    def _count(self) -> int:
        return len(self.pictures.parts["train"].masks)

    def _by_image(self, units: Ints) -> dict[int, Ints]:
        """Return row and column of some units by the place of their image."""
        _, height, width = self.pictures.parts["train"].masks.shape
        places, inside = np.divmod(np.sort(units), height * width)
        at = np.stack(np.divmod(inside, width), axis=1)
        found, first = np.unique(places, return_index=True)
        return dict(zip(found.tolist(), np.split(at, first[1:]), strict=True))

    def _picked(
        self,
        maps: Iterator[tuple[int, Floats]],
        rule: PixelRule,
        before: dict[int, Ints],
        clicks: int,
        rng: np.random.Generator,
    ) -> Filled:
        """Pick the same number in each image; what is left of the clicks goes to images by lot."""
        truth = self.pictures.parts["train"].masks
        _, height, width = truth.shape
        known_pixels = np.array([len(before.get(place, NOTHING)) for place in range(self._count)])
        counts = dealt(clicks, (truth != IGNORE).sum(axis=(1, 2)) - known_pixels, rng=rng)
        chosen = [np.empty(0, dtype=np.intp)]
        for place, uncertainty in maps:
            if counts[place]:
                known = before.get(place, NOTHING)
                allowed = truth[place] != IGNORE
                at = pick(rule, uncertainty, int(counts[place]), known=known, allowed=allowed, rng=rng)
                chosen.append(place * height * width + at[:, 0] * width + at[:, 1])
        spent = int(counts.sum())
        notes = (
            () if spent == clicks else (f"{clicks} clicks and {spent} pixels of known truth are left: all were taken",)
        )
        return Filled(np.concatenate(chosen), spent, notes)


def _maps(fitted: Fitted, step: Step) -> Iterator[tuple[int, Floats, Mask]]:
    if not isinstance(fitted, FittedSegmentation):
        raise StateError(f"{type(fitted).__name__}: no map of an image to choose in; nothing was chosen")
    return fitted.maps(step=step)
