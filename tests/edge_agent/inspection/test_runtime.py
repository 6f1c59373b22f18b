from collections.abc import Callable

import numpy as np
import onnxruntime
import pytest

from edge_agent.inspection import runtime
from edge_agent.inspection.runtime import Graph, SpaceGraph, TaskGraph, first_provider
from shared.config import LineConfig, RuntimeTable
from shared.errors import ConfigError, ReleaseError
from shared.geometry import Patch, PatchGrid

CPU = RuntimeTable(provider="cpu", threads=1)


def test_scores_come_back_in_the_frames_grid(line: LineConfig, build_task: Callable[..., bytes]) -> None:
    """Checked against the mean of each patch, cut from the frame itself."""
    grid = line.grid
    frame = np.random.default_rng(0).integers(0, 255, (150, 100, 1), dtype=np.uint8)
    task = TaskGraph.open(build_task(grid), grid, CPU, what="task graph")

    found = grid.frame_scores(task.scores(grid.tiles(frame)), 150, 100)

    expected = [[grid.patch(frame, Patch(row, col)).mean() / 255 for col in range(4)] for row in range(5)]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_many_tiles_go_through_in_several_runs_with_the_same_answers(
    line: LineConfig, build_task: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiles = np.random.default_rng(1).integers(0, 255, (7, 96, 96, 1), dtype=np.uint8)
    task = TaskGraph.open(build_task(line.grid), line.grid, CPU, what="task graph")
    at_once = task.scores(tiles)

    monkeypatch.setattr(runtime, "_RUN_PIXELS", 3 * 96 * 96)

    np.testing.assert_array_equal(task.scores(tiles), at_once)


def test_embeddings_have_length_one(line: LineConfig, build_space: Callable[..., bytes]) -> None:
    patches = np.random.default_rng(2).integers(0, 255, (5, 32, 32, 1), dtype=np.uint8)
    space = SpaceGraph.open(build_space(line.grid), line.grid, CPU, dim=16, what="space graph")

    np.testing.assert_allclose(np.linalg.norm(space.embed(patches), axis=1), 1.0, atol=1e-6)
    assert space.embed(patches[:0]).shape == (0, 16)


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_broken_bytes_are_refused_in_one_line(line: LineConfig, build_task: Callable[..., bytes], damage: str) -> None:
    whole = build_task(line.grid)
    data = {"empty": b"", "text": b"this is no graph", "cut": whole[: len(whole) // 2]}[damage]

    with pytest.raises(ReleaseError, match="task graph: onnxruntime says") as refused:
        TaskGraph.open(data, line.grid, CPU, what="task graph")

    assert "\n" not in str(refused.value)


def test_a_graph_for_other_sizes_is_refused(line: LineConfig, build_task: Callable[..., bytes]) -> None:
    other = PatchGrid(tile_px=128, patch_px=32, margin_px=16, cell_px=8)

    with pytest.raises(ReleaseError, match=r"128, 128, 1.*expected.*96, 96, 1"):
        TaskGraph.open(build_task(other), line.grid, CPU, what="task graph")


def test_a_graph_of_another_kind_is_refused(line: LineConfig, build_space: Callable[..., bytes]) -> None:
    with pytest.raises(ReleaseError, match="patches"):
        TaskGraph.open(build_space(line.grid), line.grid, CPU, what="task graph")


def test_scores_that_are_no_numbers_are_refused(line: LineConfig, build_task: Callable[..., bytes]) -> None:
    task = TaskGraph.open(build_task(line.grid, bias=float("nan")), line.grid, CPU, what="task graph")

    with pytest.raises(ReleaseError, match="not finite"):
        task.scores(np.zeros((1, 96, 96, 1), dtype=np.uint8))


def test_scores_are_held_within_zero_and_one(line: LineConfig, build_task: Callable[..., bytes]) -> None:
    task = TaskGraph.open(build_task(line.grid, bias=-0.5), line.grid, CPU, what="task graph")

    assert task.scores(np.zeros((1, 96, 96, 1), dtype=np.uint8)).min() == 0.0


def test_embeddings_of_another_dimension_are_refused(line: LineConfig, build_space: Callable[..., bytes]) -> None:
    space = SpaceGraph.open(build_space(line.grid), line.grid, CPU, dim=8, what="space graph")

    with pytest.raises(ReleaseError, match=r"shape \(1, 16\).*in 8 dimensions"):
        space.embed(np.zeros((1, 32, 32, 1), dtype=np.uint8))


def test_inputs_the_graph_cannot_eat_end_at_the_door(line: LineConfig, build_task: Callable[..., bytes]) -> None:
    graph = Graph(build_task(line.grid), CPU, what="task graph")

    with pytest.raises(ReleaseError, match=r"task graph: .*; the frame is not judged"):
        graph.run("tiles", np.zeros((1, 64, 64, 1), dtype=np.uint8), "score")


def test_the_provider_asked_for_is_the_one_that_runs_or_it_is_refused(
    line: LineConfig, build_task: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    data = build_task(line.grid)
    automatic = Graph(data, RuntimeTable(provider="auto"), what="task graph")
    if automatic.provider == "cuda":
        assert Graph(data, RuntimeTable(provider="cuda"), what="task graph").provider == "cuda"
        return

    with pytest.raises(ConfigError, match=r'runtime\.provider is "cuda", onnxruntime runs it on cpu'):
        Graph(data, RuntimeTable(provider="cuda"), what="task graph")

    assert not caplog.records


def test_a_node_that_may_go_on_says_that_another_provider_runs(
    line: LineConfig, build_task: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    data = build_task(line.grid)

    graph = Graph(data, RuntimeTable(provider="cuda", strict=False), what="task graph")

    if graph.provider == "cpu":
        assert 'runtime.provider is "cuda", onnxruntime runs it on cpu; the node goes on' in caplog.text


def test_a_provider_that_is_compiled_in_and_does_not_run_is_not_believed(
    line: LineConfig, build_task: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """onnxruntime-gpu without a driver lists CUDA and silently takes the CPU."""
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    assert first_provider(RuntimeTable()) == "cuda"

    graph = Graph(build_task(line.grid), RuntimeTable(threads=1), what="task graph")

    assert graph.provider == runtime.running(graph._session)
    if graph.provider == "cpu":
        with pytest.raises(ConfigError, match="runs it on cpu"):
            Graph(build_task(line.grid), RuntimeTable(provider="cuda"), what="task graph")


def test_bound_inputs_and_outputs_give_the_same_answers(line: LineConfig, build_task: Callable[..., bytes]) -> None:
    """What a GPU runs through, run on the CPU."""
    tiles = np.random.default_rng(3).integers(0, 255, (5, 96, 96, 1), dtype=np.uint8)
    graph = Graph(build_task(line.grid), CPU, what="task graph")

    np.testing.assert_array_equal(graph._run_bound("tiles", tiles, "score"), graph.run("tiles", tiles, "score"))


@pytest.mark.gpu
def test_a_gpu_runs_the_graph_and_says_so(line: LineConfig, build_task: Callable[..., bytes]) -> None:
    tiles = np.random.default_rng(3).integers(0, 255, (5, 96, 96, 1), dtype=np.uint8)
    data = build_task(line.grid)
    graph = Graph(data, RuntimeTable(provider="cuda"), what="task graph")

    assert graph.provider == "cuda"
    found, wanted = graph.run("tiles", tiles, "score"), Graph(data, CPU, what="task graph").run("tiles", tiles, "score")
    np.testing.assert_allclose(found, wanted, atol=1e-4)
