"""Learning to classify, for a study: units are whole images, the value is accuracy."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

import numpy as np
import torch
from torch import Tensor

from shared.console import Step
from shared.errors import ConfigError, StateError
from shared.geometry import Image
from shared.ways import CommitteeMeasure, Measure
from trainer.experiment.albums import Albums
from trainer.experiment.datasets.dataset import Split
from trainer.experiment.draws import member_seeds
from trainer.experiment.learner import Labelled, Measured, Stop, Stopped, part_of
from trainer.experiment.opinions import disagreement, of_dropout, of_ensemble
from trainer.experiment.recipe import StudyAcquisition
from trainer.learning.classification.loop import train_classifier
from trainer.learning.classification.measures import uncertainty
from trainer.learning.classification.nets import Classifier, build_classifier
from trainer.learning.classification.predicting import logits_of
from trainer.learning.classification.settings import ClassifierTable
from trainer.learning.metrics import confusion
from trainer.selection.numbers import Floats, Ints

_MEASURES: Final[dict[str, Measure]] = {name: name for name in get_args(Measure)}
_OF_COMMITTEES: Final[dict[str, CommitteeMeasure]] = {name: name for name in get_args(CommitteeMeasure)}


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierLearner:
    """Trains on labelled images from scratch.

    ``asked`` says how unsure one model, or a committee, is of an image; there is nothing to aggregate.
    """

    albums: Albums
    settings: ClassifierTable
    asked: StudyAcquisition

    def fit(
        self, labelled: Labelled, *, seed: int, step: Step, stop: Stop | None = None, keep: Path | None = None
    ) -> "FittedClassifier":
        """Train one model, or as many as the ensemble has members, each from weights of its own."""
        del keep  # a classifier of a study is trained in seconds
        train = self.albums.train
        places = self.albums.places(labelled.units)
        members = self.asked.networks
        models = []
        for member, own in enumerate(member_seeds(seed, members)):
            model = self.untrained(own)
            report = train_classifier(
                model,
                train.images[places],
                train.labels[places],
                self.settings,
                seed=own,
                step=part_of(step, number=member, parts=members),
                stop=stop,
            )
            if not report.finished:
                raise Stopped
            models.append(model)
        return FittedClassifier(self, models, seed)

    def untrained(self, seed: int) -> Classifier:
        """Build the network with its first weights."""
        _, height, width, channels = self.albums.train.images.shape
        return build_classifier(
            self.settings.network,
            classes=self.albums.classes,
            channels=channels,
            size_px=(height, width),
            seed=seed,
            dropout=self.settings.dropout,
        )


@dataclass(frozen=True, slots=True, eq=False)
class FittedClassifier:
    """What was learned in one round."""

    learner: ClassifierLearner
    #: One, or an ensemble's members.
    models: Sequence[Classifier]
    seed: int

    @property
    def model(self) -> Classifier:
        """The one model, or the first of the ensemble."""
        return self.models[0]

    def scores(self, units: Sequence[int], *, step: Step) -> Floats:
        learner, asked = self.learner, self.learner.asked
        images, places = learner.albums.train.images, learner.albums.places(units)
        used = learner.settings.threads
        match asked.committee:
            case None:
                logits = logits_of(self.model, images, places, threads_used=used, step=step)
                return uncertainty(logits, one_model_measure(asked), temperature=asked.temperature)
            case "ensemble":
                members: Iterable[Tensor] = of_ensemble(self.models, images, places, threads_used=used, step=step)
            case _:
                members = of_dropout(
                    self.model, asked.members, images, places, seed=self.seed, threads_used=used, step=step
                )
        return disagreement(
            members, committee_measure(asked), classes=learner.albums.classes, weights=asked.class_weights
        )

    def mistakes(self, units: Sequence[int], *, step: Step) -> Floats:
        """Return 1 for an image that is told wrong, 0 for another: of those told wrong a ranking takes some by lot (Chen, section 3.2.1)."""
        train, places = self.learner.albums.train, self.learner.albums.places(units)
        told = self._told(train.images, places, step).argmax(dim=1).numpy()
        wrong: Floats = (told != train.labels[places]).astype(np.float64)
        return wrong

    def measure(self, split: Split, *, step: Step) -> Measured:
        """Measure the accuracy on a split, and the share of each class that is told right."""
        albums = self.learner.albums
        if split == "train" or split not in albums.parts:
            raise StateError(f"measure: split {split} is not measured in this study; nothing was measured")
        part = albums.parts[split]
        every = np.arange(len(part.images))
        predicted = self._told(part.images, every, step).argmax(dim=1).to(torch.uint8).numpy()
        counts = confusion(part.labels, predicted, classes=albums.classes)
        per_class = tuple(
            float(hits / there) if there else None
            for hits, there in zip(np.diagonal(counts), counts.sum(axis=1), strict=True)
        )
        return Measured(float(np.diagonal(counts).sum() / counts.sum()), per_class)

    def _told(self, images: Image, places: Ints, step: Step) -> Tensor:
        """Return ``(m, classes)``: the model's probabilities, or the mean of the ensemble's."""
        used = self.learner.settings.threads
        return torch.stack(of_ensemble(self.models, images, places, threads_used=used, step=step)).mean(dim=0)


def check_asked(asked: StudyAcquisition, settings: ClassifierTable, *, classes: int) -> None:
    """Refuse what classifiers cannot be asked."""
    if asked.class_weights is not None and len(asked.class_weights) != classes:
        raise ConfigError(
            f"acquisition.class_weights: {len(asked.class_weights)} numbers for {classes} classes; expected one for each"
        )
    if asked.committee == "heads":
        raise ConfigError(
            'acquisition.committee "heads" of a classifier, which has one; known are ensemble and mc-dropout'
        )
    if asked.committee == "mc-dropout" and settings.dropout == 0:
        raise ConfigError(
            'acquisition.committee "mc-dropout" and classifier.dropout 0: every member would say the same; set classifier.dropout'
        )
    if asked.epsilon:
        raise ConfigError(
            f"acquisition.epsilon is {asked.epsilon}; a classifier is asked without a step of its input, leave it away"
        )


def one_model_measure(asked: StudyAcquisition) -> Measure:
    """Return the measure of one classifier."""
    if asked.measure not in _MEASURES:
        raise ConfigError(f'acquisition.measure "{asked.measure}" of one model; known are {", ".join(_MEASURES)}')
    return _MEASURES[asked.measure]


def committee_measure(asked: StudyAcquisition) -> CommitteeMeasure:
    """Return the measure of several classifiers."""
    if asked.measure not in _OF_COMMITTEES:
        raise ConfigError(f'acquisition.measure "{asked.measure}" of several; known are {", ".join(_OF_COMMITTEES)}')
    return _OF_COMMITTEES[asked.measure]
