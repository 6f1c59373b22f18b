"""Graphs on the device: the one door to onnxruntime.

A graph is made from bytes that passed ``verify``, never from a path. What onnxruntime says of broken bytes or
inputs comes out as a ``ReleaseError`` of one line; a provider that was asked for by name and did not come up
is refused.
"""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared.config import RuntimeTable
from shared.errors import ConfigError, ReleaseError
from shared.geometry import Image, PatchGrid

Floats = NDArray[np.float32]
Provider = Literal["cpu", "cuda"]

_CUDA: Final = "CUDAExecutionProvider"
_CPU: Final = "CPUExecutionProvider"
#: Pixels in one run: what it needs in memory grows with them, what it saves does not.
_RUN_PIXELS: Final = 1 << 21


class Graph:
    """One verified graph, ready to run; several threads may share it."""

    def __init__(self, data: bytes, runtime: RuntimeTable, *, what: str) -> None:
        self.what = what
        self._session = _session(data, runtime, what=what)
        self.provider: Provider = "cuda" if self._session.get_providers()[0] == _CUDA else "cpu"
        if runtime.provider == "cuda" and self.provider != "cuda":
            raise ConfigError(
                f'{what}: runtime.provider is "cuda", onnxruntime runs it on the CPU; install winnow[gpu] and the driver, or set "auto"'
            )

    def check_input(self, name: str, side_px: int, channels: int) -> None:
        """Refuse a graph that does not eat uint8 images of this size."""
        found = [(entry.name, entry.type, list(entry.shape[1:])) for entry in self._session.get_inputs()]
        expected = (name, "tensor(uint8)", [side_px, side_px, channels])
        if found != [expected]:
            raise ReleaseError(f"{self.what}: inputs {found}, expected {expected}; it is not used")

    def check_outputs(self, *names: str) -> None:
        """Refuse a graph without these outputs."""
        found = {entry.name for entry in self._session.get_outputs()}
        if missing := set(names) - found:
            raise ReleaseError(f"{self.what}: no output {', '.join(sorted(missing))}; it is not used")

    def run(self, name: str, images: Image, output: str) -> Floats:
        """Run images ``(n, h, w, c)`` through the graph and return one of its outputs."""
        step = max(1, _RUN_PIXELS // (images.shape[1] * images.shape[2]))
        try:
            parts = [
                self._session.run([output], {name: images[start : start + step]})[0]
                for start in range(0, len(images), step)
            ]
        except Exception as error:  # noqa: BLE001  # onnxruntime's errors share no class of their own
            raise ReleaseError(f"{self.what}: {_one_line(error)}; the frame is not judged") from None
        return np.concatenate(parts) if len(parts) > 1 else np.asarray(parts[0])


@dataclass(frozen=True, slots=True)
class TaskGraph:
    """Scores of tiles' patches."""

    graph: Graph
    grid: PatchGrid

    @classmethod
    def open(cls, data: bytes, grid: PatchGrid, runtime: RuntimeTable, *, what: str) -> "TaskGraph":
        """Make the graph and check that it fits the line's tiles."""
        graph = Graph(data, runtime, what=what)
        graph.check_input("tiles", grid.tile_px, grid.channels)
        graph.check_outputs("score")
        return cls(graph, grid)

    def scores(self, tiles: Image) -> Floats:
        """Score tiles ``(n, tile_px, tile_px, c)``: ``(n, g, g)`` in [0, 1]."""
        side = self.grid.patches_per_side
        found = self.graph.run("tiles", tiles, "score")
        if found.shape != (len(tiles), side, side) or not np.isfinite(found).all():
            raise ReleaseError(
                f"{self.graph.what}: scores of shape {found.shape} for {len(tiles)} tiles of {side} x {side} patches, or not finite; the frame is not judged"
            )
        return np.clip(found, 0.0, 1.0)


@dataclass(frozen=True, slots=True)
class SpaceGraph:
    """Embeddings of patches."""

    graph: Graph
    dim: int

    @classmethod
    def open(cls, data: bytes, grid: PatchGrid, runtime: RuntimeTable, *, dim: int, what: str) -> "SpaceGraph":
        """Make the graph and check that it fits the line's patches."""
        graph = Graph(data, runtime, what=what)
        graph.check_input("patches", grid.patch_px, grid.channels)
        graph.check_outputs("embedding")
        return cls(graph, dim)

    def embed(self, patches: Image) -> Floats:
        """Describe patches ``(m, patch_px, patch_px, c)``: ``(m, dim)``, rows of length one."""
        if len(patches) == 0:
            return np.zeros((0, self.dim), dtype=np.float32)
        found = self.graph.run("patches", patches, "embedding")
        if found.shape != (len(patches), self.dim) or not np.isfinite(found).all():
            raise ReleaseError(
                f"{self.graph.what}: embeddings of shape {found.shape} for {len(patches)} patches in {self.dim} dimensions, or not finite; the frame is not judged"
            )
        return found


def _session(data: bytes, runtime: RuntimeTable, *, what: str) -> Any:
    try:
        import onnxruntime  # noqa: PLC0415  # a node without a release starts without it, and a missing extra is named
    except ImportError:
        raise ConfigError(
            "onnxruntime: not installed; install winnow[edge,cpu] or winnow[edge,gpu] on this node"
        ) from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = runtime.threads
    options.inter_op_num_threads = 1
    # The arena keeps what the largest run ever needed: 1.1 GB instead of 0.6 for a 1024-pixel U-Net, and no faster.
    options.enable_cpu_mem_arena = False
    # Spinning threads take the cores that the other cameras and the courier need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Fatal alone: what is wrong is said by us, once.
    options.log_severity_level = 4
    with_cuda = runtime.provider != "cpu" and _CUDA in onnxruntime.get_available_providers()
    providers = [_CUDA, _CPU] if with_cuda else [_CPU]
    try:
        session = onnxruntime.InferenceSession(data, options, providers=providers)
        # Otherwise a failing run moves to the CPU without a word.
        session.disable_fallback()
    except Exception as error:  # noqa: BLE001  # onnxruntime's errors share no class of their own
        raise ReleaseError(f"{what}: onnxruntime says: {_one_line(error)}; it is not used") from None
    return session


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
