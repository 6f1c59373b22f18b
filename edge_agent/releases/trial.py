"""The trial: a release is loaded and asked its golden tiles in a child process before inspection sees it.

A graph that is signed and whole can still kill the process that loads it, never answer, or ask for all memory.
The child has limits on processor time, memory, files and core dumps, and a deadline; whatever becomes of it,
the node only reads its verdict. The graphs are optimised for this machine on the way, so that the swap is short.
"""

import argparse
import ctypes
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import BinaryIO, Final, cast

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.child import deaf, describe
from edge_agent.releases.shelf import check
from shared.clock import Clock, SystemClock
from shared.config import LineConfig, RuntimeTable, load_agent
from shared.console import Step
from shared.errors import ConfigError, ReleaseError, WinnowError
from shared.files import read_bounded
from shared.geometry import Image
from shared.golden import Golden, read_golden
from shared.release import MAX_FILE_BYTES, Manifest, verify

Floats = NDArray[np.float32]

DEADLINE_S: Final = 90.0
#: How often a golden tile is timed.
_TIMED: Final = 3
_CPU_S: Final = 120
#: PR_SET_PDEATHSIG of linux/prctl.h.
_DIE_WITH_PARENT: Final = 1
#: Above what any graph of ours needs, below what would push other processes out of memory.
_MEMORY_BYTES: Final = 16 << 30
#: One optimised graph: the child may write nothing larger.
_FILE_BYTES: Final = MAX_FILE_BYTES
#: The longest line of its answer.
_LINE_BYTES: Final = 1 << 16
#: A driver for one of these reserves more address space than any limit would allow.
_ACCELERATORS: Final = (Path("/dev/nvidiactl"), Path("/dev/nvhost-ctrl-gpu"))


class Outcome(Struct, frozen=True):
    """What came of a release's golden tiles."""

    provider: str
    precision: str
    #: The largest differences from the golden outputs; None where the release has no such graph.
    scores_apart: float | None
    embeddings_apart: float | None
    #: The median time for one tile, once the first has gone through.
    tile_ms: float | None


class Doing(Struct, frozen=True, tag=True):
    """The child says how far it is, as one JSON line."""

    done: int
    total: int


class Verdict(Struct, frozen=True, tag=True):
    """What the child says in the end, as one JSON line."""

    passed: bool
    reason: str = ""
    #: False when the node, not the release, is at fault.
    blamed: bool = True
    outcome: Outcome | None = None


