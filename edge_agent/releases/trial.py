"""The trial: a release is loaded and asked its golden tiles in a child process before inspection sees it.

A graph that is signed and whole can still kill the process that loads it, never answer, or ask for all memory.
The child has limits on processor time, memory, files and core dumps, and a deadline; whatever becomes of it,
the node only reads its verdict.
"""

import argparse
import ctypes
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from edge_agent.child import describe
from edge_agent.releases.shelf import check
from shared.config import LineConfig, RuntimeTable, load_agent
from shared.errors import ConfigError, ReleaseError, WinnowError
from shared.files import read_bounded
from shared.golden import Golden, read_golden
from shared.release import Manifest, verify

Floats = NDArray[np.float32]

DEADLINE_S: Final = 90.0
_CPU_S: Final = 120
#: PR_SET_PDEATHSIG of linux/prctl.h.
_DIE_WITH_PARENT: Final = 1
#: Above what any graph of ours needs, below what would push other processes out of memory.
_MEMORY_BYTES: Final = 16 << 30
#: A driver for one of these reserves more address space than any limit would allow.
_ACCELERATORS: Final = (Path("/dev/nvidiactl"), Path("/dev/nvhost-ctrl-gpu"))


class Verdict(Struct, frozen=True):
    """What the child says, as one JSON line."""

    passed: bool
    reason: str = ""
    #: False when the node, not the release, is at fault.
    blamed: bool = True


def run_trial(directory: Path, *, sha256: str, line: str, agent_toml: Path, deadline_s: float = DEADLINE_S) -> None:
    """Try a release in a child process.

    A ``ReleaseError`` says why it did not pass, a ``ConfigError`` why this node cannot try anything.
    """
    # -B: the child may not write files, bytecode included.
    command = [sys.executable, "-B", "-m", "edge_agent.releases.trial", str(agent_toml), str(directory)]
    try:
        ended = subprocess.run(
            [*command, "--line", line, "--sha256", sha256],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=deadline_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ReleaseError(f"trial of {directory.name}: no answer within {deadline_s:.0f} s; it was ended") from None
    try:
        verdict = msgspec.json.decode(ended.stdout, type=Verdict)
    except msgspec.DecodeError:
        raise ReleaseError(f"trial of {directory.name}: the process {describe(ended.returncode)}") from None
    if not verdict.passed:
        kind = ReleaseError if verdict.blamed else ConfigError
        raise kind(f"trial of {directory.name}: {verdict.reason}")
    if ended.returncode != 0:
        raise ReleaseError(f"trial of {directory.name}: the process {describe(ended.returncode)} after it passed")


def try_release(directory: Path, *, sha256: str, line: LineConfig, runtime: RuntimeTable) -> None:
    """Verify every file, load the graphs and compare their answers to the golden ones, in this process."""
    from edge_agent.inspection.loading import LoadedRelease  # noqa: PLC0415  # the supervisor never loads the runtime

    manifest = check(directory, sha256=sha256, line=line.line)
    golden = _golden(directory, manifest)
    release = LoadedRelease.load(directory, manifest_sha256=sha256, line=line, runtime=runtime)
    allowed = manifest.tolerance
    if release.task is not None and golden.tiles is not None and golden.score is not None:
        _compare(release.task.scores(golden.tiles), golden.score, allowed=allowed, what="scores")
    if release.space is not None and golden.patches is not None and golden.embedding is not None:
        _compare(release.space.embed(golden.patches), golden.embedding, allowed=allowed, what="embeddings")


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


def _compare(found: Floats, expected: Floats, *, allowed: float, what: str) -> None:
    if found.shape != expected.shape:
        raise ReleaseError(f"golden {what}: shape {found.shape}, expected {expected.shape}")
    apart = float(np.abs(found - expected).max(initial=0.0))
    # Written so that a NaN does not pass.
    if not apart <= allowed:
        raise ReleaseError(f"golden {what}: {apart:.2e} apart, the release allows {allowed:.0e}")


def _limit(provider: str) -> None:
    # Nobody would read the verdict of a child whose supervisor is gone.
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
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
    options = parser.parse_args(argv)
    try:
        agent, lines = load_agent(options.agent)
        _limit(agent.runtime.provider)
        try_release(options.directory, sha256=options.sha256, line=lines[options.line], runtime=agent.runtime)
    except ConfigError as error:
        verdict = Verdict(passed=False, reason=str(error), blamed=False)
    except WinnowError as error:
        verdict = Verdict(passed=False, reason=str(error))
    except MemoryError:
        verdict = Verdict(passed=False, reason="it asks for more memory than a trial may have")
    else:
        verdict = Verdict(passed=True)
    sys.stdout.buffer.write(msgspec.json.encode(verdict) + b"\n")
    sys.stdout.flush()
    return 0 if verdict.passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
