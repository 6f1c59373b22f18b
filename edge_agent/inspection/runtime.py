"""Graphs on the device: the one door to onnxruntime.

A graph is made from bytes that passed ``verify``, never from a path. What onnxruntime says of broken bytes or
inputs comes out as a ``ReleaseError`` of one line. What runs is asked of the session, not believed of the list of what
was compiled in: a provider that was asked for by name and did not come up is refused, or said where the node is told to go
on (``strict = false``).
"""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edge_agent.inspection.graph_cache import GraphCache, cache_key
from edge_agent.log import LOG
from shared.config import RuntimeTable
from shared.errors import ConfigError, ReleaseError
from shared.geometry import Image, PatchGrid
from shared.identity import sha256_hex
from shared.precision import Provider
from shared.processor import processor_name

Floats = NDArray[np.float32]

#: What each provider is to onnxruntime, and how it is asked. TensorRT would be one more line, before CUDA.
_NAMES: Final[Mapping[Provider, str]] = {"cuda": "CUDAExecutionProvider", "cpu": "CPUExecutionProvider"}
_OPTIONS: Final[Mapping[Provider, Mapping[str, str]]] = {
    # Shapes are fixed, so the search for the fastest convolution is not worth a slow first frame; float32 means float32.
    "cuda": {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
    "cpu": {},
}
#: Where a GPU's driver says what it drives.
_NVIDIA: Final = Path("/proc/driver/nvidia/gpus")
#: Pixels in one run: what it needs in memory grows with them, what it saves does not.
_RUN_PIXELS: Final = 1 << 21


class Graph:
    """One verified graph, ready to run; several threads may share it."""

    def __init__(self, data: bytes, runtime: RuntimeTable, *, what: str, cache: GraphCache | None = None) -> None:
        """Make a session; with a cache from what was optimised before, or by optimising it now."""
        self.what = what
        self._session, self.provider = _best_session(data, runtime, what=what, cache=cache)
        _check_provider(runtime, self.provider, what=what)

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

    def run(self, name: str, images: Image, output: str) -> NDArray[Any]:
        """Run images ``(n, h, w, c)`` through the graph and return one of its outputs."""
        step = max(1, _RUN_PIXELS // (images.shape[1] * images.shape[2]))
        run_some = self._run_plain if self.provider == "cpu" else self._run_bound
        try:
            parts = [run_some(name, images[start : start + step], output) for start in range(0, len(images), step)]
        except Exception as error:  # noqa: BLE001  # onnxruntime's errors share no class of their own
            raise ReleaseError(f"{self.what}: {_one_line(error)}; the frame is not judged") from None
        return np.concatenate(parts) if len(parts) > 1 else np.asarray(parts[0])

    def _run_plain(self, name: str, images: Image, output: str) -> Any:
        return self._session.run([output], {name: images})[0]

    def _run_bound(self, name: str, images: Image, output: str) -> Any:
        """Run with the input on the device and only the output asked for brought back."""
        value = _onnxruntime().OrtValue.ortvalue_from_numpy(np.ascontiguousarray(images), self.provider, 0)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(name, value)
        binding.bind_output(output, self.provider)
        self._session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()[0]


@dataclass(frozen=True, slots=True)
class TaskGraph:
    """Scores of tiles' patches."""

    graph: Graph
    grid: PatchGrid

    @classmethod
    def open(
        cls, data: bytes, grid: PatchGrid, runtime: RuntimeTable, *, what: str, cache: GraphCache | None = None
    ) -> "TaskGraph":
        """Make the graph and check that it fits the line's tiles."""
        graph = Graph(data, runtime, what=what, cache=cache)
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
        scores: Floats = np.clip(found, 0.0, 1.0)
        return scores


@dataclass(frozen=True, slots=True)
class MaskGraph:
    """The class of every pixel of tiles; loaded when somebody asks for masks."""

    graph: Graph
    grid: PatchGrid

    @classmethod
    def open(cls, data: bytes, grid: PatchGrid, runtime: RuntimeTable, *, what: str) -> "MaskGraph":
        """Make the graph and check that it fits the line's tiles."""
        graph = Graph(data, runtime, what=what)
        graph.check_input("tiles", grid.tile_px, grid.channels)
        graph.check_outputs("mask")
        return cls(graph, grid)

    def masks(self, tiles: Image) -> Image:
        """Say the classes of tiles ``(n, tile_px, tile_px, c)``: ``(n, tile_px, tile_px)`` uint8."""
        found = self.graph.run("tiles", tiles, "mask")
        if found.shape != tiles.shape[:3] or found.dtype != np.uint8:
            raise ReleaseError(
                f"{self.graph.what}: masks {found.dtype} of shape {found.shape} for tiles of shape {tiles.shape}; they are not used"
            )
        return found


@dataclass(frozen=True, slots=True)
class SpaceGraph:
    """Embeddings of patches."""

    graph: Graph
    dim: int

    @classmethod
    def open(
        cls,
        data: bytes,
        grid: PatchGrid,
        runtime: RuntimeTable,
        *,
        dim: int,
        what: str,
        cache: GraphCache | None = None,
    ) -> "SpaceGraph":
        """Make the graph and check that it fits the line's patches."""
        graph = Graph(data, runtime, what=what, cache=cache)
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


def first_provider(runtime: RuntimeTable) -> Provider:
    """Say which provider is tried first; whether it runs only a session can tell."""
    if runtime.provider == "cpu" or _NAMES["cuda"] not in _onnxruntime().get_available_providers():
        return "cpu"
    return "cuda"


def versions() -> dict[str, str]:
    """Name the runtime that is installed, by package; both at once overwrite each other's files."""
    found = {}
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def device_name(provider: Provider) -> str:
    """Name what a provider computes on: another one needs graphs optimised anew."""
    if provider == "cpu":
        return processor_name()
    lines = [line for path in sorted(_NVIDIA.glob("*/information")) for line in path.read_text().splitlines()]
    return ", ".join(line.partition(":")[2].strip() for line in lines if line.startswith("Model")) or "GPU"


def running(session: Any) -> Provider:
    """Say what a session runs on."""
    return "cuda" if session.get_providers()[0] == _NAMES["cuda"] else "cpu"


def _check_provider(runtime: RuntimeTable, provider: Provider, *, what: str) -> None:
    if runtime.provider in {"auto", provider}:
        return
    fault = f'{what}: runtime.provider is "{runtime.provider}", onnxruntime runs it on {provider}'
    if runtime.strict:
        raise ConfigError(f'{fault}; install winnow[gpu] and the driver, or set provider to "auto"')
    LOG.warning("%s; the node goes on, runtime.strict is off", fault)


def _best_session(data: bytes, runtime: RuntimeTable, *, what: str, cache: GraphCache | None) -> tuple[Any, Provider]:
    """Make a session with the first provider that really runs it."""
    if first_provider(runtime) == "cuda":
        try:
            session = _session(data, runtime, "cuda", what=what, cache=cache)
        except ReleaseError as error:
            # A broken graph says so again on the CPU; anything else is the GPU's own trouble.
            LOG.warning("%s", error)
        else:
            if running(session) == "cuda":
                return session, "cuda"
    return _session(data, runtime, "cpu", what=what, cache=cache), "cpu"


def _session(data: bytes, runtime: RuntimeTable, provider: Provider, *, what: str, cache: GraphCache | None) -> Any:
    ort = _onnxruntime()
    if cache is None:
        return _open(data, _options(runtime), provider, what=what)
    # The vendor's graphs for one processor may not run on another.
    key = cache_key(sha256_hex(data), ort.__version__, provider, device_name(provider))
    kept = cache.find(key)
    if kept is None:
        kept = _optimised(data, runtime, provider, key=key, what=what, cache=cache)
    if kept is not None:
        try:
            return _open_kept(kept, runtime, provider, what=what)
        except ReleaseError as error:
            LOG.warning("%s; the optimised graph is thrown away, the release's own runs", error)
            cache.drop(key)
    return _open(data, _options(runtime), provider, what=what)


def _optimised(
    data: bytes, runtime: RuntimeTable, provider: Provider, *, key: str, what: str, cache: GraphCache
) -> bytes | None:
    """Optimise a graph and return what was kept of it: whoever made it runs what every later start will run."""

    def make(path: Path) -> None:
        options = _options(runtime)
        options.optimized_model_filepath = str(path)
        _open(data, options, provider, what=what)

    try:
        return cache.find(key) if cache.keep(key, make) else None
    except ReleaseError:
        # Either the graph is broken, which shows again, or the file could not be written.
        return None


def _open_kept(kept: bytes, runtime: RuntimeTable, provider: Provider, *, what: str) -> Any:
    options = _options(runtime)
    options.graph_optimization_level = _onnxruntime().GraphOptimizationLevel.ORT_DISABLE_ALL
    return _open(kept, options, provider, what=what)


def _open(data: bytes, options: Any, provider: Provider, *, what: str) -> Any:
    # The CPU stands behind every provider: for the odd operation that it lacks.
    wanted: list[Provider] = ["cpu"] if provider == "cpu" else [provider, "cpu"]
    asked = [(_NAMES[name], dict(_OPTIONS[name])) for name in wanted]
    try:
        # Without a fallback: otherwise what fails moves to the CPU without a word.
        session = _onnxruntime().InferenceSession(data, options, providers=asked, enable_fallback=0)
        session.disable_fallback()
    except Exception as error:  # noqa: BLE001  # onnxruntime's errors share no class of their own
        raise ReleaseError(f"{what}: onnxruntime says: {_one_line(error)}; it is not used") from None
    return session


def _options(runtime: RuntimeTable) -> Any:
    options = _onnxruntime().SessionOptions()
    options.intra_op_num_threads = runtime.threads
    options.inter_op_num_threads = 1
    # The arena keeps what the largest run ever needed: 1.1 GB instead of 0.6 for a 1024-pixel U-Net, and no faster.
    options.enable_cpu_mem_arena = False
    # Spinning threads take the cores that the other cameras and the courier need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Fatal alone: what is wrong is said by us, once.
    options.log_severity_level = 4
    return options


def _onnxruntime() -> Any:
    try:
        import onnxruntime  # noqa: PLC0415  # a node without a release starts without it, and a missing extra is named
    except ImportError:
        raise ConfigError(
            "onnxruntime: not installed; install winnow[edge,cpu] or winnow[edge,gpu] on this node"
        ) from None
    return onnxruntime


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
