"""The embeddings of a classification study's images: SimCLR, the same encoder untrained, a classifier's penultimate features, or pixels.

They stay fixed over the rounds. Whatever they are, their mean over the training split is taken away, so that an
image's embedding does not depend on which others it was asked with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.console import Step
from shared.geometry import Image
from trainer.experiment.classifying import ClassifierLearner
from trainer.experiment.embedding import checkpoints_in
from trainer.experiment.learner import Labelled
from trainer.experiment.pixel_space import pixel_rows
from trainer.experiment.recipe import SpaceSource
from trainer.learning.classification.axes import unit_rows
from trainer.learning.classification.predicting import features_of
from trainer.representation.sources import untrained_source
from trainer.representation.space import embed, train_space
from trainer.selection.numbers import Vectors


@dataclass(frozen=True, slots=True, eq=False)
class ClassifierEmbedder:
    """Embeds images; a classifier whose features are taken learns from the start set and no other label."""

    learner: ClassifierLearner
    space: SpaceSource

    @property
    def key(self) -> tuple[object, ...]:
        if self.space.source == "task":
            return self.space.decisive(), self.learner.settings, self.learner.asked
        return self.space.decisive(), self.learner.settings.threads

    def embed(
        self, units: Sequence[int], *, start: tuple[int, ...], seed: int, step: Step, keep: Path | None = None
    ) -> Vectors:
        images, places = self.learner.albums.train.images, self.learner.albums.places(units)
        return self._every(images, start, seed, step, keep)[places]

    def _every(self, images: Image, start: tuple[int, ...], seed: int, step: Step, keep: Path | None) -> Vectors:
        match self.space.source:
            case "pixels":
                return pixel_rows(images)
            case "simclr":
                used, kept = self.learner.settings.threads, checkpoints_in(keep, self.space)
                space, _ = train_space(images, self.space, seed=seed, step=step, threads_used=used, checkpoints=kept)
                return embed(space, images)
            case "untrained":
                return untrained_source(self.space, images, seed=seed).embed(images)
            case "task":
                return self._penultimate(images, start, seed, step)

    def _penultimate(self, images: Image, start: tuple[int, ...], seed: int, step: Step) -> Vectors:
        model = self.learner.fit(Labelled(start, 0), seed=seed, step=step).model
        used = self.learner.settings.threads
        features = features_of(model, images, np.arange(len(images)), threads_used=used, step=step)
        return unit_rows((features - features.double().mean(dim=0).float()).numpy())
