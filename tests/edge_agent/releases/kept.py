"""A node's keeper with hands that only take notes."""

from collections.abc import Callable
from pathlib import Path

from msgspec import Struct

from edge_agent.handoff import Fetch, Report, Swap
from edge_agent.releases.activation import Held, State
from edge_agent.releases.keeper import Hands, Keeper
from edge_agent.releases.probation import FRAMES
from edge_agent.releases.shelf import Shelf
from edge_agent.releases.store import ActivationStore
from shared.clock import ManualClock
from shared.messages import CameraState, LineReport
from shared.release import Rollout

Build = Callable[..., Held]


Order = Callable[..., Rollout]


class Node:
    """A keeper with hands that only take notes."""

    def __init__(self, root: Path, build: Build) -> None:
        self.root = root
        self.clock = ManualClock()
        self.shelf = Shelf(incoming=root / "incoming", releases=root / "releases")
        for folder in (self.shelf.incoming, self.shelf.releases):
            folder.mkdir(exist_ok=True)
        self._build = build
        self.boot()

    def boot(self) -> None:
        self.swaps: list[Swap] = []
        self.to_courier: list[Struct] = []
        self.trials: list[tuple[str, Held, Path]] = []
        self.restarts = 0
        self.store = ActivationStore.open(self.root / "activation.db")
        self.keeper = Keeper(
            ("strip",),
            store=self.store,
            shelf=self.shelf,
            hands=Hands(
                to_inspection=self.swaps.append,
                to_courier=self.to_courier.append,
                begin_trial=lambda line, held, path: self.trials.append((line, held, path)),
                restart_inspection=self._restart,
                changed=lambda _: None,
            ),
            clock=self.clock,
            silence_s=30.0,
        )
        self.keeper.start()
        self.keeper.courier_started()
        self.keeper.inspection_started()

    def reboot(self, *, killed: bool = False) -> None:
        if not killed:
            self.keeper.stop()
        self.store.close()
        self.boot()

    def _restart(self) -> None:
        self.restarts += 1

    @property
    def report(self) -> LineReport:
        return next(message for message in reversed(self.to_courier) if isinstance(message, Report)).lines[0]

    @property
    def fetches(self) -> list[Fetch]:
        return [message for message in self.to_courier if isinstance(message, Fetch)]

    def arrive(self, number: int) -> Held:
        """Put a release into incoming/, as the courier does."""
        held = self._build(self.root / "made", number, bias=number / 100)
        place = self.shelf.incoming / "strip" / held.release
        place.parent.mkdir(exist_ok=True)
        (self.root / "made" / "releases" / "strip" / held.release).rename(place)
        return held

    def bring(self, held: Held) -> None:
        self.keeper.fetched("strip", held.release)

    def try_(self, held: Held) -> None:
        self.keeper.tried("strip", held, None)

    def prove(self, held: Held) -> None:
        self.keeper.swapped("strip", held.release)
        for frames in (0, FRAMES):
            self.keeper.counters([CameraState(camera="top", line="strip", frames=frames)])
        self.keeper.tick()

    def install(self, held: Held, rollout: Rollout) -> None:
        """Take a release all the way."""
        self.keeper.rollout_seen(rollout)
        if self.keeper.lines["strip"].state is State.FETCHING:
            self.bring(held)
        self.try_(held)
        self.prove(held)
        assert self.keeper.lines["strip"].current == held
