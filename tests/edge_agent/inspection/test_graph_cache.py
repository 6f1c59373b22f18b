"""Optimised graphs on disk: made once, found again, made anew when they are not whole."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edge_agent.inspection.graph_cache import GraphCache, cache_key
from edge_agent.inspection.runtime import Graph, TaskGraph, device_name
from shared.config import LineConfig, RuntimeTable
from shared.errors import ReleaseError
from shared.identity import sha256_hex

CPU = RuntimeTable(provider="cpu", threads=1)
KEY = cache_key("graph", "1.32.0", "cpu", "a processor")


def writes(data: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def test_what_is_kept_is_found_under_its_key_alone(tmp_path: Path) -> None:
    cache = GraphCache(tmp_path / "optimised")

    assert cache.find(KEY) is None
    assert cache.keep(KEY, writes(b"optimised"))

    assert cache.find(KEY) == b"optimised"
    for other in (("another", "1.32.0", "cpu", "a processor"), ("graph", "1.33.0", "cpu", "a processor")):
        assert cache.find(cache_key(*other)) is None
    assert [path.suffix for path in (tmp_path / "optimised").iterdir()] == [".onnx"]


def test_parts_of_a_key_cannot_run_into_each_other() -> None:
    assert cache_key("ab", "c") != cache_key("a", "bc")


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty"])
def test_a_damaged_file_is_thrown_away_and_made_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = GraphCache(tmp_path)
    cache.keep(KEY, writes(b"optimised"))
    (file,) = tmp_path.iterdir()
    file.write_bytes({"flipped": b"optimisee", "cut": b"optim", "empty": b""}[damage])

    with caplog.at_level(logging.WARNING):
        assert cache.find(KEY) is None

    assert "not what it was when it was written; the graph is optimised again" in caplog.text
    assert not list(tmp_path.iterdir())
    assert cache.keep(KEY, writes(b"optimised"))
    assert cache.find(KEY) == b"optimised"


def test_a_disk_that_takes_nothing_costs_the_cache_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "optimised"
    blocked.write_bytes(b"a file where the folder should be")

    with caplog.at_level(logging.WARNING):
        assert not GraphCache(blocked).keep(KEY, writes(b"optimised"))

    assert "the graph is optimised at every start" in caplog.text
    assert blocked.read_bytes() == b"a file where the folder should be"


def test_a_graph_from_the_cache_answers_as_the_one_it_was_made_of(
    line: LineConfig, build_task: Callable[..., bytes], tmp_path: Path
) -> None:
    data, grid, cache = build_task(line.grid), line.grid, GraphCache(tmp_path)
    tiles = np.random.default_rng(1).integers(0, 255, (3, 96, 96, 1), dtype=np.uint8)
    wanted = TaskGraph.open(data, grid, CPU, what="task graph").scores(tiles)

    first = TaskGraph.open(data, grid, CPU, what="task graph", cache=cache)
    (file,) = tmp_path.iterdir()
    written = file.stat().st_mtime_ns
    second = TaskGraph.open(data, grid, CPU, what="task graph", cache=cache)

    assert [path.stat().st_mtime_ns for path in tmp_path.iterdir()] == [written]
    assert file.read_bytes() != data
    for task in (first, second):
        np.testing.assert_allclose(task.scores(tiles), wanted, atol=1e-6)


def test_a_corrupt_file_in_the_cache_is_made_again_by_the_graph_that_needs_it(
    line: LineConfig, build_task: Callable[..., bytes], tmp_path: Path
) -> None:
    data, cache = build_task(line.grid), GraphCache(tmp_path)
    TaskGraph.open(data, line.grid, CPU, what="task graph", cache=cache)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])

    TaskGraph.open(data, line.grid, CPU, what="task graph", cache=cache)

    assert [path.read_bytes() for path in tmp_path.iterdir()] == [whole]


def test_whoever_optimises_a_graph_runs_what_was_kept(
    line: LineConfig, build_task: Callable[..., bytes], tmp_path: Path
) -> None:
    """The trial optimises: what answers the golden tiles there is what inspection loads later."""
    data, cache = build_task(line.grid), GraphCache(tmp_path)

    first, later = (Graph(data, CPU, what="task graph", cache=cache) for _ in range(2))

    for graph in (first, later):
        level = graph._session.get_session_options().graph_optimization_level
        assert level == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL


def test_a_kept_graph_that_does_not_open_is_thrown_away_and_the_releases_own_runs(
    line: LineConfig, build_task: Callable[..., bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, cache = build_task(line.grid), GraphCache(tmp_path)
    cache.keep(cache_key(sha256_hex(data), onnxruntime.__version__, "cpu", device_name("cpu")), writes(b"no graph"))

    with caplog.at_level(logging.WARNING):
        task = TaskGraph.open(data, line.grid, CPU, what="task graph", cache=cache)

    assert task.scores(np.zeros((1, 96, 96, 1), dtype=np.uint8)).shape == (1, 2, 2)
    assert "the optimised graph is thrown away, the release's own runs" in caplog.text
    assert not list(tmp_path.iterdir())


def test_a_broken_graph_is_refused_and_leaves_nothing_in_the_cache(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="onnxruntime says"):
        Graph(b"no graph", CPU, what="task graph", cache=GraphCache(tmp_path))

    assert not list(tmp_path.iterdir())


def test_a_graph_runs_where_its_cache_cannot_be_written(
    line: LineConfig, build_task: Callable[..., bytes], tmp_path: Path
) -> None:
    blocked = tmp_path / "optimised"
    blocked.write_bytes(b"a file where the folder should be")

    task = TaskGraph.open(build_task(line.grid), line.grid, CPU, what="task graph", cache=GraphCache(blocked))

    assert task.scores(np.zeros((1, 96, 96, 1), dtype=np.uint8)).shape == (1, 2, 2)


def test_a_damaged_file_on_a_disk_that_takes_nothing_is_said_and_the_graph_made_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = GraphCache(tmp_path)
    assert cache.keep(KEY, writes(b"optimised"))
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"damaged")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "unlink", refused)

    assert cache.find(KEY) is None
    assert f"{path}: Read-only file system; it stays" in caplog.text


def test_a_place_that_cannot_be_looked_into_has_no_graphs(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert GraphCache(tmp_path / ("x" * 300)).find(KEY) is None

    assert "File name too long; the graph is optimised again" in caplog.text
