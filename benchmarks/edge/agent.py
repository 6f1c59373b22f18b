"""The agent's own time: everything a frame loop does that is not inside onnxruntime."""

import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from edge_agent.inspection.cameras.camera import Frame
from edge_agent.inspection.candidates import CandidateMaker
from edge_agent.inspection.inspector import Inspector
from edge_agent.inspection.keepsakes import Keepsakes
from edge_agent.inspection.loading import LoadedRelease
from edge_agent.inspection.loop import CameraLoop, LineSlot
from edge_agent.inspection.sender import Sender
from shared.clock import SystemClock
from shared.config import ClassTable, LineConfig, RuntimeTable, SpaceTable
from shared.geometry import Image
from shared.golden import Golden
from shared.identity import sha256_hex
from shared.release import Lineage, SpaceEntry
from trainer.release.graph import export_space
from trainer.release.publish import publish
from trainer.representation.space import build_space


class Still:
    """A camera that shows frames it was given."""

    def __init__(self, frames: list[Image]) -> None:
        self._frames = frames

    def frames(self, stop: threading.Event) -> Iterator[Frame]:
        """Give one frame after another."""
        for number, image in enumerate(self._frames):
            if stop.is_set():
                return
            yield Frame(number, 0.0, image)


class Timed:
    """A session whose runs are timed, whichever way it is run."""

    def __init__(self, session: Any, spent: list[float], now: Callable[[], float]) -> None:
        self._session = session
        self._spent = spent
        self._now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run(self, *arguments: Any) -> Any:
        """Run with arrays."""
        return self._time(self._session.run, *arguments)

    def run_with_iobinding(self, binding: Any) -> Any:
        """Run with what is bound."""
        return self._time(self._session.run_with_iobinding, binding)

    def _time(self, run: Callable[..., Any], *arguments: Any) -> Any:
        began = self._now()
        found = run(*arguments)
        self._spent.append(self._now() - began)
        return found


def own_time(task: bytes, frames: list[Image], classes: int, *, runtime: RuntimeTable) -> dict[str, float]:
    """Put frames through a node's loop, candidates made and handed over included.

    The default share of patches passes the gate and gets an embedding of a small space, as in a release; the budget is a
    line's own. On a CPU the processor's time counts, on a GPU the wall's: there the processor waits.
    """
    now = time.process_time if runtime.provider == "cpu" else time.perf_counter
    line = LineConfig(
        line="bench",
        classes=tuple(ClassTable(name=str(n)) for n in range(classes)),
        space=SpaceTable(encoder="compact-32-64"),
    )
    folder = Path(tempfile.mkdtemp(prefix="winnow-edge-"))
    try:
        release = LoadedRelease.load(_published(folder, line, task), manifest_sha256=None, line=line, runtime=runtime)
        spent: list[float] = []
        for graph in (release.task, release.space):
            assert graph is not None
            graph.graph._session = Timed(graph.graph._session, spent, now)  # noqa: SLF001  # what is inside is not ours
        _loop(line, release, folder, frames[:1], now)
        spent.clear()
        wall, took, candidates = _loop(line, release, folder, frames, now)
    finally:
        shutil.rmtree(folder)
    tiles = sum(int(np.prod(line.grid.tile_shape(*frame.shape[:2]))) for frame in frames)
    own = took - sum(spent)
    return {
        "tiles": tiles,
        "own_ms": 1000 * own / tiles,
        "runtime_ms": 1000 * sum(spent) / tiles,
        "own_share": own / sum(spent),
        "frames_per_s": len(frames) / wall,
        "candidates": candidates,
    }


def _loop(
    line: LineConfig, release: LoadedRelease, folder: Path, frames: list[Image], now: Callable[[], float]
) -> tuple[float, float, int]:
    clock = SystemClock()
    # Nobody listens: candidates are offered and dropped, which is what a frame loop sees of a slow courier.
    sender = Sender(folder / "nobody.sock", clock)
    loop = CameraLoop(
        "top",
        Still(frames),
        Inspector(line, rng=np.random.default_rng(0)),
        LineSlot(release),
        maker=CandidateMaker(site="bench", node="bench", boot="00000000"),
        sender=sender,
        clock=clock,
        ids={},
        keepsakes=Keepsakes(folder / "memory", clock),
    )
    wall, began = time.perf_counter(), now()
    loop.run(threading.Event())
    assert loop.state.frames == len(frames), "a frame was not judged"
    took = time.perf_counter() - wall, now() - began
    return *took, loop.state.verdicts["novel"] + loop.state.verdicts["floor"]


def _published(folder: Path, line: LineConfig, task: bytes) -> Path:
    space = build_space(line.space, channels=1, seed=0)
    graph = export_space(space, line.grid, line=line.line)
    blank = np.zeros((1, line.grid.tile_px, line.grid.tile_px, 1), dtype=np.uint8)
    side = line.grid.patches_per_side
    patch, row = blank[:, : line.grid.patch_px, : line.grid.patch_px], np.eye(1, space.dim, dtype=np.float32)
    manifest = publish(
        folder,
        line,
        number=1,
        graphs={"task": task, "space": graph},
        space=SpaceEntry(id=sha256_hex(graph), dim=space.dim, tau=0.1),
        golden=Golden(tiles=blank, score=np.zeros((1, side, side), np.float32), patches=patch, embedding=row),
        labelled=None,
        lineage=Lineage(),
        now=0.0,
    )
    return folder / "releases" / line.line / manifest.release
