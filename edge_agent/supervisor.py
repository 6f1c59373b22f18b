"""The supervisor: starts inspection and courier, each again when it dies, and has releases activated.

It owns the activation database, the trial child and the order in which things end. Each child survives the
other's death; both end with the supervisor, because their input ends.
"""

import os
import queue
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec import Struct

from edge_agent.child import Child, Ended, Said, describe
from edge_agent.counters import add_counters
from edge_agent.database import describe_aside, set_aside_before
from edge_agent.handoff import (
    Beat,
    Counters,
    Drained,
    Fetched,
    FetchFailed,
    Finished,
    FromCourier,
    FromInspection,
    PacketLimit,
    RolloutSeen,
    Swapped,
    SwapRefused,
    Troubled,
)
from edge_agent.log import LOG
from edge_agent.paths import NodePaths
from edge_agent.releases.activation import Activation, Held
from edge_agent.releases.keeper import Hands, Keeper
from edge_agent.releases.probation import SWAP_S
from edge_agent.releases.shelf import Shelf
from edge_agent.releases.store import ActivationStore
from edge_agent.releases.trial import run_trial
from shared.clock import Clock
from shared.config import AgentConfig
from shared.console import Console
from shared.errors import ConfigError, ReleaseError, StateError
from shared.identity import new_boot_id
from shared.messages import CameraState

