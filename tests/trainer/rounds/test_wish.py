"""A wish to release what the gate held back: on record at once, refused where there is nothing to override."""

from dataclasses import replace

import pytest

from shared.errors import InputError, StateError
from shared.release import Override
from trainer.pool.pool import Pool
from trainer.release.bounds import ClassBounds
from trainer.rounds.machine import Round, Stage, next_round
from trainer.rounds.wish import LONGEST, judged_rounds, open_wish, wish_override, write_round

HELD = Round(
    number=1,
    stage=Stage.DONE,
    space="ab12",
    run="strip-r001",
    serving="strip-r000",
    release="strip-0002",
    miou=0.4,
    passed=False,
    reasons=("fell",),
    classes={"scratch": ClassBounds(7, 0.3, 0.1, 0.5), "dent": ClassBounds(0, None)},
    notes=("too few",),
)


def rows(pool: Pool) -> list[object]:
    return list(pool.rounds("strip"))


def wish(pool: Pool, reason: str = "the new lamp", by: str = "mara") -> Round:
    return wish_override(pool, "strip", reason=reason, by=by, now=1234.5)


def test_a_wish_is_kept_with_the_round_that_was_held_back(pool: Pool) -> None:
    write_round(pool, "strip", HELD)

    wish(pool, reason=" the new lamp ")

    (kept,) = judged_rounds(pool, "strip")
    assert kept == replace(HELD, override=Override(reason="the new lamp", by="mara", at=1234.5))
    assert open_wish(pool, "strip") == kept


def test_a_wish_is_found_while_the_next_round_is_under_way(pool: Pool) -> None:
    write_round(pool, "strip", HELD)
    write_round(pool, "strip", next_round(HELD))

    wish(pool)

    open_ = open_wish(pool, "strip")
    assert open_ is not None
    assert (open_.number, open_.run) == (1, "strip-r001")
    assert pool.rounds("strip")[-1].stage == "collect"


def test_a_wish_is_found_when_the_round_after_it_was_held_back_as_well(pool: Pool) -> None:
    """It came while that round was judged, and the round after that has begun."""
    second = replace(HELD, number=2, run="strip-r002")
    write_round(pool, "strip", HELD)
    write_round(pool, "strip", replace(next_round(HELD), stage=Stage.GATE, run="strip-r002"))
    wish(pool)
    write_round(pool, "strip", second)
    write_round(pool, "strip", next_round(second))

    open_ = open_wish(pool, "strip")

    assert open_ is not None
    assert open_.number == 1


def test_a_wish_is_open_no_more_when_a_newer_run_serves(pool: Pool) -> None:
    write_round(pool, "strip", HELD)
    wish(pool)
    write_round(pool, "strip", replace(HELD, number=2, run="strip-r002", serving="strip-r002", passed=True, reasons=()))

    assert open_wish(pool, "strip") is None


def test_a_wish_that_was_heeded_is_open_no_more(pool: Pool) -> None:
    write_round(pool, "strip", HELD)
    wished = replace(HELD, override=Override(reason="r", by="b", at=0.0))

    write_round(pool, "strip", replace(wished, serving=wished.run))

    assert open_wish(pool, "strip") is None


@pytest.mark.parametrize(
    ("round_", "said"),
    [
        (replace(HELD, passed=True, serving="strip-r001"), "round 1: its run is not held back"),
        (replace(HELD, stage=Stage.RELEASE, passed=True), "Overridden does not belong to stage release"),
        (replace(HELD, override=Override(reason="r", by="jo", at=0.0)), "round 1: jo has overridden it already"),
        (replace(HELD, stage=Stage.TRAIN, passed=None), 'line "strip": no run was judged yet'),
    ],
)
def test_where_nothing_is_held_back_a_wish_is_refused_and_nothing_changed(pool: Pool, round_: Round, said: str) -> None:
    write_round(pool, "strip", round_)
    before = rows(pool)

    with pytest.raises(StateError, match=said):
        wish(pool)

    assert rows(pool) == before


@pytest.mark.parametrize(
    ("reason", "by", "said"),
    [
        ("", "mara", "a reason of 0 characters"),
        ("  ", "mara", "a reason of 2 characters"),
        ("x" * (LONGEST + 1), "mara", f"expected 1 to {LONGEST} printable ones"),
        ("two\nlines", "mara", "a reason of 9 characters"),
        ("\x1b[31m", "mara", "a reason of 5 characters"),
        ("because", "", "a name of 0 characters"),
    ],
)
def test_a_wish_without_plain_words_is_refused_and_nothing_changed(pool: Pool, reason: str, by: str, said: str) -> None:
    write_round(pool, "strip", HELD)
    before = rows(pool)

    with pytest.raises(InputError, match=said):
        wish(pool, reason=reason, by=by)

    assert rows(pool) == before
