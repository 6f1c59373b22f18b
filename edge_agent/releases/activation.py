"""The activation of releases on one line of a node, as a table.

IDLE → FETCHING → TRIAL → PROBATION → IDLE, or FAILED with the reason, from where the next rollout leads out.
``advance`` takes a state and an event and returns the next state and what is to be done; it does nothing by
itself. What the table does not hold is refused by name and changes nothing. The rollout number only goes up,
a hash that failed its trial or probation is never tried again, and ``current`` changes only after probation.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, TypeAlias

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
from shared.messages import LineReport

#: How often a release may be tried when the node itself goes down on the way.
MAX_TRIES: Final = 2
#: How many bad hashes a line remembers.
MAX_BAD: Final = 64


class State(Enum):
    """Where a line's activation stands."""

    IDLE = "idle"
    FETCHING = "fetching"
    TRIAL = "trial"
    PROBATION = "probation"
    FAILED = "failed"


class Effect(Enum):
    """What is to be done after a transition was written down."""

    #: Bring ``wanted`` and answer with Arrived or FetchFailed.
    FETCH = "fetch"
    #: Run ``wanted`` in a child process and answer with TrialPassed or TrialFailed.
    TRY = "try"
    #: Tell inspection to run ``wanted``.
    SWAP = "swap"
    #: Tell inspection to run ``current``.
    RUN = "run"
    #: Start inspection anew, without ``wanted``.
    RESTORE = "restore"


@dataclass(frozen=True, slots=True)
class Held:
    """A release as a node knows it."""

    release: str
    number: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Activation:
    """One line's state; everything that must survive a restart."""

    line: str
    state: State = State.IDLE
    rollout: int = 0
    min_release: int = 0
    current: Held | None = None
    previous: Held | None = None
    wanted: Held | None = None
    tries: int = 0
    bad: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    swapped_at: float | None = None


Next: TypeAlias = tuple[Activation, Effect | None]


def advance(activation: Activation, event: Event) -> Next:
    """Take one step; what is not in the table raises ``StateError`` and leaves the state alone."""
    handler = TABLE.get((activation.state, type(event)))
    if handler is None:
        raise StateError(
            f'line "{activation.line}": {type(event).__name__} does not fit state {activation.state.name}; the state is unchanged'
        )
    return handler(activation, event)


def line_report(activation: Activation) -> LineReport:
    """Say what the fleet may know of a line; a release counts as running once it passed probation."""
    current, previous = activation.current, activation.previous
    return LineReport(
        line=activation.line,
        state=activation.state.value,
        release=current.release if current else None,
        manifest_sha256=current.sha256 if current else None,
        previous=previous.release if previous else None,
        rollout=activation.rollout,
        reason=activation.reason,
        swapped_at=activation.swapped_at,
    )


def _start(activation: Activation, event: Started) -> Next:
    current, previous = activation.current, activation.previous
    if previous is not None and previous.sha256 not in event.sound:
        previous = None
    lost = current if current is not None and current.sha256 not in event.sound else None
    now = replace(activation, previous=previous, swapped_at=None)
    if lost is not None:
        now = _fall_back(now, f"release {lost.release} no longer verifies on this node")
    if activation.wanted is not None:
        if activation.tries >= MAX_TRIES:
            return _fail(now, f"the node went down {activation.tries} times while it tried {activation.wanted.release}")
        return replace(now, state=State.FETCHING), Effect.FETCH
    if lost is not None:
        return replace(now, state=State.FETCHING, wanted=lost, tries=0), Effect.FETCH
    return now, None


def _order(activation: Activation, event: Ordered) -> Next:
    rollout = event.rollout
    if rollout.rollout <= activation.rollout:
        raise StateError(
            f'line "{activation.line}": rollout {rollout.rollout} is not above {activation.rollout}; it is ignored'
        )
    wanted = Held(release=rollout.release, number=rollout.number, sha256=rollout.manifest_sha256)
    floor = max(activation.min_release, rollout.min_release)
    now = replace(activation, rollout=rollout.rollout, min_release=floor, wanted=wanted, tries=0, reason="")
    if wanted.number < floor:
        return _fail(now, f"release {wanted.release} is below the floor of number {floor}", bad=False)
    if wanted.sha256 in now.bad:
        return _fail(now, f"release {wanted.release} failed on this node before: {now.bad[wanted.sha256]}", bad=False)
    if now.current is not None and now.current.sha256 == wanted.sha256:
        return replace(now, state=State.IDLE, wanted=None), None
    return replace(now, state=State.FETCHING), Effect.FETCH


def _try(activation: Activation, event: Arrived) -> Next:
    _wanted(activation, event.sha256)
    return replace(activation, state=State.TRIAL, tries=activation.tries + 1, reason=""), Effect.TRY


