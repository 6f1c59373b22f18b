"""How many patches a second the stream filter judges, its memory full, every patch embedded: nothing passes for free."""

import time
import tracemalloc
from typing import Final

import numpy as np

from edge_agent.stream.filter import StreamFilter
from shared.config import BudgetTable, FilterTable, SelectionTable
from shared.release import SpaceEntry

PATCHES: Final = 64
#: Embeddings of a camera's patches lie near a surface of few dimensions.
_SURFACE: Final = 20


def measure(dim: int, *, frames: int) -> dict[str, float]:
    """Judge frames of 64 patches with 1,024 embeddings in memory; by CPU time, so that neighbours do not count."""
    rng = np.random.default_rng(0)
    surface = rng.normal(size=(_SURFACE, dim))

    def rows(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        found = rng.normal(size=(count, _SURFACE)) @ surface / np.sqrt(_SURFACE) + 0.3 * rng.normal(size=(count, dim))
        return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)

    budget = BudgetTable(patches_per_hour=3600.0, burst=50)
    stream_filter = StreamFilter(budget, FilterTable(gate_share=1.0), SelectionTable(), rng=rng)
    stream_filter.swap(scored=False, space=SpaceEntry(id="0" * 64, dim=dim, tau=0.2), labelled=rows(1024))
    shown = [rows(PATCHES) for _ in range(16)]
    sent = 0
    for frame in range(10):
        _judge(stream_filter, shown[frame % 16], frame)
    began = time.process_time()
    for frame in range(10, 10 + frames):
        sent += _judge(stream_filter, shown[frame % 16], frame)
    took_s = time.process_time() - began
    tracemalloc.start()
    for frame in range(10 + frames, 30 + frames):
        _judge(stream_filter, shown[frame % 16], frame)
    grown, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {
        "patches_per_s": frames * PATCHES / took_s,
        "sent": float(sent),
        "grown_kib": grown / 1024,
        "peak_kib": peak / 1024,
    }


def _judge(stream_filter: StreamFilter, rows: np.ndarray[tuple[int, ...], np.dtype[np.float32]], frame: int) -> int:
    screening = stream_filter.screen(float(frame), len(rows), None)
    return sum(verdict.accepted for verdict in stream_filter.judge(float(frame), screening, rows[screening.wanted]))
