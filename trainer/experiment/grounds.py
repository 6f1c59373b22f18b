"""What a study stands on, by the task of its data set."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from shared.console import Step
from shared.errors import ConfigError
from shared.identity import sha256_hex
from trainer.acquisition.build import build_asked_source
from trainer.experiment.classification_ground import classification_ground
from trainer.experiment.classifying import check_asked
from trainer.experiment.click_ground import click_ground
from trainer.experiment.cutting import Pixels, Superpixels, UnitTable
from trainer.experiment.datasets.dataset import DataSet, Request, Split
from trainer.experiment.datasets.open import open_dataset
from trainer.experiment.datasets.repeated import repeated_set
from trainer.experiment.embedding import SegmentationEmbedder, checkpoints_in
from trainer.experiment.learner import Ground
from trainer.experiment.pictures import Pictures, padded
from trainer.experiment.recipe import Recipe, StudyLearning
from trainer.experiment.segmenting import SegmentationLearner
from trainer.learning.classification.nets import build_classifier
from trainer.learning.classification.settings import ClassifierTable
from trainer.learning.model import build_model
from trainer.learning.networks import build_encoder
from trainer.representation.space import SpaceModule, train_space

#: The encoders halve five times.
_GRAIN: Final = 32
#: Whether a classifier can be built is no question of its images' size.
_SOME_PX: Final = (32, 32)


def open_data(recipe: Recipe, directory: Path | None, *, work: Path, step: Step | None = None) -> DataSet:
    """Open the recipe's set; its keys are the same for every seed, so that a unit's number is too."""
    table = recipe.data
    request = Request(
        name=table.name, seed=0, split=table.split, size_px=table.size_px, channels=table.channels, step=step
    )
    data = open_dataset(directory, request, work=work)
    return repeated_set(data) if table.repeated else data


def measured_split(recipe: Recipe, data: DataSet) -> Split:
    """Name the split that results are told of, or refuse one that the set does not have."""
    wanted = recipe.data.measured or data.measured
    if wanted not in data.splits:
        raise ConfigError(f'data.measured is "{wanted}"; {data.name} has {", ".join(data.splits)}')
    return wanted


def data_hash(data: DataSet, ground: Ground) -> str:
    """Hash which images lie in which split, and their truth."""
    lines = [f"{split} {' '.join(sorted(keys))}" for split, keys in sorted(data.splits.items())]
    return sha256_hex("\n".join([data.name, *data.classes, *lines, ground.truth]).encode())


def lay_ground(recipe: Recipe, data: DataSet, *, step: Step) -> Ground:
    """Read what a study needs of a data set into memory; what cannot be made is refused before, for the ceiling may take hours."""
    _check_tables(recipe, data)
    refuse_models(recipe, data)
    if data.task == "segmentation":
        return _segmentation(recipe, data, step=step)
    return classification_ground(
        data,
        measured=measured_split(recipe, data),
        classifier=recipe.classifier_of,
        acquisition=recipe.acquisition_of,
        space=recipe.space_of,
        step=step,
    )


def _check_tables(recipe: Recipe, data: DataSet) -> None:
    """Refuse settings of the model that a study of this task does not have: nobody would heed them."""
    if data.task == "classification" and recipe.unit != UnitTable():
        raise ConfigError(f"unit: {data.name} has one class an image, which is its unit; leave the table away")
    unheeded = "classifier" if data.task == "segmentation" else "learning"
    plain = ClassifierTable() if data.task == "segmentation" else StudyLearning()
    named = [arm.name for arm in recipe.arms if getattr(arm, unheeded) is not None]
    if getattr(recipe, unheeded) != plain or named:
        where = f" of arm {named[0]}" if named else ""
        raise ConfigError(
            f"{unheeded}{where}: {data.name} is a set for {data.task}, which has no such model; leave the table away"
        )


def _watched(recipe: Recipe, data: DataSet, *, measured: Split) -> tuple[Split, ...]:
    """Name the split that may end a training early: never the one that results are told of."""
    if not any(recipe.learning_of(arm).stop_patience for arm in recipe.learners):
        return ()
    if measured == "val" or "val" not in data.splits:
        raise ConfigError(
            f"learning.stop_patience: {data.name} has {', '.join(data.splits)} and results are told of {measured}; a training may end early by a val split of its own only, leave it away"
        )
    return ("val",)


def refuse_models(recipe: Recipe, data: DataSet) -> None:
    """Refuse networks and measures that cannot be made, those of all arms together."""
    problems: dict[str, None] = {}
    for name in recipe.learners if recipe.ceiling else recipe.learners[1:]:
        own = recipe.named(name)
        try:
            _make_model(recipe, data, name)
        except ConfigError as error:
            apart = own.learning or own.classifier or own.acquisition
            problems |= dict.fromkeys(f"{name}: {problem}" if apart else problem for problem in error.problems)
        space = recipe.space_of(name)
        if space.source in {"simclr", "untrained"} and not recipe.unit.clicked:
            try:
                build_encoder(space.encoder, channels=data.channels)
            except ConfigError as error:
                problems |= dict.fromkeys(f"{name}: {problem}" if own.space else problem for problem in error.problems)
    if problems:
        raise ConfigError("\n".join(problems), problems=tuple(problems))


def _make_model(recipe: Recipe, data: DataSet, name: str) -> None:
    """Make what an arm trains and what it asks, and keep nothing."""
    acquisition, classes = recipe.acquisition_of(name), len(data.classes)
    if data.task == "classification":
        settings = recipe.classifier_of(name)
        check_asked(acquisition, settings, classes=classes)
        build_classifier(settings.network, classes=classes, channels=data.channels, size_px=_SOME_PX, seed=0)
        return
    model = build_model(
        recipe.learning_of(name),
        classes=classes,
        channels=data.channels,
        seed=0,
        heads=acquisition.heads,
        beta=acquisition.beta,
    )
    # Any model says whether the measure can be asked; as many as the committee has members.
    build_asked_source(acquisition, [model] * acquisition.networks, weights=acquisition.class_weights, seed=0)


def _segmentation(recipe: Recipe, data: DataSet, *, step: Step) -> Ground:
    split = measured_split(recipe, data)
    rule = recipe.unit.rule
    watched = _watched(recipe, data, measured=split)
    if isinstance(rule, Superpixels | Pixels):
        return click_ground(recipe, rule, data, measured=split, watched=watched, step=step)
    pictures = Pictures.read(data, rule, ("train", split, *watched), step=step)

    begin = _Beginning(pictures, recipe)

    def from_space(arm: str) -> bool:
        return recipe.learning_of(arm).encoder_from == "space"

    @cache
    def learner(arm: str) -> SegmentationLearner:
        return SegmentationLearner(
            pictures,
            recipe.unit,
            recipe.learning_of(arm),
            recipe.acquisition_of(arm),
            classes=len(data.classes),
            channels=data.channels,
            begin=begin.space if from_space(arm) else None,
            watched=pictures.parts[watched[0]] if watched else None,
        )

    def embedder(arm: str) -> SegmentationEmbedder:
        return SegmentationEmbedder(learner(arm), recipe.space_of(arm))

    return Ground(
        classes=data.classes,
        count=len(pictures.units),
        measured=split,
        pixels=pictures.units.pixels,
        learner=learner,
        embedder=embedder,
        truth=pictures.truth,
        begin=begin.learn if any(map(from_space, recipe.learners)) else None,
    )


@dataclass(slots=True)
class _Beginning:
    """What encoders begin with, learned once and from one seed for all arms and seeds: rivals share their start."""

    pictures: Pictures
    recipe: Recipe
    _space: SpaceModule | None = field(default=None, init=False)

    def learn(self, step: Step, keep: Path | None) -> None:
        """Learn it if it is not there, or go on with what is kept."""
        if self._space is not None:
            return
        pictures, settings = self.pictures, self.recipe.space
        patches = padded(pictures.crops(range(len(pictures.units)), margin_px=0), grain=_GRAIN)
        self._space, _ = train_space(
            patches,
            settings,
            seed=0,
            step=step,
            threads_used=self.recipe.learning.threads,
            checkpoints=checkpoints_in(keep, settings),
        )

    def space(self) -> SpaceModule:
        """Return it."""
        self.learn(lambda _done, _total: None, None)
        assert self._space is not None
        return self._space