#: How long one turn waits for something to happen.
_TURN_S: Final = 0.2
#: How long a child may take to end in order.
_END_S: Final = 15.0
#: The last connection of a finished inspection shows at the courier within this time.
_SETTLE_S: Final = 1.0
#: Inspection may be silent for this many heartbeats, and at least this long.
_SILENT_BEATS: Final = 6
_SILENT_S: Final = 30.0
#: Longer than inspection may take to load a release: without a sign for that long it hangs.
_HUNG_S: Final = 1.5 * SWAP_S
#: A turn that took longer was one in which the supervisor itself stood still.
_LONGEST_TURN_S: Final = 2.0
#: No more of a trouble is told.
_LONGEST_TROUBLE: Final = 300
#: A finite run gives up when a child cannot stay up.
_MAX_STARTS: Final = 4


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial ended; ``reason`` says why it did not pass."""

    line: str
    held: Held
    reason: str | None
    blamed: bool = True


@dataclass(frozen=True, slots=True)
class Trying:
    """How far a trial is."""

    line: str
    release: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Ending:
    """When a finite run may end."""

    until_done: bool = False
    drain_s: float = 30.0


class Supervisor:
    """One start of a node."""

    def __init__(
        self,
        agent_toml: Path,
        agent: AgentConfig,
        lines: Sequence[str],
        *,
        ending: Ending,
        console: Console,
        clock: Clock,
    ) -> None:
        self._agent_toml = agent_toml
        self._ending = ending
        self._console = console
        self._clock = clock
        self._node = agent.node
        self._paths = NodePaths.of(agent_toml, agent)
        self._paths.make()
        self._boot = new_boot_id()
        self._inbox: queue.Queue[object] = queue.Queue()
        self._inspection = Child("inspection", argv=self._inspection_argv, says=FromInspection, inbox=self._inbox)
        self._courier = Child("courier", argv=self._courier_argv, says=FromCourier, inbox=self._inbox)
        self._store = ActivationStore.open(self._paths.activation)
        if self._store.set_aside is not None:
            LOG.error("activation.db: not readable, set aside as %s; no release is known", self._store.set_aside)
        self._keeper = Keeper(
            lines,
            store=self._store,
            shelf=Shelf(incoming=self._paths.incoming, releases=self._paths.releases),
            hands=Hands(
                to_inspection=self._inspection.send,
                to_courier=self._courier.send,
                begin_trial=self._begin_trial,
                restart_inspection=self._inspection.kill,
                changed=self._changed,
            ),
            clock=clock,
            silence_s=max(_SILENT_S, _SILENT_BEATS * agent.heartbeat_s),
        )
        #: What earlier inspection processes counted, and what the present one counts.
        self._before: dict[str, CameraState] = {}
        self._dropped_before = 0
        self._counters: Counters | None = None
        #: For how long inspection gave no sign, and up to when that was counted.
        self._silent_s = 0.0
        self._watched_at = clock.monotonic()
        self._hung_s = max(_HUNG_S, _SILENT_BEATS * agent.heartbeat_s)
        #: How much is in the spool; None until a courier has said it.
        self._left: int | None = None
        #: How often the courier was started since one last said so.
        self._mute_starts = 0
        #: What the broker takes at most, for inspection to size its crops by.
        self._packet_limit: PacketLimit | None = None
        #: Why the last courier ended, for the next one to tell.
        self._trouble: str | None = None
        self._finished = False
        self._gone_at: float | None = None

    @property
    def is_drained(self) -> bool:
        """Whether the courier's last word was that nothing waits in the spool."""
        return self._left == 0

    def run(self, stop: threading.Event) -> None:
        """Keep the node going until told to stop or, with ``until_done``, until everything is delivered."""
        LOG.info("start %s in %s", self._boot, self._paths.root)
        self._console.event(
            "started", f"node {self._node}: started in {self._paths.root}", node=self._node, boot=self._boot
        )
        self._keeper.start()
        try:
            while not stop.is_set() and not self._is_done():
                self._start_children()
                self._keeper.tick()
                self._take(_TURN_S, stop)
        finally:
            self._end()

    def _start_children(self) -> None:
        now = self._clock.monotonic()
        # The courier first: it listens for inspection.
        if self._courier.tick(now):
            self._mute_starts += 1
            self._keeper.courier_started()
            if self._counters is not None:
                self._courier.send(self._beat(self._counters))
        if not self._finished and self._inspection.tick(now):
            self._silent_s = 0.0
            self._keeper.inspection_started()
            if self._packet_limit is not None:
                self._inspection.send(self._packet_limit)
        self._watch(now)

    def _watch(self, now: float) -> None:
        """End an inspection that gives no sign; it is started again like one that died.

        Time in which the supervisor stood still with it does not count.
        """
        self._silent_s += min(now - self._watched_at, _LONGEST_TURN_S)
        self._watched_at = now
        if self._silent_s < self._hung_s:
            return
        if self._inspection.is_running:
            LOG.error("inspection: no sign of it for %.0f s; it is killed and started again", self._silent_s)
            self._inspection.kill()
        self._silent_s = 0.0

    def _take(self, timeout_s: float, stop: threading.Event) -> None:
        try:
            event = self._inbox.get(timeout=timeout_s)
        except queue.Empty:
            return
        if stop.is_set():
            # Whatever ends from here on ends with the node, which blames no release for it.
            return
        if isinstance(event, Said | Ended) and event.child == self._inspection.name:
            self._silent_s = 0.0
        match event:
            case Said(message=Troubled(reason)):
                self._trouble = reason
            case Said(message=PacketLimit() as limit):
                self._packet_limit = limit
                self._inspection.send(limit)
            case Said(message=message):
                self._hear(message)
            case Ended(child=name, status=status):
                self._ended(name, status)
            case Trying(line, release, done, total):
                text = f'node {self._node}: line "{line}" tries {release}, {done} of {total}'
                self._console.event("trial", text, node=self._node, line=line, release=release, done=done, total=total)
            case Tried(line, held, reason, blamed):
                self._keeper.tried(line, held, reason, blamed=blamed)
            case _:
                raise StateError(f"supervisor: {type(event).__name__} in its inbox; this is a bug")

    def _hear(self, message: Struct) -> None:
        match message:
            case Counters():
                self._counters = message
                self._keeper.counters(message.cameras)
                self._courier.send(self._beat(message))
            case Swapped(line, release):
                self._keeper.swapped(line, release)
            case SwapRefused(line, release, reason, blamed):
                self._keeper.swap_refused(line, release, reason, blamed=blamed)
            case Finished():
                self._keeper.inspection_finished()
                if self._ending.until_done:
                    self._finished = True
                    self._inspection.stop()
            case RolloutSeen(rollout):
                self._keeper.rollout_seen(rollout)
            case Fetched(line, release):
                self._keeper.fetched(line, release)
            case FetchFailed(line, release, reason):
                self._keeper.fetch_failed(line, release, reason)
            case Drained(spooled):
                self._left, self._mute_starts = spooled, 0
            case _:
                raise StateError(f"supervisor: a child says {type(message).__name__}; this is a bug")

    def _ended(self, name: str, status: int) -> None:
        now = self._clock.monotonic()
        if name == self._courier.name:
            self._courier.ended(now)
            LOG.error("courier %s; it is started again, inspection goes on", describe(status))
            if self._ending.until_done and self._mute_starts >= _MAX_STARTS:
                why = "; see the log" if self._trouble is None else f": {self._trouble}"
                raise StateError(
                    f"node {self._node}: the courier ended {self._mute_starts} times before it said what is in the spool{why}"
                )
            return
        self._inspection.ended(now)
        self._keep_counters()
        if self._finished:
            self._gone_at = now
            return
        LOG.error("inspection %s; it is started again", describe(status))
        self._keeper.inspection_ended(describe(status), blamed=status != os.EX_CONFIG)
        if self._ending.until_done and self._inspection.starts >= _MAX_STARTS:
            raise StateError(
                f"node {self._node}: inspection ended {self._inspection.starts} times before it was done; see the log"
            )

    def _keep_counters(self) -> None:
        """Let the next process's counters go on from here, and say that nothing is inspected meanwhile."""
        if self._counters is None:
            return
        cameras = add_counters(self._before, self._counters.cameras)
        self._before = {camera.camera: camera for camera in cameras}
        self._dropped_before += self._counters.handoff_dropped
        self._counters = None
        dropped = self._dropped_before
        self._courier.send(Beat(cameras=cameras, handoff_dropped=dropped, inspecting=False, provider=""))

    def _beat(self, counters: Counters) -> Beat:
        return Beat(
            cameras=add_counters(self._before, counters.cameras),
            handoff_dropped=self._dropped_before + counters.handoff_dropped,
            inspecting=counters.inspecting,
            provider=counters.provider,
        )

    def _is_done(self) -> bool:
        if self._gone_at is None:
            return False
        waited = self._clock.monotonic() - self._gone_at
        return (self._left == 0 and waited >= _SETTLE_S) or waited >= self._ending.drain_s

    def _end(self) -> None:
        self._inspection.stop()
        self._inspection.end(within_s=_END_S)
        self._courier.stop()
        if self._courier.end(within_s=_END_S) is not None:
            self._hear_last_word()
        self._keeper.stop()
        self._store.close()
        left = "nobody could say how many" if self._left is None else self._left
        text = f"node {self._node}: ended, {left} candidates stay in the spool"
        self._console.event("ended", text, node=self._node, spooled=self._left)

    def _hear_last_word(self) -> None:
        """Learn from the courier's last message how much stays in the spool."""
        while True:
            try:
                event = self._inbox.get(timeout=_SETTLE_S)
            except queue.Empty:
                return
            match event:
                case Said(message=Drained(spooled)):
                    self._left = spooled
                case Ended(child=self._courier.name):
                    return
                case _:
                    continue

    def _begin_trial(self, line: str, held: Held, directory: Path) -> None:
        def step(done: int, total: int) -> None:
            self._inbox.put(Trying(line, held.release, done, total))

        def work() -> None:
            try:
                run_trial(directory, sha256=held.sha256, line=line, agent_toml=self._agent_toml, step=step)
            except (ReleaseError, ConfigError) as error:
                self._inbox.put(Tried(line, held, str(error), blamed=isinstance(error, ReleaseError)))
            except OSError as error:
                self._inbox.put(Tried(line, held, f"the trial could not be started: {error}", blamed=False))
            else:
                self._inbox.put(Tried(line, held, None))

        threading.Thread(target=work, name=f"trial-{line}", daemon=True).start()

    def _changed(self, activation: Activation) -> None:
        current = activation.current.release if activation.current else None
        reason = f": {activation.reason}" if activation.reason else ""
        self._console.event(
            "line",
            f'node {self._node}: line "{activation.line}" {activation.state.value}, runs {current or "no release"}{reason}',
            node=self._node,
            line=activation.line,
            state=activation.state.value,
            release=current,
            rollout=activation.rollout,
            reason=activation.reason,
        )

    def _inspection_argv(self) -> list[str]:
        # Candidate ids count from zero in each process, so each needs a name of its own.
        boot = self._boot if self._inspection.starts == 1 else new_boot_id()
        until_done = ["--until-done"] if self._ending.until_done else []
        seen = [f"--after={camera.camera}={camera.frame_number}" for camera in self._before.values()]
        return [*self._python("edge_agent.inspection"), "--boot", boot, *until_done, *seen]

    def _courier_argv(self) -> list[str]:
        troubles = [*map(describe_aside, set_aside_before(self._paths.activation))]
        if self._trouble is not None:
            troubles.append(f"the courier was started again: {self._trouble}")
        told = [f"--trouble={trouble[:_LONGEST_TROUBLE]}" for trouble in troubles]
        return [*self._python("edge_agent.courier"), "--boot", self._boot, *told]

    def _python(self, module: str) -> list[str]:
        return [sys.executable, "-m", module, str(self._agent_toml), "--node", self._node]
