"""Learning to segment, for a study: one network or an ensemble, on crops of units or on full images.

What an arm sets apart (training, measure, committee) is its recipe's; the loop, the measures and the committees are
the product's own.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from shared.console import Step
from shared.errors import ConfigError, StateError
from shared.geometry import Image
from trainer.acquisition.build import build_asked_source
from trainer.acquisition.scorer import PixelSource
from trainer.experiment.cutting import UnitTable
from trainer.experiment.datasets.dataset import Split
from trainer.experiment.draws import member_seeds
from trainer.experiment.learner import Labelled, Measured, Stop, Stopped, part_of
from trainer.experiment.pictures import Part, Pictures, padded, padded_masks
from trainer.experiment.probes import incorrectness
from trainer.experiment.recipe import StudyAcquisition, StudyLearning
from trainer.experiment.unit_scores import aggregate
from trainer.labelling.masks import Mask
from trainer.learning.checkpoints import Checkpoints
from trainer.learning.compact import STRIDE
from trainer.learning.evaluate import predict
from trainer.learning.judging import Judging, judging
from trainer.learning.loop import train
from trainer.learning.metrics import confusion, iou, miou
from trainer.learning.model import TaskModel, at_once, best_device, build_model, threads
from trainer.learning.networks import compact_widths
from trainer.representation.sources import initialise_encoder
from trainer.representation.space import SpaceModule
from trainer.selection.numbers import Floats


@dataclass(frozen=True, slots=True, eq=False)
class SegmentationLearner:
    """Trains on labelled units from scratch."""

    pictures: Pictures
    unit: UnitTable
    learning: StudyLearning
    acquisition: StudyAcquisition
    classes: int
    channels: int
    #: Learns what every model's encoder begins with; None begins them from nothing.
    begin: Callable[[], SpaceModule] | None = None
    #: What ends a training early where the settings say so: images of a split that results are not told of.
    watched: Part | None = None

    def fit(
        self, labelled: Labelled, *, seed: int, step: Step, stop: Stop | None = None, keep: Path | None = None
    ) -> "FittedSegmentation":
        """Train one model, or as many as the ensemble has members, each from weights of its own."""
        every = self.learning.checkpoint_every
        images, masks = self.samples(labelled.units)
        judged = self._judging()
        members = self.acquisition.networks
        models = []
        for member, own in enumerate(member_seeds(seed, members)):
            model = self.untrained(own)
            report = train(
                model,
                images,
                masks,
                self.learning,
                checkpoints=None if keep is None or not every else Checkpoints(keep / f"{member}", every=every),
                classes=self.classes,
                seed=own,
                step=part_of(step, number=member, parts=members),
                stop=stop,
                judging=judged,
            )
            if not report.finished:
                raise Stopped
            models.append(model.eval())
        return FittedSegmentation(self, models, seed)

    def _judging(self) -> Judging | None:
        """Judge a training on its way only where that may end it."""
        if not self.learning.stop_patience:
            return None
        if self.watched is None:
            raise ConfigError("learning.stop_patience: nothing to judge by in this study; leave it away")
        images, masks = self.watched.images, self.watched.masks
        return judging(
            self.learning,
            padded(images, grain=self.grain),
            padded_masks(masks, grain=self.grain),
            classes=self.classes,
        )

    def untrained(self, seed: int) -> TaskModel:
        """Build the network with its first weights."""
        asked = self.acquisition
        model = build_model(
            self.learning,
            classes=self.classes,
            channels=self.channels,
            seed=seed,
            heads=asked.heads,
            beta=asked.beta,
        )
        if self.begin is not None:
            initialise_encoder(model, self.begin())
        return model

    @property
    def grain(self) -> int:
        """What the sides of an image must be multiples of."""
        widths = compact_widths(self.learning.encoder)
        return 32 if widths is None else STRIDE * 2 ** (len(widths) - 1)

    def views(self, units: Sequence[int]) -> Iterator[tuple[list[list[int]], Image]]:
        """Walk what the model sees of some units: a minibatch of images, and the units that lie in each."""
        if self.unit.full:
            grouped: dict[int, list[int]] = {}
            for unit in units:
                grouped.setdefault(self.pictures.image_of[unit], []).append(unit)
            places = list(grouped)
            count = at_once(*self.pictures.parts["train"].images.shape[1:3])
            for start in range(0, len(places), count):
                some = places[start : start + count]
                images = self.pictures.parts["train"].images[some]
                yield [grouped[place] for place in some], padded(images, grain=self.grain)
        else:
            count = at_once(*(side + 2 * self.unit.context_px for side in self.pictures.units.unit_px))
            for start in range(0, len(units), count):
                mine = list(units[start : start + count])
                crops = self.pictures.crops(mine, margin_px=self.unit.context_px)
                yield [[unit] for unit in mine], padded(crops, grain=self.grain)

    def samples(self, units: Sequence[int]) -> tuple[Image, Mask]:
        """Return what is learned from: images or crops, and masks of 255 outside the labelled units."""
        if self.unit.full:
            images, masks = self.pictures.labelled_images(units)
        else:
            images, masks = self.pictures.labelled_crops(units, margin_px=self.unit.context_px)
        return padded(images, grain=self.grain), padded_masks(masks, grain=self.grain)


class FittedSegmentation:
    """What was learned in one round."""

    def __init__(self, learner: SegmentationLearner, models: Sequence[TaskModel], seed: int) -> None:
        self._learner = learner
        self._models = models
        self._seed = seed

    @property
    def model(self) -> TaskModel:
        """The one model, or the first of the ensemble."""
        return self._models[0]

    def scores(self, units: Sequence[int], *, step: Step) -> Floats:
        learner = self._learner
        source = self._source()
        assert isinstance(source, nn.Module)
        source.to(best_device()).eval()
        scores = np.empty(len(units))
        place = {unit: number for number, unit in enumerate(units)}
        done = 0
        with threads(learner.learning.threads), torch.inference_mode():
            for some, images in learner.views(units):
                pixels = torch.from_numpy(np.ascontiguousarray(images)).to(best_device())
                maps = source(pixels.permute(0, 3, 1, 2))[0][:, 0].double().cpu().numpy()
                for row, inside in zip(maps, some, strict=True):
                    for unit in inside:
                        scores[place[unit]] = self._score(source, row, unit)
                        done += 1
                step(done, len(units))
        return scores

    def mistakes(self, units: Sequence[int], *, step: Step) -> Floats:
        """Return one minus the mIoU of each unit."""
        learner = self._learner
        part = learner.pictures.parts["train"]
        wrong = np.empty(len(units))
        place = {unit: number for number, unit in enumerate(units)}
        with threads(learner.learning.threads):
            for some, images in learner.views(units):
                for row, inside in zip(self.predicted(images), some, strict=True):
                    for unit in inside:
                        truth = learner.pictures.units[unit].box.of(part.masks[learner.pictures.image_of[unit]])
                        wrong[place[unit]] = incorrectness([(truth, self._inside(row, unit))], classes=learner.classes)[
                            0
                        ]
                step(place[some[-1][-1]] + 1, len(units))
        return wrong

    def maps(self, *, step: Step) -> Iterator[tuple[int, Floats, Mask]]:
        """Walk the full images of the training split: an image's place, each pixel's uncertainty, its predicted class."""
        learner = self._learner
        images = learner.pictures.parts["train"].images
        height, width = images.shape[1:3]
        source = self._source()
        assert isinstance(source, nn.Module)
        source.to(best_device()).eval()
        count = at_once(height, width)
        for start in range(0, len(images), count):
            some = padded(images[start : start + count], grain=learner.grain)
            with threads(learner.learning.threads), torch.inference_mode():
                pixels = torch.from_numpy(np.ascontiguousarray(some)).to(best_device())
                maps = source(pixels.permute(0, 3, 1, 2))[0][:, 0].double().cpu().numpy()
                seen = self.predicted(some)
            for place, (uncertainty, predicted) in enumerate(zip(maps, seen, strict=True), start=start):
                yield place, uncertainty[:height, :width] / source.most, predicted[:height, :width]
            step(min(start + count, len(images)), len(images))

    def measure(self, split: Split, *, step: Step) -> Measured:
        """Measure the mIoU on full images of a split; of an ensemble, by the mean of its members."""
        if split == "train" or split not in self._learner.pictures.parts:
            raise StateError(f"measure: split {split} is not measured in this study; nothing was measured")
        part, classes = self._learner.pictures.parts[split], self._learner.classes
        height, width = part.masks.shape[1:]
        counts = np.zeros((classes, classes), dtype=np.int64)
        count = at_once(height, width)
        with threads(self._learner.learning.threads):
            for start in range(0, len(part.images), count):
                images = padded(part.images[start : start + count], grain=self._learner.grain)
                seen = self.predicted(images)[:, :height, :width]
                counts += confusion(part.masks[start : start + count], seen, classes=classes)
                step(min(start + count, len(part.images)), len(part.images))
        per_class = [None if np.isnan(value) else float(value) for value in iou(counts)]
        return Measured(miou(counts), tuple(per_class))

    def predicted(self, images: Image) -> Mask:
        """Return the classes of the pixels of some images as the model sees them; of an ensemble, by the mean of its members."""
        if len(self._models) == 1:
            return predict(self.model, images)
        total = None
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(images)).to(best_device()).permute(0, 3, 1, 2)
            for model in self._models:
                own = torch.softmax(model(pixels), dim=1)
                total = own if total is None else total + own
        assert total is not None
        return total.argmax(dim=1).to(torch.uint8).cpu().numpy()

    def _source(self) -> PixelSource:
        asked = self._learner.acquisition
        return build_asked_source(asked, self._models, weights=asked.class_weights, seed=self._seed)

    def _inside(self, row: NDArray[Any], unit: int) -> NDArray[Any]:
        """Return the unit's part of what the model saw it in."""
        learner = self._learner
        box = learner.pictures.units[unit].box
        top, left = (box.top, box.left) if learner.unit.full else (learner.unit.context_px, learner.unit.context_px)
        return row[top : top + box.height, left : left + box.width]

    def _score(self, source: PixelSource, row: Floats, unit: int) -> float:
        learner, asked = self._learner, self._learner.acquisition
        units = learner.pictures.units
        largest = units.unit_px[0] * units.unit_px[1]
        return aggregate(
            self._inside(row, unit),
            asked.aggregation,
            most=source.most,
            largest=largest,
            cell_px=asked.cell_px,
            top_share=asked.top_share,
            threshold=source.threshold if asked.threshold is None else asked.threshold,
        )
