"""The frame loop while everything behind it is broken: it judges every frame, and hands over without waiting."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from edge_agent.handoff import Handed
from edge_agent.inspection.cameras.camera import BadFrame, Frame
from edge_agent.inspection.candidates import CandidateMaker
from edge_agent.inspection.inspector import Inspector
from edge_agent.inspection.keepsakes import Keepsakes
from edge_agent.inspection.loop import CameraLoop, LineSlot
from edge_agent.inspection.sender import QUEUE_SIZE, Sender
from shared import codec
from shared.clock import SystemClock
from shared.config import load_agent
from shared.messages import CameraState, Candidate
from tests.conftest import Mosquitto
from tests.faults.accounting import look, violations
from tests.faults.centre import Centre
from tests.faults.conftest import Say
from tests.faults.node import COURIER, Node
from tests.faults.nursery import Nursery
from tests.faults.plant import wait_until, write_agent, write_site
from tests.faults.proxy import Proxy
from tests.faults.stranger import Stranger

#: No camera keeps frames for so long: a hand-off that takes longer has missed some.
MISSED_S: Final = 1.0


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    with Nursery.opened(tmp_path_factory.mktemp("logs"), *COURIER) as opened:
        yield opened


class EagerCamera:
    """Has the next frame ready whenever it is asked; what lies between two frames is all our own.

    ``at`` is called before each frame with its number: that is where faults begin and end.
    """

    def __init__(self, frames: int, at: Callable[[int], None]) -> None:
        self._frames = frames
        self._at = at

    def frames(self, stop: threading.Event) -> Iterator[Frame | BadFrame]:
        rng = np.random.default_rng(0)
        images = [rng.integers(0, 256, (64, 96, 1), dtype=np.uint8) for _ in range(16)]
        for number in range(self._frames):
            if stop.is_set():
                return
            self._at(number)
            yield Frame(number, 1_000.0 + number, images[number % len(images)])


class TimedSender(Sender):
    """The sender, with a watch on every hand-off."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, SystemClock())
        self.took_s: list[float] = []
        self.offered: set[str] = set()

    def offer(self, handed: Handed) -> bool:
        started = time.perf_counter()
        had_room = super().offer(handed)
        self.took_s.append(time.perf_counter() - started)
        self.offered.add(codec.decode(handed.candidate, Candidate).id)
        return had_room


class WaitingSender(TimedSender):
    """What the hand-off must not be: one that waits for room. Once is enough to be found out."""

    _waits = True

    def offer(self, handed: Handed) -> bool:
        started = time.perf_counter()
        if self._waits:
            with self._queue.not_full:
                self._waits = self._queue.not_full.wait_for(
                    lambda: self._queue._qsize() < QUEUE_SIZE, timeout=1.5 * MISSED_S
                )
        waited_s = time.perf_counter() - started
        had_room = super().offer(handed)
        self.took_s[-1] += waited_s
        return had_room


@dataclass(slots=True)
class Behind:
    """What stands behind the frame loop, and can break."""

    node: Node
    link: Proxy
    broker: Mosquitto
    centre: ExitStack
    stranger: Stranger
    frames: int

    def is_at(self, number: int, share: float) -> bool:
        """Say whether that share of the frames has been judged."""
        return number == int(share * self.frames)


Fault = Callable[[Behind, int], None]


def no_courier(behind: Behind, number: int) -> None:
    if number == 0:
        behind.node.stop()


def courier_killed(behind: Behind, number: int) -> None:
    if any(behind.is_at(number, share) for share in (0.1, 0.3, 0.5, 0.7, 0.9)):
        behind.node.kill()
        behind.node.start()


def courier_stopped(behind: Behind, number: int) -> None:
    if number == 0:
        behind.node.life.pause()


def broker_killed(behind: Behind, number: int) -> None:
    if behind.is_at(number, 0.1):
        behind.broker.kill()


def trainer_away(behind: Behind, number: int) -> None:
    if behind.is_at(number, 0.1):
        behind.centre.close()


def black_hole(behind: Behind, number: int) -> None:
    if behind.is_at(number, 0.1):
        behind.link.harm("black hole")


def full_disk(behind: Behind, number: int) -> None:
    if behind.is_at(number, 0.1):
        behind.stranger.take()


#: By fault: whether every candidate that was sent must be accepted, because no courier died with some in its hands.
FAULTS: Final[dict[Fault, bool]] = {
    no_courier: True,
    courier_killed: False,
    courier_stopped: True,
    broker_killed: True,
    trainer_away: True,
    black_hole: True,
    full_disk: True,
}


