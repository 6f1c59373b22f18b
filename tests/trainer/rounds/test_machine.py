"""The stage table, walked completely."""

import itertools

import pytest

from shared.errors import StateError
from shared.release import Override
from trainer.rounds.machine import (
    TABLE,
    AllLabelled,
    EnoughCollected,
    Fact,
    HandedOver,
    HeldBack,
    Overridden,
    Passed,
    Released,
    Round,
    SpaceTrained,
    Stage,
    Trained,
    advance,
    first_round,
    next_round,
)

FACTS: tuple[Fact, ...] = (
    SpaceTrained(space="ab12", tau=0.2, release="strip-0001", received=7),
    EnoughCollected(),
    HandedOver(train=14, reference=6, received=80),
    AllLabelled(),
    Trained(run="strip-r000"),
    Passed(miou=0.5),
    HeldBack(miou=0.1, reasons=("scratch fell",)),
    Released(release="strip-0002", received=95),
    Overridden(Override(reason="the new lamp", by="mara", at=9.0)),
)


@pytest.mark.parametrize(("stage", "fact"), list(itertools.product(Stage, FACTS)))
def test_every_fact_in_every_stage_moves_as_the_table_says_or_is_refused_by_name(stage: Stage, fact: Fact) -> None:
    before = Round(number=3, stage=stage, space="ab12", run="strip-r002", serving="strip-r001", passed=False)
    expected = TABLE.get((stage, type(fact)))

    if expected is None:
        with pytest.raises(StateError, match=f"round 3: {type(fact).__name__} does not belong to stage {stage}"):
            advance(before, fact)
        assert before == Round(
            number=3, stage=stage, space="ab12", run="strip-r002", serving="strip-r001", passed=False
        )
    else:
        assert advance(before, fact).stage is expected


@pytest.mark.parametrize("stage", [stage for stage in Stage if stage is not Stage.DONE])
def test_every_stage_has_a_way_on_that_ends_in_done(stage: Stage) -> None:
    reached = {stage}
    for _ in Stage:
        reached |= {after for (before, _), after in TABLE.items() if before in reached}

    assert Stage.DONE in reached


def walk(round_: Round, *facts: Fact) -> Round:
    for fact in facts:
        round_ = advance(round_, fact)
    return round_


def test_a_round_that_passes_serves_its_run() -> None:
    space, collected, handed, labelled, trained, passed, _, released, _ = FACTS

    done = walk(first_round(), space, collected, handed, labelled, trained, passed, released)

    assert (done.stage, done.run, done.serving, done.release) == (Stage.DONE, "strip-r000", "strip-r000", "strip-0002")
    assert (done.train, done.reference, done.received, done.miou, done.passed) == (14, 6, 95, 0.5, True)


def test_a_round_that_is_held_back_leaves_the_release_in_service_and_still_scores_the_pool() -> None:
    before = Round(
        number=1, stage=Stage.COLLECT, space="ab12", run="strip-r000", serving="strip-r000", release="strip-0002"
    )
    _, collected, handed, labelled, _, _, held, *_ = FACTS

    done = walk(before, collected, handed, labelled, Trained(run="strip-r001"), held)

    assert (done.stage, done.run, done.serving, done.release) == (Stage.DONE, "strip-r001", "strip-r000", "strip-0002")
    assert (done.passed, done.reasons) == (False, ("scratch fell",))


def test_a_run_released_over_the_gate_serves_and_stays_one_that_was_held_back() -> None:
    held = Round(number=1, stage=Stage.DONE, run="strip-r001", serving="strip-r000", passed=False, reasons=("fell",))
    *_, released, overridden = FACTS

    done = walk(held, overridden, released)

    assert (done.stage, done.serving, done.release) == (Stage.DONE, "strip-r001", "strip-0002")
    assert (done.passed, done.reasons, done.override) == (
        False,
        ("fell",),
        Override(reason="the new lamp", by="mara", at=9.0),
    )


@pytest.mark.parametrize(
    "round_",
    [
        Round(number=1, stage=Stage.DONE, run="b", serving="b", passed=True),
        Round(number=1, stage=Stage.DONE, run="b", serving="b", passed=False),
        Round(number=1, stage=Stage.DONE, run="b", serving="a"),
    ],
)
def test_a_run_that_is_not_held_back_cannot_be_overridden(round_: Round) -> None:
    with pytest.raises(StateError, match="round 1: its run is not held back; there is nothing to override"):
        advance(round_, FACTS[-1])


def test_the_next_round_keeps_the_line_and_forgets_the_round() -> None:
    done = Round(
        number=1,
        stage=Stage.DONE,
        space="ab12",
        tau=0.3,
        run="b",
        serving="a",
        release="strip-0002",
        received=9,
        train=5,
        reference=1,
        miou=0.4,
        passed=False,
        reasons=("x",),
        ece=0.2,
        notes=("y",),
        override=Override(reason="r", by="b", at=0.0),
    )

    begun = next_round(done)

    assert begun == Round(
        number=2, stage=Stage.COLLECT, space="ab12", tau=0.3, run="b", serving="a", release="strip-0002", received=9
    )


def test_no_round_begins_before_the_last_is_done() -> None:
    with pytest.raises(StateError, match="round 1: it is in stage train"):
        next_round(Round(number=1, stage=Stage.TRAIN))