def run_trial(
    directory: Path,
    *,
    sha256: str,
    line: str,
    agent_toml: Path,
    deadline_s: float = DEADLINE_S,
    cached: bool = True,
    step: Step | None = None,
) -> Outcome | None:
    """Try a release in a child process; ``step`` is told the progress.

    The child optimises the graphs for this machine and keeps them beside the release, unless ``cached`` is off.
    A ``ReleaseError`` says why it did not pass, a ``ConfigError`` why this node cannot try anything.
    """
    # -B: the child has no business with files other than the optimised graphs, bytecode included.
    command = [sys.executable, "-B", "-m", "edge_agent.releases.trial", str(agent_toml), str(directory)]
    # In a group of its own, and deaf: a stop of the whole node is not to look like a release that dies.
    with deaf():
        child = subprocess.Popen(
            [*command, "--line", line, "--sha256", sha256, *([] if cached else ["--uncached"])],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    with child:
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(deadline_s, end)
        timer.start()
        try:
            verdict = _listen(cast(BinaryIO, child.stdout), step)
            status = child.wait()
        finally:
            timer.cancel()
            child.kill()
    if late.is_set():
        raise ReleaseError(f"trial of {directory.name}: no answer within {deadline_s:.0f} s; it was ended")
    if verdict is None:
        raise ReleaseError(f"trial of {directory.name}: the process {describe(status)}")
    if not verdict.passed:
        kind = ReleaseError if verdict.blamed else ConfigError
        raise kind(f"trial of {directory.name}: {verdict.reason}")
    if status != 0:
        raise ReleaseError(f"trial of {directory.name}: the process {describe(status)} after it passed")
    return verdict.outcome


def _listen(said: BinaryIO, step: Step | None) -> Verdict | None:
    """Hear the child to its end; what is no line of ours is passed over."""
    decoder: msgspec.json.Decoder[Doing | Verdict] = msgspec.json.Decoder(cast(type[Doing | Verdict], Doing | Verdict))
    verdict = None
    while line := said.readline(_LINE_BYTES):
        try:
            message = decoder.decode(line)
        except msgspec.DecodeError:
            continue
        match message:
            case Doing(done, total):
                if step is not None:
                    step(done, total)
            case Verdict():
                verdict = message
    return verdict


def try_release(
    directory: Path, *, sha256: str, line: LineConfig, runtime: RuntimeTable, cached: bool, clock: Clock, step: Step
) -> Outcome:
    """Verify every file, load the graphs and compare their answers to the golden ones, in this process."""
    from edge_agent.inspection.loading import LoadedRelease  # noqa: PLC0415  # the supervisor never loads the runtime

    manifest = check(directory, sha256=sha256, line=line.line)
    golden = _golden(directory, manifest)
    release = LoadedRelease.load(
        directory, manifest_sha256=sha256, line=line, runtime=runtime, cached=cached, step=lambda done, _: step(done, 3)
    )
    scores = embeddings = tile_ms = None
    if release.task is not None and golden.tiles is not None and golden.score is not None:
        allowed = manifest.tolerance_of(release.task_role)
        scores = _compare(release.task.scores(golden.tiles), golden.score, allowed=allowed, what="scores")
        tile_ms = _time(release.task.scores, golden.tiles[:1], clock)
    if release.space is not None and golden.patches is not None and golden.embedding is not None:
        allowed = manifest.tolerance_of("space")
        found = release.space.embed(golden.patches)
        embeddings = _compare(found, golden.embedding, allowed=allowed, what="embeddings")
    step(3, 3)
    return Outcome(release.provider, release.precision, scores, embeddings, tile_ms)


def _time(run: Callable[[Image], object], tile: Image, clock: Clock) -> float:
    times = []
    for _ in range(_TIMED):
        began = clock.monotonic()
        run(tile)
        times.append(clock.monotonic() - began)
    return 1000 * median(times)


def _golden(directory: Path, manifest: Manifest) -> Golden:
    entry = manifest.files.get("golden")
    if entry is None:
        raise ReleaseError(f"release {manifest.release}: no golden tiles; it cannot be tried")
    data = read_bounded(directory / entry.name, limit=entry.bytes)
    what = f"release {manifest.release}: {entry.name}"
    golden = read_golden(verify(data, sha256=entry.sha256, what=what, size=entry.bytes), what=what)
    for role, outputs in (("task", golden.score), ("space", golden.embedding)):
        if role in manifest.files and outputs is None:
            raise ReleaseError(
                f"release {manifest.release}: no golden outputs for its {role} graph; it cannot be tried"
            )
    return golden


def _compare(found: Floats, expected: Floats, *, allowed: float, what: str) -> float:
    """Return how far the answers are apart, or refuse them."""
    if found.shape != expected.shape:
        raise ReleaseError(f"golden {what}: shape {found.shape}, expected {expected.shape}")
    apart = float(np.abs(found - expected).max(initial=0.0))
    # Written so that a NaN does not pass.
    if not apart <= allowed:
        raise ReleaseError(f"golden {what}: {apart:.2e} apart, the release allows {allowed:.0e}")
    return apart


def _limit(provider: str) -> None:
    # Nobody would read the verdict of a child whose supervisor is gone.
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES, _FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_S, _CPU_S))
    if provider == "cpu" or not any(device.exists() for device in _ACCELERATORS):
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))


def main(argv: list[str] | None = None) -> int:
    """Be the child: try one release under limits and say the verdict."""
    parser = argparse.ArgumentParser(prog="edge_agent.releases.trial", description="Try a release in this process.")
    parser.add_argument("agent", type=Path, help="the node's agent.toml")
    parser.add_argument("directory", type=Path, help="where the release lies")
    parser.add_argument("--line", required=True)
    parser.add_argument("--sha256", required=True, help="of its manifest")
    parser.add_argument("--uncached", action="store_true", help="neither use nor keep optimised graphs")
    options = parser.parse_args(argv)
    try:
        agent, lines = load_agent(options.agent)
        _limit(agent.runtime.provider)
        outcome = try_release(
            options.directory,
            sha256=options.sha256,
            line=lines[options.line],
            runtime=agent.runtime,
            cached=not options.uncached,
            clock=SystemClock(),
            step=lambda done, total: _say(Doing(done, total)),
        )
    except ConfigError as error:
        verdict = Verdict(passed=False, reason=str(error), blamed=False)
    except WinnowError as error:
        verdict = Verdict(passed=False, reason=str(error))
    except MemoryError:
        verdict = Verdict(passed=False, reason="it asks for more memory than a trial may have")
    else:
        verdict = Verdict(passed=True, outcome=outcome)
    _say(verdict)
    return 0 if verdict.passed else 1


def _say(message: Doing | Verdict) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(message) + b"\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
