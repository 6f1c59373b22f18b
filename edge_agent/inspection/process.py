"""The inspection process: a thread per camera, one that makes graphs, one that hands over, one that keeps, one that talks.

The talking thread owns standard output and never touches a frame. A ``Swap`` is loaded by the graph thread
and put into the line's slot when it is whole; one that does not come up changes nothing.
"""

import queue
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np

from edge_agent.handoff import (
    Counters,
    Finished,
    PacketLimit,
    Stop,
    Swap,
    Swapped,
    SwapRefused,
    ToInspection,
    read_lines,
    write_line,
)
from edge_agent.inspection.cameras.build import build_camera
from edge_agent.inspection.candidates import CandidateMaker
from edge_agent.inspection.inspector import Inspector
from edge_agent.inspection.keepsakes import Keepsakes
from edge_agent.inspection.loading import LoadedRelease
from edge_agent.inspection.loop import CameraLoop, LineSlot
from edge_agent.inspection.sender import Sender
from edge_agent.log import LOG
from edge_agent.paths import NodePaths
from shared.clock import Clock
from shared.config import load_agent
from shared.errors import ReleaseError, WinnowError, WireError

#: How often to look whether the hand-off is empty once every camera has ended.
_LOOK_S: Final = 0.05
#: A union is a type to msgspec, but not to a type checker.
_COMMAND = cast(type[ToInspection], ToInspection)


@dataclass(frozen=True, slots=True)
class _Ended:
    """A camera's thread ended; by itself when there is no error."""

    camera: str
    error: Exception | None


@dataclass(frozen=True, slots=True)
class _Hangup:
    """The supervisor is gone, or says what nobody understands."""

    fault: WireError | None


_Event = ToInspection | Swapped | SwapRefused | _Ended | _Hangup