@dataclass(slots=True)
class Run:
    """What the loop did under a fault, and what became of its candidates."""

    state: CameraState
    sender: TimedSender
    accepted: set[str]
    wrong: list[str]
    took_s: float

    @property
    def missed(self) -> int:
        """How many hand-offs took longer than any camera waits."""
        return sum(took_s > MISSED_S for took_s in self.sender.took_s)

    def __str__(self) -> str:
        p50, p99, most = (1e6 * np.quantile(self.sender.took_s, share) for share in (0.5, 0.99, 1.0))
        return (
            f"{self.state.frames} frames at {self.state.frames / self.took_s:.0f}/s, {self.missed} missed; "
            f"{len(self.sender.took_s)} hand-offs, p50 {p50:.0f}, p99 {p99:.0f}, most {most:.0f} us; "
            f"{self.sender.dropped} dropped, {len(self.accepted)} accepted"
        )


class Bench:
    """One camera's loop with a whole plant behind it."""

    def __init__(self, folder: Path, disk: Path, mosquitto: Mosquitto, nursery: Nursery) -> None:
        self._folder = folder
        self._disk = disk
        self._broker = mosquitto
        self._nursery = nursery

    def run(self, frames: int, fault: Fault, sender_of: type[TimedSender] = TimedSender) -> Run:
        """Judge so many frames under a fault, end it, and count."""
        site_toml = write_site(self._folder / "centre", port=self._broker.port)
        with ExitStack() as plant:
            link = plant.enter_context(Proxy.opened(self._broker.port))
            agent_toml = write_agent(self._folder / "node", port=link.port, directory=self._disk / "agent")
            node = Node(agent_toml, self._nursery)
            centre = plant.enter_context(ExitStack())
            centre.enter_context(Centre.opened(site_toml))
            behind = Behind(node, link, self._broker, centre, Stranger(self._disk), frames)
            node.start()
            wait_until(lambda: node.left == 0, "the courier is there")
            sender = sender_of(node.paths.handoff_socket)
            loop = _loop(agent_toml, EagerCamera(frames, lambda number: fault(behind, number)), sender)
            stop = threading.Event()
            sending = threading.Thread(target=sender.run, args=(stop,), name="sender")
            sending.start()
            started = time.perf_counter()
            try:
                loop.run(threading.Event())
            finally:
                took_s = time.perf_counter() - started
                if fault is courier_stopped:
                    node.life.go_on()
                stop.set()
                sending.join()
            if fault is not no_courier:
                if FAULTS[fault]:
                    sent = len(sender.took_s) - sender.dropped
                    wait_until(lambda: len(node.ledger.look()) == sent, "everything that was sent is accepted")
                # What a full disk cost is written down with the first room there is.
                behind.stranger.give_back()
                assert node.stop() == 0
        found = look([node.paths.spool], site_toml.parent / "trainer")
        accepted = node.ledger.look()
        # Not to the last one: what the trainer had when its answer was lost may have been evicted, and counted, too.
        wrong = violations(found, accepted=accepted, offered=sender.offered)
        return Run(loop.state, sender, accepted, wrong, took_s)


def _loop(agent_toml: Path, camera: EagerCamera, sender: Sender) -> CameraLoop:
    _, lines = load_agent(agent_toml)
    return CameraLoop(
        "top",
        camera,
        Inspector(lines["small"], rng=np.random.default_rng(0)),
        LineSlot(),
        maker=CandidateMaker(site="plant", node="press-01", boot="0000abcd"),
        sender=sender,
        clock=SystemClock(),
        ids={},
        keepsakes=Keepsakes(agent_toml.parent / "memory", SystemClock()),
    )


@pytest.fixture
def bench(tmp_path: Path, small_disk: Path, mosquitto: Mosquitto, nursery: Nursery) -> Bench:
    return Bench(tmp_path, small_disk, mosquitto, nursery)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
@pytest.mark.parametrize("frames", [500, pytest.param(10_000, marks=pytest.mark.soak)])
def test_the_frame_loop_waits_for_nobody(bench: Bench, say: Say, fault: Fault, frames: int) -> None:
    run = bench.run(frames, fault)

    say(f"frame loop, {fault.__name__.replace('_', ' ')}: {run}, {len(run.wrong)} violations")
    assert (run.state.frames, run.state.frames_bad, run.state.frames_missed, run.missed) == (frames, 0, 0, 0)
    assert run.state.verdicts["floor"] == len(run.sender.took_s)
    assert run.wrong == []


def test_a_hand_off_that_waits_is_found_out(bench: Bench, say: Say) -> None:
    """The control: with a courier that takes nothing, a sender that waits for room misses frames."""
    run = bench.run(100, courier_stopped, WaitingSender)

    say(f"frame loop, control with a hand-off that waits: {run}")
    assert run.missed > 0
