"""What a study of a classification set stands on."""

from collections.abc import Callable
from functools import cache

from shared.console import Step
from trainer.experiment.albums import Albums
from trainer.experiment.classifying import ClassifierLearner
from trainer.experiment.datasets.dataset import DataSet, Split
from trainer.experiment.image_embedding import ClassifierEmbedder
from trainer.experiment.learner import Ground
from trainer.experiment.recipe import SpaceSource, StudyAcquisition
from trainer.learning.classification.settings import ClassifierTable


def classification_ground(
    data: DataSet,
    *,
    measured: Split,
    classifier: Callable[[str], ClassifierTable],
    acquisition: Callable[[str], StudyAcquisition],
    space: Callable[[str], SpaceSource],
    step: Step,
) -> Ground:
    """Read what a study needs into memory.

    Args:
        data: The set.
        measured: The split that results are told of.
        classifier: Says how an arm's model is trained.
        acquisition: Says what an arm measures uncertainty by; there is nothing to aggregate.
        space: Says where an arm's embeddings come from.
        step: Told the progress of reading.
    """
    albums = Albums.read(data, ("train", measured), step=step)
    height, width = albums.train.images.shape[1:3]

    @cache
    def learner(arm: str) -> ClassifierLearner:
        return ClassifierLearner(albums, classifier(arm), acquisition(arm))

    def embedder(arm: str) -> ClassifierEmbedder:
        return ClassifierEmbedder(learner(arm), space(arm))

    return Ground(
        classes=data.classes,
        count=len(albums.train.images),
        measured=measured,
        pixels=lambda units: len(units) * height * width,
        learner=learner,
        embedder=embedder,
        truth=albums.truth,
    )
