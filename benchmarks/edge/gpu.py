"""What only a GPU can show: the task graph beside raw logits with host post-processing, and the whole agent's frame rate."""

import time
from statistics import median
from typing import Any

import numpy as np
import onnx

from benchmarks.edge.agent import own_time
from edge_agent.inspection.runtime import Graph
from shared.config import RuntimeTable
from shared.errors import ConfigError
from shared.geometry import Image, PatchGrid

#: Rows of logits that stay in a processor's cache while they are worked on: the fastest of the host codes we tried.
_ROWS = 32


def demand() -> None:
    """Refuse, with what runs instead, a machine on which CUDA does not run."""
    open_on_gpu(_smallest(), "the smallest graph")


def open_on_gpu(data: bytes, what: str) -> Graph:
    """Open a graph on CUDA and nowhere else."""
    try:
        return Graph(data, RuntimeTable(provider="cuda"), what=what)
    except ConfigError as error:
        raise ConfigError(f"edge benchmark: {error}; nothing was measured") from None


def _smallest() -> bytes:
    kind, shape = onnx.TensorProto.UINT8, ["n"]
    tiles, same = (onnx.helper.make_tensor_value_info(name, kind, shape) for name in ("tiles", "same"))
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["tiles"], ["same"])], "same", [tiles], [same])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    return bytes(model.SerializeToString())


def measure(
    graphs: dict[str, bytes], grid: PatchGrid, tile: Image, frames: list[Image], *, repeats: int
) -> dict[str, Any]:
    """Time both ways to the same scores, and the whole agent; wall time, because the processor waits for the GPU."""
    task, bare = open_on_gpu(graphs["stride2"], "task graph"), open_on_gpu(graphs["bare"], "bare graph")
    times: dict[str, list[float]] = {"task": [], "host": []}
    for number in range(repeats + 1):
        began = time.perf_counter()
        task.run("tiles", tile, "score")
        between = time.perf_counter()
        host_scores(bare.run("tiles", tile, "logits"), grid)
        ended = time.perf_counter()
        if number:
            times["task"].append(between - began)
            times["host"].append(ended - between)
    agent = own_time(graphs["stride2"], frames, tile_classes(graphs), runtime=RuntimeTable(provider="cuda"))
    return {
        "task_ms": 1000 * median(times["task"]),
        "host_ms": 1000 * median(times["host"]),
        "host_over_task": median(b / a for a, b in zip(times["task"], times["host"], strict=True)),
        "agent_frames_per_s": agent["frames_per_s"],
        "agent_own_ms": agent["own_ms"],
    }


def tile_classes(graphs: dict[str, bytes]) -> int:
    """Say how many classes the network has, as its bare graph tells."""
    graph = Graph(graphs["bare"], RuntimeTable(provider="cpu", threads=1), what="bare graph")
    return int(graph._session.get_outputs()[0].shape[1])  # noqa: SLF001  # asked, not run


def host_scores(logits: np.ndarray[Any, Any], grid: PatchGrid) -> np.ndarray[Any, Any]:
    """Compute the scores from raw logits with numpy, some rows at a time."""
    entropy = np.empty((len(logits), *logits.shape[2:]), dtype=np.float32)
    for top in range(0, logits.shape[2], _ROWS):
        part = logits[:, :, top : top + _ROWS]
        below = part - part.max(axis=1, keepdims=True)
        weight = np.exp(below)
        total = weight.sum(axis=1)
        entropy[:, top : top + _ROWS] = np.log(total) - (weight * below).sum(axis=1) / total
    side, start, cells = grid.patches_per_side, grid.inset_px, grid.patch_px // grid.cell_px
    inner = entropy[:, start : start + side * grid.patch_px, start : start + side * grid.patch_px]
    means = inner.reshape(len(inner), side, cells, grid.cell_px, side, cells, grid.cell_px).mean(axis=(3, 6))
    return means.max(axis=(2, 4)) / np.log(logits.shape[1])
