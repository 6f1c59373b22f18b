"""The edge benchmark: refuses what it cannot measure, names what is missed, and the stride's claim on tiny defects."""

import sys

import numpy as np
import onnxruntime
import pytest
import torch

from benchmarks.edge import __main__ as edge
from benchmarks.edge.gpu import host_scores
from benchmarks.edge.network import trained
from benchmarks.edge.tiny import CLASSES, GRID, NETWORKS, SCALE, compare
from shared.geometry import PatchGrid
from shared.steel_line import SteelLine
from trainer.acquisition.aggregation import PatchScores
from trainer.acquisition.entropy import PixelEntropy


def test_without_a_gpu_its_rows_are_refused_and_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime lists CUDA")
    monkeypatch.setattr(sys, "argv", ["edge", "--provider", "cuda", "--json", "--check"])

    status = edge.main()

    said = capsys.readouterr()
    assert status == 2
    assert said.out == ""
    assert 'runtime.provider is "cuda", onnxruntime runs it on cpu' in said.err
    assert "nothing was measured" in said.err


@pytest.mark.parametrize(("value", "missed"), [(0.999, False), (1.0, False), (1.001, True), (float("nan"), True)])
def test_a_target_is_missed_beyond_its_bound_and_by_what_is_no_number(value: float, missed: bool) -> None:
    assert edge.Target("stride2", "", most=1.0).misses(value) is missed


def test_every_target_has_one_bound() -> None:
    assert all((target.least is None) != (target.most is None) for target in edge.TARGETS)


def test_the_host_s_scores_are_the_graph_s() -> None:
    """What the task graph is raced against on a GPU must compute the same."""
    grid = PatchGrid(tile_px=96, patch_px=32, margin_px=16, cell_px=8)
    logits = np.random.default_rng(1).normal(0, 3, (2, 5, 96, 96)).astype(np.float32)

    with torch.inference_mode():
        wanted, _, _ = PatchScores(grid, top_share=1 / 64, classes=5)(PixelEntropy(5)(torch.from_numpy(logits)))

    np.testing.assert_allclose(host_scores(logits, grid), wanted.numpy(), atol=1e-5)


def test_tiny_defects_rank_by_every_second_pixel_as_by_every_pixel() -> None:
    """A short training; the benchmark holds longer ones of two networks to the same."""
    line = SteelLine(5, "tiny", height_px=GRID.tile_px, width_px=GRID.tile_px, classes=CLASSES, scale=SCALE)
    model = trained(NETWORKS["compact"], line, steps=40, images=16)

    found = compare(model, line, tiles=10)

    assert found["tiny"] >= 5
    assert found["spearman"] > 0.98
    assert found["auc_stride2"] > found["auc_stride1"] - 0.02
