"""The stages of a line's rounds as a table: which fact moves a round on, and to where. Pure; a worker performs the work.

    space -> collect -> select -> label -> train -> gate -> release -> done
                                                    gate -> done, held back -> release, overridden

Round 0 begins with the space, every later one with collecting. A finished round stays ``done``; the next one begins
from what it leaves behind.
"""

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import Final

from shared.errors import StateError
from shared.release import Override
from trainer.release.bounds import ClassBounds


class Stage(StrEnum):
    """Where a round stands: the work that is to be done next."""

    SPACE = "space"
    COLLECT = "collect"
    SELECT = "select"
    LABEL = "label"
    TRAIN = "train"
    GATE = "gate"
    RELEASE = "release"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class SpaceTrained:
    """The line has an embedding space, and a release that carries it; ``received`` had come by then."""

    space: str
    tau: float
    release: str
    received: int


@dataclass(frozen=True, slots=True)
class EnoughCollected:
    """The pool is large enough, and enough has come since the newest release or selection."""


@dataclass(frozen=True, slots=True)
class HandedOver:
    """A batch was chosen; ``received`` is how many candidates had ever come by then."""

    train: int
    reference: int
    received: int
    #: Spearman's rank correlation of the nodes' scores with the re-scores; None where there were too few of either.
    rank_correlation: float | None = None


@dataclass(frozen=True, slots=True)
class AllLabelled:
    """Every task of the line came back."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A run is complete on disk."""

    run: str


@dataclass(frozen=True, slots=True)
class Passed:
    """The run may serve."""

    miou: float | None
    ece: float | None = None
    classes: dict[str, ClassBounds] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The run fell below the gate's rules; the release in service stays."""

    miou: float | None
    reasons: tuple[str, ...]
    ece: float | None = None
    classes: dict[str, ClassBounds] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Overridden:
    """A person releases a run that was held back."""

    override: Override


@dataclass(frozen=True, slots=True)
class Released:
    """The run's release is published; ``received`` had come by then."""

    release: str
    received: int


Fact = SpaceTrained | EnoughCollected | HandedOver | AllLabelled | Trained | Passed | HeldBack | Overridden | Released


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """A line's round: its number, its stage, and what it has come to know."""

    number: int
    stage: Stage
    #: The embedding space of the line, and the temperature it was released with.
    space: str | None = None
    tau: float | None = None
    #: The newest run of any round: what re-scores the pool and where training starts.
    run: str | None = None
    #: The run of the newest release: what the gate compares with.
    serving: str | None = None
    #: The newest release of any round.
    release: str | None = None
    #: How many candidates had ever come at the newest release or selection: what comes later was chosen knowing more.
    received: int = 0
    train: int = 0
    reference: int = 0
    rank_correlation: float | None = None
    miou: float | None = None
    passed: bool | None = None
    reasons: tuple[str, ...] = ()
    #: What the gate found besides: the calibration error, what each class has, and what could not be judged.
    ece: float | None = None
    classes: dict[str, ClassBounds] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    #: Who wants a run released that was held back, and why.
    override: Override | None = None


TABLE: Final[dict[tuple[Stage, type[Fact]], Stage]] = {
    (Stage.SPACE, SpaceTrained): Stage.COLLECT,
    (Stage.COLLECT, EnoughCollected): Stage.SELECT,
    (Stage.SELECT, HandedOver): Stage.LABEL,
    (Stage.LABEL, AllLabelled): Stage.TRAIN,
    (Stage.TRAIN, Trained): Stage.GATE,
    (Stage.GATE, Passed): Stage.RELEASE,
    (Stage.GATE, HeldBack): Stage.DONE,
    (Stage.DONE, Overridden): Stage.RELEASE,
    (Stage.RELEASE, Released): Stage.DONE,
}


def first_round() -> Round:
    """Begin a line."""
    return Round(number=0, stage=Stage.SPACE)


def next_round(done: Round) -> Round:
    """Begin the round after a finished one."""
    if done.stage is not Stage.DONE:
        raise StateError(f"round {done.number}: it is in stage {done.stage}; the next one begins when it is done")
    return replace(
        done,
        number=done.number + 1,
        stage=Stage.COLLECT,
        train=0,
        reference=0,
        rank_correlation=None,
        miou=None,
        passed=None,
        reasons=(),
        ece=None,
        classes={},
        notes=(),
        override=None,
    )


def upcoming(round_: Round) -> Round:
    """Return the round whose selection comes next: this one, or the one after it when its batch is chosen."""
    if round_.stage in {Stage.SPACE, Stage.COLLECT, Stage.SELECT}:
        return round_
    return next_round(replace(round_, stage=Stage.DONE))


def advance(round_: Round, fact: Fact) -> Round:
    """Return the round after a fact; a fact that does not belong to its stage is refused and changes nothing."""
    stage = TABLE.get((round_.stage, type(fact)))
    if stage is None:
        raise StateError(
            f"round {round_.number}: {type(fact).__name__} does not belong to stage {round_.stage}; the round stays there"
        )
    if isinstance(fact, Overridden) and (round_.passed is not False or round_.serving == round_.run):
        raise StateError(f"round {round_.number}: its run is not held back; there is nothing to override")
    learned: dict[str, object] = {field.name: getattr(fact, field.name) for field in fields(fact)}
    if isinstance(fact, Passed | HeldBack):
        learned["passed"] = isinstance(fact, Passed)
    if isinstance(fact, Released):
        learned["serving"] = round_.run
    return replace(round_, stage=stage, **learned)  # type: ignore[arg-type]  # facts are named after the round's fields
