"""The activation table, walked completely."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest

from edge_agent.releases.activation import MAX_BAD, TABLE, Activation, Effect, Held, State, advance, line_report
from edge_agent.releases.events import (
    Arrived,
    CurrentRefused,
    Event,
    FetchFailed,
    Ordered,
    ProbationFailed,
    ProbationPassed,
    Started,
    Stopping,
    Swapped,
    SwapRefused,
    TrialFailed,
    TrialPassed,
)
from shared.errors import StateError
from shared.release import Rollout

OLD = Held("strip-0001", 1, "a" * 64)
NEW = Held("strip-0002", 2, "b" * 64)
THIRD = Held("strip-0003", 3, "c" * 64)
Order = Callable[..., Rollout]


def rollout(held: Held, number: int, *, min_release: int = 0) -> Rollout:
    return Rollout(
        line="strip",
        rollout=number,
        release=held.release,
        number=held.number,
        manifest_sha256=held.sha256,
        min_release=min_release,
    )


def at(state: State) -> Activation:
    """Make a line that runs the old release and, where the state says so, wants the new one."""
    underway = state in {State.FETCHING, State.TRIAL, State.PROBATION}
    tries = 1 if state in {State.TRIAL, State.PROBATION} else 0
    return Activation(
        line="strip", state=state, rollout=5, current=OLD, previous=None, wanted=NEW if underway else None, tries=tries
    )


EVENTS: tuple[Event, ...] = (
    Started(frozenset({OLD.sha256})),
    Stopping(),
    Ordered(rollout(NEW, 6)),
    Arrived(NEW.sha256),
    FetchFailed(NEW.sha256, "away"),
    TrialPassed(NEW.sha256),
    TrialFailed(NEW.sha256, "wrong"),
    Swapped(OLD.sha256, 7.0),
    SwapRefused(NEW.sha256, "no memory"),
    CurrentRefused(OLD.sha256, "no memory"),
    ProbationPassed(NEW.sha256),
    ProbationFailed(NEW.sha256, "died"),
)
#: What may happen where, and where it leads: written down a second time, by hand.
LEGAL: dict[tuple[State, type], tuple[State, Effect | None]] = {
    (State.IDLE, Started): (State.IDLE, None),
    (State.IDLE, Stopping): (State.IDLE, None),
    (State.IDLE, Ordered): (State.FETCHING, Effect.FETCH),
    (State.IDLE, Swapped): (State.IDLE, None),
    (State.IDLE, CurrentRefused): (State.FAILED, None),
    (State.FETCHING, Started): (State.FETCHING, Effect.FETCH),
    (State.FETCHING, Stopping): (State.FETCHING, None),
    (State.FETCHING, Ordered): (State.FETCHING, Effect.FETCH),
    (State.FETCHING, Arrived): (State.TRIAL, Effect.TRY),
    (State.FETCHING, FetchFailed): (State.FAILED, None),
    (State.FETCHING, Swapped): (State.FETCHING, None),
    (State.FETCHING, CurrentRefused): (State.FETCHING, None),
    (State.TRIAL, Started): (State.FETCHING, Effect.FETCH),
    (State.TRIAL, Stopping): (State.FETCHING, None),
    (State.TRIAL, TrialPassed): (State.PROBATION, Effect.SWAP),
    (State.TRIAL, TrialFailed): (State.FAILED, None),
    (State.TRIAL, Swapped): (State.TRIAL, None),
    (State.TRIAL, CurrentRefused): (State.TRIAL, None),
    (State.PROBATION, Started): (State.FETCHING, Effect.FETCH),
    (State.PROBATION, Stopping): (State.FETCHING, None),
    (State.PROBATION, Swapped): (State.PROBATION, None),
    (State.PROBATION, SwapRefused): (State.FAILED, Effect.RUN),
    (State.PROBATION, CurrentRefused): (State.PROBATION, None),
    (State.PROBATION, ProbationPassed): (State.IDLE, None),
    (State.PROBATION, ProbationFailed): (State.FAILED, Effect.RESTORE),
    (State.FAILED, Started): (State.FAILED, None),
    (State.FAILED, Stopping): (State.FAILED, None),
    (State.FAILED, Ordered): (State.FETCHING, Effect.FETCH),
    (State.FAILED, Swapped): (State.FAILED, None),
    (State.FAILED, CurrentRefused): (State.FAILED, None),
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, EVENTS)), ids=str)
def test_every_event_in_every_state_is_legal_or_refused_by_name(state: State, event: Event) -> None:
    before = at(state)
    copy = replace(before)

    if (state, type(event)) in LEGAL:
        after, effect = advance(before, event)
        assert (after.state, effect) == LEGAL[state, type(event)]
    else:
        with pytest.raises(StateError, match=f"{type(event).__name__} does not fit state {state.name}"):
            advance(before, event)
    assert before == copy


def test_the_table_holds_nothing_beyond_what_is_written_down_here() -> None:
    assert set(TABLE) == set(LEGAL)
    assert {type(event) for event in EVENTS} == {kind for _, kind in TABLE}


def test_current_changes_after_probation_and_not_before() -> None:
    line = Activation(line="strip", current=OLD)
    steps: list[Event] = [
        Ordered(rollout(NEW, 1)),
        Arrived(NEW.sha256),
        TrialPassed(NEW.sha256),
        Swapped(NEW.sha256, 9.0),
    ]
    for event in steps:
        line, _ = advance(line, event)
        assert line.current == OLD
        assert line_report(line).manifest_sha256 == OLD.sha256

    line, _ = advance(line, ProbationPassed(NEW.sha256))

    assert (line.current, line.previous, line.wanted, line.swapped_at) == (NEW, OLD, None, 9.0)
    assert line_report(line).manifest_sha256 == NEW.sha256


def test_a_rollback_is_a_newer_rollout_of_an_older_release() -> None:
    line = Activation(line="strip", rollout=5, current=NEW, previous=OLD)

    line, effect = advance(line, Ordered(rollout(OLD, 6)))
    for event in (Arrived(OLD.sha256), TrialPassed(OLD.sha256), ProbationPassed(OLD.sha256)):
        line, _ = advance(line, event)

    assert effect is Effect.FETCH
    assert (line.current, line.previous, line.rollout) == (OLD, NEW, 6)


@pytest.mark.parametrize("number", [4, 5])
def test_a_rollout_that_is_not_newer_is_refused(number: int) -> None:
    line = at(State.IDLE)

    with pytest.raises(StateError, match=f"rollout {number} is not above 5"):
        advance(line, Ordered(rollout(NEW, number)))
    assert line == at(State.IDLE)


def test_the_floor_of_releases_only_rises() -> None:
    line, _ = advance(Activation(line="strip", current=THIRD), Ordered(rollout(THIRD, 1, min_release=2)))

    line, effect = advance(line, Ordered(rollout(OLD, 2)))

    assert effect is None
    assert (line.state, line.current, line.rollout) == (State.FAILED, THIRD, 2)
    assert "below the floor of number 2" in line.reason


def test_a_hash_that_failed_is_never_tried_again() -> None:
    line, _ = advance(at(State.TRIAL), TrialFailed(NEW.sha256, "scores 0.3 apart"))

    line, effect = advance(line, Ordered(rollout(NEW, 6)))

    assert effect is None
    assert line.state is State.FAILED
    assert "failed on this node before: scores 0.3 apart" in line.reason


def test_a_node_that_cannot_try_does_not_blame_the_release() -> None:
    line, _ = advance(at(State.TRIAL), TrialFailed(NEW.sha256, "onnxruntime is not installed", blamed=False))

    assert line.state is State.FAILED
    assert line.bad == {}


def test_asking_for_what_runs_only_counts_the_rollout_up() -> None:
    line, effect = advance(at(State.FAILED), Ordered(rollout(OLD, 6)))

    assert effect is None
    assert (line.state, line.current, line.rollout, line.reason) == (State.IDLE, OLD, 6, "")


def test_a_release_that_takes_the_node_down_twice_is_bad() -> None:
    line = at(State.FETCHING)
    started = Started(frozenset({OLD.sha256}))

    for _ in range(2):
        line, _ = advance(line, Arrived(NEW.sha256))
        line, effect = advance(line, started)

    assert effect is None
    assert (line.state, line.current, line.wanted) == (State.FAILED, OLD, None)
    assert "went down 2 times" in line.bad[NEW.sha256]


def test_an_operators_stop_does_not_count_against_a_release() -> None:
    line = at(State.FETCHING)

    for _ in range(5):
        line, _ = advance(line, Arrived(NEW.sha256))
        line, _ = advance(line, Stopping())
        line, effect = advance(line, Started(frozenset({OLD.sha256})))

    assert (line.state, effect, line.bad) == (State.FETCHING, Effect.FETCH, {})


def test_a_damaged_current_gives_way_to_the_previous_and_is_fetched_again() -> None:
    line = Activation(line="strip", current=NEW, previous=OLD)

    line, effect = advance(line, Started(frozenset({OLD.sha256})))

    assert (line.state, line.current, line.wanted, effect) == (State.FETCHING, OLD, NEW, Effect.FETCH)
    assert "strip-0002 no longer verifies" in line.reason


def test_with_nothing_sound_the_node_runs_without_a_release() -> None:
    line, _ = advance(Activation(line="strip", current=NEW, previous=OLD), Started(frozenset()))

    assert line.current is None
    assert line_report(line).release is None


def test_a_fall_back_respects_the_floor() -> None:
    line = Activation(line="strip", current=NEW, previous=OLD, min_release=2)

    line, _ = advance(line, CurrentRefused(NEW.sha256, "no memory"))

    assert line.current is None


def test_a_refused_current_falls_back_and_runs_the_previous() -> None:
    line, effect = advance(Activation(line="strip", current=NEW, previous=OLD), CurrentRefused(NEW.sha256, "no memory"))

    assert (line.current, line.state, effect) == (OLD, State.FAILED, Effect.RUN)
    assert NEW.sha256 in line.bad


def test_a_node_that_cannot_run_any_release_does_not_blame_the_wanted_one() -> None:
    line, effect = advance(
        replace(at(State.PROBATION), swapped_at=3.0), SwapRefused(NEW.sha256, "cuda did not come up", blamed=False)
    )

    assert (line.state, line.current, line.wanted, effect) == (State.FAILED, OLD, None, None)
    assert (line.bad, line.reason) == ({}, "cuda did not come up")


def test_a_node_that_cannot_run_any_release_keeps_its_current_one() -> None:
    before = Activation(line="strip", current=NEW, previous=OLD)

    line, effect = advance(before, CurrentRefused(NEW.sha256, "cuda did not come up", blamed=False))

    assert (line.state, line.current, line.previous, effect) == (State.FAILED, NEW, OLD, None)
    assert line.bad == {}
    assert "cuda did not come up" in line.reason


def test_a_current_refused_on_probation_does_not_displace_the_wanted() -> None:
    before = replace(at(State.PROBATION), current=THIRD, previous=OLD)

    line, effect = advance(before, CurrentRefused(THIRD.sha256, "no memory"))

    assert (line.state, line.current, line.wanted, effect) == (State.PROBATION, OLD, NEW, None)
    line, effect = advance(line, SwapRefused(NEW.sha256, "no memory"))
    assert (line.state, line.current, effect) == (State.FAILED, OLD, Effect.RUN)


@pytest.mark.parametrize(
    ("state", "event"),
    [
        (State.FETCHING, Arrived(THIRD.sha256)),
        (State.FETCHING, FetchFailed(THIRD.sha256, "away")),
        (State.TRIAL, TrialPassed(THIRD.sha256)),
        (State.TRIAL, TrialFailed(THIRD.sha256, "late")),
        (State.PROBATION, ProbationPassed(THIRD.sha256)),
        (State.PROBATION, Swapped(THIRD.sha256, 1.0)),
        (State.IDLE, Swapped(NEW.sha256, 1.0)),
        (State.IDLE, CurrentRefused(NEW.sha256, "late")),
    ],
    ids=str,
)
def test_news_about_another_release_changes_nothing(state: State, event: Event) -> None:
    line = at(state)

    with pytest.raises(StateError, match="is not what state"):
        advance(line, event)
    assert line == at(state)


def test_the_memory_of_bad_hashes_is_bounded() -> None:
    line = Activation(line="strip")

    for number in range(2 * MAX_BAD):
        held = Held(f"strip-{number:04d}", number, f"{number:064x}")
        line, _ = advance(line, Ordered(rollout(held, number + 1)))
        line, _ = advance(line, Arrived(held.sha256))
        line, _ = advance(line, TrialFailed(held.sha256, "wrong"))

    assert len(line.bad) == MAX_BAD
    assert f"{2 * MAX_BAD - 1:064x}" in line.bad
