"""Exported graphs say what the torch modules say, at any number of tiles, and say what they are."""

import json
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from shared.config import LearningTable
from shared.errors import ReleaseError
from shared.geometry import PatchGrid
from shared.identity import sha256_hex
from shared.release import verify
from trainer.acquisition.scoring import FORMULA, MaskGraph, TaskGraph
from trainer.learning.model import build_model
from trainer.release.graph import export_mask, export_space, export_task, read_metadata
from trainer.release.parity import check_parity, run_graph


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_the_task_graph_scores_any_number_of_tiles_as_torch_does(built: Any, count: int) -> None:
    tiles = built.pixels(count, 160, seed=count)

    found = run_graph(built.task, tiles, what="task graph")

    with torch.inference_mode():
        wanted = TaskGraph(built.model, built.line.grid, top_share=1 / 16).eval()(torch.from_numpy(tiles))
    assert list(found) == ["score", "mean", "above"]
    for value, expected in zip(found.values(), wanted, strict=True):
        assert value.shape == (count, 2, 2)
        assert value.dtype == np.float32
        np.testing.assert_allclose(value, expected.numpy(), atol=1e-5)


def test_the_mask_graph_s_mask_is_torch_s(built: Any) -> None:
    tiles = built.pixels(3, 160)

    found = run_graph(built.mask, tiles, what="mask graph")

    with torch.inference_mode():
        *_, wanted = MaskGraph(built.model, built.line.grid, top_share=1 / 16).eval()(torch.from_numpy(tiles))
    assert list(found) == ["score", "mean", "above", "mask"]
    assert found["mask"].dtype == np.uint8
    assert (found["mask"] == wanted.numpy()).mean() > 0.999


@pytest.mark.parametrize("count", [1, 5])
def test_the_space_graph_embeds_on_the_unit_sphere_as_torch_does(built: Any, count: int) -> None:
    patches = built.pixels(count, 64)

    found = run_graph(built.space_graph, patches, what="space graph")["embedding"]

    with torch.inference_mode():
        wanted = built.space(torch.from_numpy(patches)).numpy()
    assert found.shape == (count, built.space.dim)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, atol=1e-5)


def test_graphs_say_what_they_are(built: Any) -> None:
    metadata = read_metadata(built.task)

    assert metadata["line"] == "steel"
    assert metadata["release"] == "steel-0001"
    assert json.loads(metadata["classes"]) == ["background", "scratch", "dent"]
    assert metadata["formula"] == FORMULA
    assert PatchGrid(**json.loads(metadata["grid"])) == built.line.grid


def test_the_space_graph_is_the_same_bytes_whichever_release_carries_it(built: Any) -> None:
    again = export_space(built.space, built.line.grid, line="steel")

    assert "release" not in read_metadata(again)
    assert sha256_hex(again) == sha256_hex(built.space_graph)


def test_graphs_are_single_files_of_opset_20(built: Any) -> None:
    for data in (built.task, built.mask, built.space_graph):
        model = onnx.load_from_string(data)

        assert {entry.domain: entry.version for entry in model.opset_import} == {"": 20}
        assert all(tensor.data_location == onnx.TensorProto.DEFAULT for tensor in model.graph.initializer)


def test_exporting_says_nothing_and_leaves_the_model_as_it_was(built: Any, capfd: pytest.CaptureFixture[str]) -> None:
    model = build_model(built.line.learning, classes=3, channels=1, seed=1)
    before = [value.clone() for value in model.state_dict().values()]

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        scorer = TaskGraph(model, built.line.grid, top_share=1 / 16)
        export_task(scorer, built.line.grid, line="steel", release="steel-0001", classes=("a",) * 3)

    assert capfd.readouterr() == ("", "")
    assert [str(warning.message) for warning in heard] == []
    assert all(torch.equal(a, b) for a, b in zip(before, model.state_dict().values(), strict=True))


def test_a_unet_of_the_library_exports_with_parity(built: Any) -> None:
    settings = LearningTable(encoder="tu-test_resnet", decoder_channels=(32, 16, 16, 8, 8))
    grid = built.line.grid
    model = build_model(settings, classes=3, channels=1, seed=1).eval()

    scorer = TaskGraph(model, grid, top_share=1 / 16)

    data = export_task(scorer, grid, line="steel", release="steel-0001", classes=("a", "b", "c"))

    check_parity(scorer, data, built.pixels(2, 160), what="task graph")


def test_one_flipped_byte_anywhere_is_refused(built: Any) -> None:
    digest = sha256_hex(built.task)
    for place in (0, len(built.task) // 2, len(built.task) - 1):
        data = bytearray(built.task)
        data[place] ^= 1

        with pytest.raises(ReleaseError, match="it is not used"):
            verify(bytes(data), sha256=digest, what="task.onnx")
    assert verify(built.task, sha256=digest, what="task.onnx") is built.task


def test_graphs_hold_no_path_of_the_machine_that_made_them(built: Any) -> None:
    for data in (built.task, built.mask, built.space_graph):
        assert b"site-packages" not in data
        assert b".py" not in data


@pytest.mark.parametrize("kind", [TaskGraph, MaskGraph])
def test_a_graph_of_every_second_row_and_column_says_what_torch_says(built: Any, kind: type[TaskGraph]) -> None:
    scorer = kind(built.model, built.line.grid, top_share=1 / 16, stride=2)
    export = export_mask if kind is MaskGraph else export_task

    data = export(scorer, built.line.grid, line="steel", release="steel-0001", classes=("a", "b", "c"))

    check_parity(scorer, data, built.pixels(3, 160), what="graph")
