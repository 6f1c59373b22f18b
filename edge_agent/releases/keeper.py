"""The keeper of a node's releases: it walks each line's table and has its effects done.

Every transition is on disk before its effect begins. The keeper knows no process and no network: what it
wants done goes out through ``Hands``, what happened comes in through its methods.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from edge_agent.handoff import Fetch, Report, Swap
from edge_agent.log import LOG
from edge_agent.releases.activation import Activation, Effect, Held, State, advance, line_report
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
from edge_agent.releases.probation import Passed, Probation
from edge_agent.releases.shelf import Shelf, check
from edge_agent.releases.store import ActivationStore
from shared.clock import Clock
from shared.errors import ReleaseError, StateError
from shared.messages import CameraState
from shared.release import Rollout


@dataclass(frozen=True, slots=True)
class Hands:
    """How the keeper acts; none of these may wait."""

    to_inspection: Callable[[Swap], None]
    to_courier: Callable[[Fetch | Report], None]
    #: Try the release that lies there and call ``tried`` with the answer, later.
    begin_trial: Callable[[str, Held, Path], None]
    restart_inspection: Callable[[], None]
    #: Told after every change of a line.
    changed: Callable[[Activation], None]


class Keeper:
    """All lines of one node."""

    def __init__(
        self,
        lines: Sequence[str],
        *,
        store: ActivationStore,
        shelf: Shelf,
        hands: Hands,
        clock: Clock,
        silence_s: float,
    ) -> None:
        self._store = store
        self._shelf = shelf
        self._hands = hands
        self._clock = clock
        self._silence_s = silence_s
        self._lines = {line: store.load(line) for line in lines}
        self._pending: dict[str, Rollout] = {}
        self._probations: dict[str, Probation] = {}
        self._restarting = False
        #: What happened but could not be written down, in order.
        self._unsaved: list[tuple[str, Event]] = []
        self._cannot_save = False

    @property
    def lines(self) -> Mapping[str, Activation]:
        """Where every line stands."""
        return self._lines

    def start(self) -> None:
        """Verify what the node has and go on where it stopped; comes before inspection starts."""
        for line, activation in list(self._lines.items()):
            sound = set()
            for held in (activation.current, activation.previous):
                if held is None:
                    continue
                try:
                    check(self._shelf.place(line, held.release), sha256=held.sha256, line=line)
                    sound.add(held.sha256)
                except ReleaseError as error:
                    LOG.error("%s", error)
            self._step(line, Started(frozenset(sound)))

    def inspection_started(self) -> None:
        """Tell a new inspection process what to run."""
        for activation in self._lines.values():
            on_probation = activation.state is State.PROBATION
            self._run(activation.line, activation.wanted if on_probation else activation.current)

    def courier_started(self) -> None:
        """Tell a new courier process what the fleet should know and what is still to be fetched."""
        self._report()
        for activation in self._lines.values():
            if activation.state is State.FETCHING and activation.wanted is not None:
                self._hands.to_courier(_fetch(activation.line, activation.wanted))

    def rollout_seen(self, rollout: Rollout) -> None:
        """Take a rollout document, now or as soon as the release under way has an outcome."""
        activation = self._lines.get(rollout.line)
        if activation is None or rollout.rollout <= activation.rollout:
            return
        if activation.state in {State.TRIAL, State.PROBATION}:
            self._pending[rollout.line] = rollout
            return
        self._step(rollout.line, Ordered(rollout))

    def fetched(self, line: str, release: str) -> None:
        """Look at what the courier brought."""
        wanted = self._wanted(line, release, State.FETCHING)
        if wanted is None:
            return
        if self._shelf.find(line, wanted) is None:
            self._step(line, FetchFailed(wanted.sha256, f"release {release}: what was fetched does not verify"))
        else:
            self._step(line, Arrived(wanted.sha256))

    def fetch_failed(self, line: str, release: str, reason: str) -> None:
        """Take the courier's word that a release cannot be had."""
        wanted = self._wanted(line, release, State.FETCHING)
        if wanted is not None:
            self._step(line, FetchFailed(wanted.sha256, reason))

    def tried(self, line: str, held: Held, reason: str | None, *, blamed: bool = True) -> None:
        """Take a trial's answer; ``reason`` says why it failed, ``blamed`` whether the release is at fault."""
        activation = self._lines[line]
        if activation.state is not State.TRIAL or activation.wanted != held:
            return
        if reason is not None:
            self._step(line, TrialFailed(held.sha256, reason, blamed))
            return
        try:
            self._shelf.install(line, held)
        except ReleaseError as error:
            self._step(line, TrialFailed(held.sha256, str(error), blamed=False))
            return
        self._step(line, TrialPassed(held.sha256))

    def swapped(self, line: str, release: str) -> None:
        """Note that inspection runs a release."""
        held = self._named(line, release)
        if held is None:
            return
        self._step(line, Swapped(held.sha256, self._clock.now()))
        probation = self._probations.get(line)
        if probation is not None and probation.sha256 == held.sha256:
            self._probations[line] = probation.swapped(self._clock.monotonic())

    def swap_refused(self, line: str, release: str, reason: str, *, blamed: bool) -> None:
        """Take inspection's refusal; ``blamed`` says whether the release is at fault."""
        held = self._named(line, release)
        if held is None:
            return
        if held == self._lines[line].wanted:
            self._step(line, SwapRefused(held.sha256, reason, blamed))
        else:
            self._step(line, CurrentRefused(held.sha256, reason, blamed))

    def counters(self, cameras: Sequence[CameraState]) -> None:
        """Let the releases on probation see inspection's counters."""
        now = self._clock.monotonic()
        self._probations = {line: probation.heard(cameras, now) for line, probation in self._probations.items()}

    def inspection_finished(self) -> None:
        """Note that no frame will come any more."""
        self._probations = {line: probation.ended() for line, probation in self._probations.items()}

    def inspection_ended(self, how: str, *, blamed: bool = True) -> None:
        """Blame a dead inspection on the releases that are on probation, unless the keeper asked for its end.

        ``blamed`` is off where the node's own configuration ended it.
        """
        if self._restarting or not blamed:
            self._restarting = False
            return
        for line, probation in list(self._probations.items()):
            self._step(line, ProbationFailed(probation.sha256, f"inspection {how} while the release was on probation"))
        self._restarting = False

    def tick(self) -> None:
        """Take what could not be written down once more, and judge the releases on probation."""
        self._take_unsaved()
        now = self._clock.monotonic()
        unsaved = {line for line, _ in self._unsaved}
        for line, probation in list(self._probations.items()):
            outcome = probation.outcome(now)
            if outcome is None or line in unsaved:
                continue
            if isinstance(outcome, Passed):
                self._step(line, ProbationPassed(probation.sha256))
            else:
                self._step(line, ProbationFailed(probation.sha256, outcome.reason))

    def stop(self) -> None:
        """Put what is under way back, so that an operator's stop does not count as a failure."""
        self._pending.clear()
        self._unsaved.clear()
        for line in self._lines:
            self._step(line, Stopping(), perform=False)

    def _step(self, line: str, event: Event, *, perform: bool = True) -> None:
        before = self._lines[line]
        try:
            after, effect = advance(before, event)
        except StateError as error:
            LOG.warning("%s", error)
            return
        if after != before and not self._save(after):
            self._unsaved.append((line, event))
            return
        self._lines[line] = after
        if after.state is not State.PROBATION:
            self._probations.pop(line, None)
        if after != before or isinstance(event, Started):
            self._tell(after)
        if effect is not None and perform:
            self._perform(after, effect)
        settled = self._lines[line]
        if settled.state in {State.IDLE, State.FAILED}:
            self._shelf.prune(line, (settled.current, settled.previous))
            pending = self._pending.pop(line, None)
            if pending is not None:
                self.rollout_seen(pending)

    def _save(self, activation: Activation) -> bool:
        try:
            self._store.save(activation)
        except StateError as error:
            # Said once, though it is tried every turn.
            if not self._cannot_save:
                LOG.error("%s until it can be written", error)
            self._cannot_save = True
            return False
        self._cannot_save = False
        return True

    def _take_unsaved(self) -> None:
        unsaved, self._unsaved = self._unsaved, []
        for line, event in unsaved:
            if isinstance(event, Ordered):
                # The line may have gone on to where a rollout must wait.
                self.rollout_seen(event.rollout)
            else:
                self._step(line, event)

    def _perform(self, activation: Activation, effect: Effect) -> None:
        line, wanted = activation.line, activation.wanted
        match effect:
            case Effect.FETCH:
                assert wanted is not None
                if self._shelf.find(line, wanted) is not None:
                    self._step(line, Arrived(wanted.sha256))
                else:
                    self._hands.to_courier(_fetch(line, wanted))
            case Effect.TRY:
                assert wanted is not None
                source = self._shelf.find(line, wanted)
                if source is None:
                    self._step(line, TrialFailed(wanted.sha256, f"release {wanted.release}: no longer whole"))
                else:
                    self._hands.begin_trial(line, wanted, source)
            case Effect.SWAP:
                self._run(line, wanted)
            case Effect.RUN:
                self._run(line, activation.current)
            case Effect.RESTORE:
                self._restarting = True
                self._hands.restart_inspection()
            case _:
                assert_never(effect)

    def _run(self, line: str, held: Held | None) -> None:
        if held is None:
            return
        activation = self._lines[line]
        if activation.state is State.PROBATION and held == activation.wanted:
            now = self._clock.monotonic()
            self._probations[line] = Probation.begin(line=line, sha256=held.sha256, now=now, silence_s=self._silence_s)
        place = self._shelf.place(line, held.release)
        self._hands.to_inspection(Swap(line=line, directory=str(place), manifest_sha256=held.sha256))

    def _tell(self, activation: Activation) -> None:
        release = activation.current.release if activation.current else "none, not inspecting"
        about = f", {activation.state.value} {activation.wanted.release}" if activation.wanted else ""
        reason = f": {activation.reason}" if activation.reason else ""
        say = LOG.error if activation.state is State.FAILED else LOG.info
        say('line "%s": release %s%s%s', activation.line, release, about, reason)
        self._hands.changed(activation)
        self._report()

    def _report(self) -> None:
        self._hands.to_courier(Report(lines=tuple(line_report(activation) for activation in self._lines.values())))

    def _wanted(self, line: str, release: str, state: State) -> Held | None:
        activation = self._lines.get(line)
        if activation is None or activation.state is not state or activation.wanted is None:
            return None
        return activation.wanted if activation.wanted.release == release else None

    def _named(self, line: str, release: str) -> Held | None:
        activation = self._lines.get(line)
        if activation is None:
            return None
        on_probation = activation.wanted if activation.state is State.PROBATION else None
        for held in (on_probation, activation.current):
            if held is not None and held.release == release:
                return held
        LOG.warning('line "%s": inspection speaks of release %s, which is not under way; ignored', line, release)
        return None


def _fetch(line: str, held: Held) -> Fetch:
    return Fetch(line=line, release=held.release, manifest_sha256=held.sha256)
