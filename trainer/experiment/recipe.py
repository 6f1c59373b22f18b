"""A recipe: one study of the papers' methods, as a TOML file.

Everything that changes a number stands in it, and its hash names it: results of another recipe are never mixed in.
The title, the rows it stands for and the seeds may change: they change no result that is there.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from shared.acquisition import AcquisitionTable
from shared.config import LearningTable, SelectionTable, SpaceTable
from shared.contradictions import selection_contradictions
from shared.errors import ConfigError
from shared.identity import sha256_hex
from shared.kinds import Count, Name, Share, Table
from shared.tables import Check, read_tables, refuse
from shared.ways import Committee, CommitteeMeasure, StrategyName
from trainer.experiment.contradictions import recipe_contradictions
from trainer.experiment.cutting import PixelTable, ScheduleTable, UnitTable
from trainer.experiment.datasets.dataset import Choice
from trainer.experiment.methods import IDS
from trainer.learning.classification.settings import ClassifierTable

#: The name of what is learned from all labels.
CEILING: Final = "ceiling"
#: The names that a study gives to files of its own.
RESERVED: Final = (CEILING, "random")
_PER_ROUND: Final = ("batch", "quota", "reference_share", "reference_share_first")


class DataTable(Table, frozen=True):
    """Which images: the set, its split, and the size and channels they are brought to."""

    name: str
    split: Choice | None = None
    #: What results are told of; the set's test split, or val where its owners keep the test labels.
    measured: Literal["test", "val"] | None = None
    size_px: tuple[Count, Count] | None = None
    channels: Literal[1, 3] | None = None
    #: A probe: as many copies of one training image come in as there are images.
    repeated: bool = False


class SpaceSource(SpaceTable, frozen=True):
    """Where embeddings come from: SimCLR, the same encoder untrained, the encoder of a model of the start set, or pixels."""

    source: Literal["simclr", "untrained", "task", "pixels"] = "simclr"


class StudyLearning(LearningTable, frozen=True):
    """The task model and how it is trained, each round from scratch."""

    warm_start: bool = False


class StudyAcquisition(AcquisitionTable, frozen=True):
    """How unsure a model is of a unit of a study, whose size is its own."""

    top_share: Share = 1 / 64
    cell_px: Count = 16
    #: One for each class, ``class-variance``'s.
    class_weights: tuple[float, ...] | None = None
    #: Of superpixels: one is worth more where few are predicted to have its class.
    class_balanced: bool = False

    def check(self) -> None:
        """Refuse a committee's measure without one, and a committee that nothing asks."""
        asks = self.measure in get_args(CommitteeMeasure)
        if asks and self.committee is None:
            raise ConfigError(
                f'acquisition.measure "{self.measure}" without acquisition.committee; known are {", ".join(get_args(Committee))}'
            )
        if not asks and self.committee is not None:
            raise ConfigError(
                f'acquisition.committee "{self.committee}" with measure "{self.measure}" of one model; leave the committee away'
            )
        if (self.measure == "class-variance") != (self.class_weights is not None):
            raise ConfigError(
                f'acquisition.measure "{self.measure}" with class_weights {self.class_weights}; class-variance needs them and only it'
            )


class Arm(SelectionTable, frozen=True, kw_only=True):
    """One way to choose, compared with the others; what it sets apart takes the place of the recipe's own."""

    name: Name
    #: What a study means must not change with the product's default.
    strategy: StrategyName = "kdpp"
    #: What is known beforehand to be better or worse: the lowest scores, or those of a judge that may see the truth.
    probe: Literal["inverse", "most-incorrect", "expert"] | None = None
    #: Where single pixels are labelled: how they are picked by score; PixelPick's rule when absent.
    pixels: PixelTable | None = None
    acquisition: StudyAcquisition | None = None
    learning: StudyLearning | None = None
    classifier: ClassifierTable | None = None
    space: SpaceSource | None = None