class Inspection:
    """Everything of the process but its streams and signals."""

    def __init__(
        self, agent_toml: Path, *, boot: str, until_done: bool, clock: Clock, after: Mapping[str, int] | None = None
    ) -> None:
        self._agent, self._lines = load_agent(agent_toml)
        self.node = self._agent.node
        self._clock = clock
        self._slots = {camera.line: LineSlot() for camera in self._agent.cameras}
        paths = NodePaths.of(agent_toml, self._agent)
        self._sender = Sender(paths.handoff_socket, clock)
        self._maker = CandidateMaker(site=self._agent.site, node=self._agent.node, boot=boot)
        self._keepsakes = Keepsakes(paths.memory, clock)
        self._loops = self._build_loops(
            agent_toml.resolve().parent, boot=boot, until_done=until_done, after=after or {}
        )
        self._inbox: queue.Queue[_Event] = queue.Queue()
        self._swaps: queue.Queue[Swap | None] = queue.Queue()
        self._stop = threading.Event()
        self._sender_stop = threading.Event()
        self._running = {loop.name for loop in self._loops}

    def run(self, source: BinaryIO, sink: BinaryIO) -> int:
        """Inspect until the supervisor says stop or is gone.

        Returns:
            The exit status: 0, or 1 when a camera's loop failed or the supervisor was not understood.
        """
        # The reader is left behind in its read at the end; everything else is waited for.
        self._start("commands", lambda: self._listen(source), daemon=True)
        cameras = [self._start(f"camera-{loop.name}", self._runner(loop)) for loop in self._loops]
        graphs = self._start("graphs", self._make_graphs)
        sender = self._start("sender", lambda: self._sender.run(self._sender_stop))
        keeper = self._start("keepsakes", lambda: self._keepsakes.run(self._sender_stop))
        try:
            return self._talk(sink)
        finally:
            self._stop.set()
            self._swaps.put(None)
            for thread in cameras:
                thread.join()
            self._sender_stop.set()
            sender.join()
            keeper.join()
            graphs.join()

    def _talk(self, sink: BinaryIO) -> int:
        """Answer the supervisor and beat; the one place that writes to it."""
        beat_at = self._clock.monotonic()
        finished = False
        try:
            while True:
                if self._clock.monotonic() >= beat_at:
                    write_line(sink, self._counters())
                    beat_at = self._clock.monotonic() + self._agent.heartbeat_s
                draining = not finished and not self._running
                if draining and self._sender.is_empty:
                    finished = True
                    write_line(sink, self._counters())
                    write_line(sink, Finished())
                    continue
                event = self._next_event(_LOOK_S if draining else beat_at - self._clock.monotonic())
                if isinstance(event, Swapped | SwapRefused):
                    write_line(sink, event)
                elif event is not None and (status := self._obey(event)) is not None:
                    return status
        except BrokenPipeError:
            return _hung_up(None)

    def _next_event(self, timeout_s: float) -> _Event | None:
        try:
            return self._inbox.get(timeout=max(0.0, timeout_s))
        except queue.Empty:
            return None

    def _obey(self, event: Swap | Stop | PacketLimit | _Ended | _Hangup) -> int | None:
        """Act on an event; the exit status when it ends the process."""
        match event:
            case Swap():
                self._swaps.put(event)
            case PacketLimit(max_packet_bytes):
                self._maker.max_packet_bytes = max_packet_bytes
            case Stop():
                return 0
            case _Hangup(fault):
                return _hung_up(fault)
            case _Ended(camera, None):
                self._running.discard(camera)
            case _Ended(camera, error):
                LOG.error("camera %s: %s: %s; the process ends", camera, type(error).__name__, error)
                return 1
        return None

    def _counters(self) -> Counters:
        releases = [slot.release for slot in self._slots.values()]
        providers = sorted({release.provider for release in releases if release is not None})
        return Counters(
            cameras=tuple(loop.state for loop in self._loops),
            handoff_dropped=self._sender.dropped,
            inspecting=all(release is not None for release in releases),
            provider=",".join(providers),
        )

    def _listen(self, source: BinaryIO) -> None:
        try:
            for message in read_lines(source, _COMMAND):
                self._inbox.put(message)
        except WireError as error:
            self._inbox.put(_Hangup(error))
        else:
            self._inbox.put(_Hangup(None))

    def _make_graphs(self) -> None:
        while (swap := self._swaps.get()) is not None:
            self._inbox.put(self._swap(swap))

    def _swap(self, swap: Swap) -> Swapped | SwapRefused:
        directory = Path(swap.directory)
        slot = self._slots.get(swap.line)
        if slot is None:
            reason = f'no camera of this node belongs to line "{swap.line}"'
            return SwapRefused(swap.line, directory.name, reason, blamed=False)
        try:
            release = LoadedRelease.load(
                directory,
                manifest_sha256=swap.manifest_sha256,
                line=self._lines[swap.line],
                runtime=self._agent.runtime,
                cached=True,
            )
        except WinnowError as error:
            LOG.error("line %s: %s", swap.line, error)
            return SwapRefused(swap.line, directory.name, str(error), blamed=isinstance(error, ReleaseError))
        slot.release = release
        # A frame in hand is still judged by the old release; the next one is not.
        numbers = [loop.state.frame_number for loop in self._loops if loop.line == swap.line]
        LOG.info("line %s: runs %s on %s", swap.line, release.manifest.release, release.provider)
        return Swapped(swap.line, release.manifest.release, max(numbers) + 1)

    def _runner(self, loop: CameraLoop) -> Callable[[], None]:
        def run() -> None:
            error: Exception | None = None
            try:
                loop.run(self._stop)
            except Exception as caught:  # noqa: BLE001  # a thread that dies of a bug must not look like a camera at rest
                error = caught
            self._inbox.put(_Ended(loop.name, error))

        return run

    def _build_loops(self, base: Path, *, boot: str, until_done: bool, after: Mapping[str, int]) -> list[CameraLoop]:
        loops = []
        for table in self._agent.cameras:
            line = self._lines[table.line]
            camera = build_camera(
                table,
                line,
                node=self._agent.node,
                base=base,
                clock=self._clock,
                until_done=until_done,
                after=after.get(table.name),
            )
            rng = camera_rng(boot, table.name)
            loops.append(
                CameraLoop(
                    table.name,
                    camera,
                    Inspector(line, rng=rng),
                    self._slots[table.line],
                    maker=self._maker,
                    sender=self._sender,
                    clock=self._clock,
                    ids=table.ids,
                    keepsakes=self._keepsakes,
                )
            )
        return loops

    @staticmethod
    def _start(name: str, work: Callable[[], None], *, daemon: bool = False) -> threading.Thread:
        thread = threading.Thread(target=work, name=name, daemon=daemon)
        thread.start()
        return thread


def _hung_up(fault: WireError | None) -> int:
    LOG.warning("%s", fault or "supervisor: gone; the process ends")
    return 0 if fault is None else 1


def camera_rng(boot: str, camera: str) -> np.random.Generator:
    """Make the random numbers of one camera in one start of the node."""
    return np.random.default_rng([int(boot, 16), zlib.crc32(camera.encode())])