def _fetch_failed(activation: Activation, event: FetchFailed) -> Next:
    _wanted(activation, event.sha256)
    # What came was not the release: its own hash is not to blame.
    return _fail(activation, event.reason, bad=False)


def _probation(activation: Activation, event: TrialPassed) -> Next:
    _wanted(activation, event.sha256)
    return replace(activation, state=State.PROBATION), Effect.SWAP


def _trial_failed(activation: Activation, event: TrialFailed) -> Next:
    _wanted(activation, event.sha256)
    return _fail(activation, event.reason, bad=event.blamed)


def _swapped(activation: Activation, event: Swapped) -> Next:
    on_probation = activation.wanted if activation.state is State.PROBATION else None
    if event.sha256 not in {held.sha256 for held in (on_probation, activation.current) if held is not None}:
        raise _stale(activation, event.sha256)
    return replace(activation, swapped_at=event.at), None


def _swap_refused(activation: Activation, event: SwapRefused) -> Next:
    _wanted(activation, event.sha256)
    failed, _ = _fail(activation, event.reason, bad=event.blamed)
    # Nothing runs when current took the place of one that was refused meanwhile.
    idle = failed.current is not None and failed.swapped_at is None
    return failed, Effect.RUN if idle else None


def _current_refused(activation: Activation, event: CurrentRefused) -> Next:
    if activation.current is None or activation.current.sha256 != event.sha256:
        raise _stale(activation, event.sha256)
    reason = f"inspection refused release {activation.current.release}: {event.reason}"
    if event.blamed:
        now = _fall_back(_mark(activation, event.sha256, event.reason), reason)
    else:
        # It passed probation here, and the previous one would be refused as well.
        now = replace(activation, swapped_at=None, reason=reason)
    if now.state is State.IDLE:
        now = replace(now, state=State.FAILED)
    # On probation it is wanted that inspection runs next.
    run = event.blamed and now.current is not None and now.state is not State.PROBATION
    return now, Effect.RUN if run else None


def _settle(activation: Activation, event: ProbationPassed) -> Next:
    wanted = _wanted(activation, event.sha256)
    previous = activation.current or activation.previous
    settled = replace(activation, state=State.IDLE, current=wanted, previous=previous, wanted=None, tries=0, reason="")
    return settled, None


def _probation_failed(activation: Activation, event: ProbationFailed) -> Next:
    _wanted(activation, event.sha256)
    return _fail(replace(activation, swapped_at=None), event.reason)[0], Effect.RESTORE


def _stop_underway(activation: Activation, _event: Stopping) -> Next:
    return replace(activation, state=State.FETCHING, tries=activation.tries - 1), None


def _stop(activation: Activation, _event: Stopping) -> Next:
    return activation, None


def _fail(activation: Activation, reason: str, *, bad: bool = True) -> Next:
    now = activation
    if bad and activation.wanted is not None:
        now = _mark(now, activation.wanted.sha256, reason)
    return replace(now, state=State.FAILED, wanted=None, tries=0, reason=reason), None


def _mark(activation: Activation, sha256: str, reason: str) -> Activation:
    kept = list(activation.bad.items())[-(MAX_BAD - 1) :]
    return replace(activation, bad=dict(kept) | {sha256: reason})


def _fall_back(activation: Activation, reason: str) -> Activation:
    previous = activation.previous
    fit = previous is not None and previous.number >= activation.min_release and previous.sha256 not in activation.bad
    return replace(activation, current=previous if fit else None, previous=None, swapped_at=None, reason=reason)


def _wanted(activation: Activation, sha256: str) -> Held:
    if activation.wanted is None or activation.wanted.sha256 != sha256:
        raise _stale(activation, sha256)
    return activation.wanted


def _stale(activation: Activation, sha256: str) -> StateError:
    return StateError(
        f'line "{activation.line}": manifest {sha256[:12]}… is not what state {activation.state.name} is about; the state is unchanged'
    )


Handler: TypeAlias = Callable[..., Next]

TABLE: Final[dict[tuple[State, type], Handler]] = {
    **{(state, Started): _start for state in State},
    **{(state, Ordered): _order for state in (State.IDLE, State.FAILED, State.FETCHING)},
    **{(state, Swapped): _swapped for state in State},
    **{(state, CurrentRefused): _current_refused for state in State},
    **{(state, Stopping): _stop for state in (State.IDLE, State.FAILED, State.FETCHING)},
    **{(state, Stopping): _stop_underway for state in (State.TRIAL, State.PROBATION)},
    (State.FETCHING, Arrived): _try,
    (State.FETCHING, FetchFailed): _fetch_failed,
    (State.TRIAL, TrialPassed): _probation,
    (State.TRIAL, TrialFailed): _trial_failed,
    (State.PROBATION, SwapRefused): _swap_refused,
    (State.PROBATION, ProbationPassed): _settle,
    (State.PROBATION, ProbationFailed): _probation_failed,
}