class Recipe(Table, frozen=True, kw_only=True):
    """One study."""

    title: str
    #: Rows of the methods table that it stands for; as a table, with the arms that speak for each, none for all.
    rows: tuple[str, ...] | dict[str, tuple[str, ...]] = ()
    data: DataTable
    unit: UnitTable = UnitTable()
    space: SpaceSource
    learning: StudyLearning = StudyLearning()
    classifier: ClassifierTable = ClassifierTable()
    acquisition: StudyAcquisition = StudyAcquisition()
    schedule: ScheduleTable
    arm: Annotated[tuple[Arm, ...], Meta(min_length=1, max_length=64)]
    #: How the start set, which all arms share, is drawn.
    start: Literal["random", "kdpp"] = "random"
    ceiling: bool = True
    #: The ceiling learns from much more; it may take longer than a round.
    ceiling_steps: Count | None = None
    seeds: tuple[Annotated[int, Meta(ge=0, lt=2**32)], ...] = (0, 1, 2)

    @property
    def arms(self) -> tuple[Arm, ...]:
        """All arms; random stands beside them whether it was named or not."""
        if any(arm.strategy == "random" for arm in self.arm):
            return self.arm
        return (Arm(name="random", strategy="random"), *self.arm)

    @property
    def learners(self) -> tuple[str, ...]:
        """Name all that learn: the ceiling, and every arm."""
        return (CEILING, *(arm.name for arm in self.arms))

    def speakers(self, row: str) -> tuple[str, ...]:
        """Name the arms that speak for a row."""
        chosen = self.rows.get(row, ()) if isinstance(self.rows, dict) else ()
        return chosen or tuple(arm.name for arm in self.arms)

    def named(self, name: str) -> Arm:
        """Return the arm of this name; the ceiling and the start set go by the recipe's own settings."""
        known = {arm.name: arm for arm in self.arms}
        return known.get(name, Arm(name=name))

    def acquisition_of(self, arm: str) -> StudyAcquisition:
        """Return what an arm measures uncertainty by."""
        return self.named(arm).acquisition or self.acquisition

    def learning_of(self, arm: str) -> StudyLearning:
        """Return how an arm's model is trained; the ceiling may take longer."""
        if arm == CEILING and self.ceiling_steps is not None:
            return msgspec.structs.replace(self.learning, steps=self.ceiling_steps)
        return self.named(arm).learning or self.learning

    def classifier_of(self, arm: str) -> ClassifierTable:
        """Return how an arm's classifier is trained."""
        return self.named(arm).classifier or self.classifier

    def space_of(self, arm: str) -> SpaceSource:
        """Return where an arm's embeddings come from."""
        return self.named(arm).space or self.space

    @property
    def hash(self) -> str:
        """The hash of all that changes a number."""
        plain = msgspec.to_builtins(msgspec.structs.replace(self, title="", rows=(), seeds=()))
        return sha256_hex(msgspec.json.encode(_without_later(plain), order="sorted"))


def load_recipe(path: Path) -> Recipe:
    """Read and check a recipe; every fault is told with its key, all of them at once."""
    recipe = read_tables(path, Recipe, checks=_CHECKS)
    problems: list[str] = []
    for name, check in _CHECKS.items():
        try:
            check(getattr(recipe, name))
        except ConfigError as error:
            problems += error.problems
    refuse(path, [*problems, *recipe_contradictions(recipe)])
    return recipe


def _check_arms(arms: tuple[Arm, ...]) -> None:
    problems: list[str] = []
    names = [arm.name for arm in arms]
    for index, arm in enumerate(arms):
        here = f'arm[{index}] "{arm.name}"'
        if arm.name in RESERVED and arm.strategy != arm.name:
            problems.append(f'{here}: strategy "{arm.strategy}"; the names {", ".join(RESERVED)} are the study\'s own')
        if names.count(arm.name) > 1 and names.index(arm.name) == index:
            problems.append(f"{here}: named {names.count(arm.name)} times")
        problems += [
            f"{here}: {field} is set; the schedule says how many units a round adds, leave it away"
            for field in _PER_ROUND
            if getattr(arm, field) != getattr(_PLAIN, field)
        ]
        problems += [f"{here}: {problem}" for problem in selection_contradictions(arm)]
        try:
            if arm.acquisition is not None:
                arm.acquisition.check()
            if arm.pixels is not None:
                _ = arm.pixels.rule
            if arm.learning is not None:
                _check_learning(arm.learning)
        except ConfigError as error:
            problems += [f"{here}: {problem}" for problem in error.problems]
    if problems:
        raise ConfigError("\n".join(problems), problems=tuple(problems))


def _check_learning(learning: StudyLearning) -> None:
    if learning.warm_start:
        raise ConfigError("learning.warm_start is true; a study learns from scratch each round, leave it away")


def _check_rows(rows: Iterable[str]) -> None:
    if unknown := [row for row in rows if row not in IDS]:
        raise ConfigError(f"rows: {', '.join(unknown)} not known; known are {', '.join(IDS)}")


def _without_later(value: Any) -> Any:
    """Leave away keys that came after results were there, where they stand at the default that those were made with."""
    if isinstance(value, list | tuple):
        return [_without_later(each) for each in value]
    if isinstance(value, dict):
        return {key: _without_later(each) for key, each in value.items() if _LATER.get(key, _ABSENT) != each}
    return value


_ABSENT: Final = object()
_LATER: Final[dict[str, object]] = {
    "judgements": 10,
    "stop_patience": 0,
    "encoder_from": "nothing",
    "answer": "class",
    "tolerance_px": 1.0,
    "probe": None,
    "pixels": None,
    "class_balanced": False,
    "repeated": False,
    "dropout": 0.0,
}
_PLAIN: Final = SelectionTable()
_CHECKS: Final[dict[str, Check]] = {
    "unit": lambda table: table.rule,
    "schedule": ScheduleTable.additions,
    "acquisition": StudyAcquisition.check,
    "learning": _check_learning,
    "arm": _check_arms,
    "rows": _check_rows,
}
