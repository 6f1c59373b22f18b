"""Precisions: the network in fewer bits, the head as it was, what strays too far left out."""

from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

from shared.config import LearningTable
from shared.errors import ReleaseError
from shared.precision import ReleaseTable
from trainer.acquisition.scoring import TaskGraph
from trainer.learning.model import build_model
from trainer.release import parity
from trainer.release.graph import export_task, read_metadata
from trainer.release.parity import TOLERANCES, check_parity, run_graph
from trainer.release.precision import backbone, to_fp16, to_int8
from trainer.release.variants import build_variants

#: Entropy and what follows it; none of the operations of these graphs' networks.
HEAD = {"ReduceMax", "Exp", "Log", "AveragePool", "TopK", "ReduceMean", "Greater", "ArgMax"}


def texture(n: int, side: int, seed: int = 1) -> NDArray[np.uint8]:
    """Tiles with something in them: noise alone leaves every pixel equally unsure."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 216, size=(n, side // 16, side // 16, 1)).repeat(16, axis=1).repeat(16, axis=2)
    return np.clip(coarse + rng.normal(0, 8, size=coarse.shape), 0, 255).astype(np.uint8)


def values_by_type(data: bytes) -> dict[str, int]:
    known = onnx.shape_inference.infer_shapes(onnx.load_from_string(data)).graph
    return {value.name: value.type.tensor_type.elem_type for value in [*known.value_info, *known.output]}


def test_the_head_stays_in_floats_whatever_the_network_computes_in(built: Any) -> None:
    model = onnx.load_from_string(built.mask)
    inside = backbone(model, what="mask graph")

    assert inside
    assert not {node.op_type for node in model.graph.node if node.name in inside} & HEAD
    # The convolution that writes the logits is the last learned one.
    assert next(node.op_type for node in model.graph.node if node.name not in inside) == "Conv"
    for data in (to_fp16(built.mask, what="mask"), to_int8(built.mask, texture(2, 160), what="mask")):
        types, changed = values_by_type(data), onnx.load_from_string(data).graph.node
        outputs = [types[node.output[0]] for node in changed if node.op_type in HEAD - {"Greater", "ArgMax"}]
        assert set(outputs) == {TensorProto.FLOAT}


def test_half_floats_stand_in_the_network_and_halve_its_weights(built: Any) -> None:
    data = to_fp16(built.task, what="task graph")

    graph = onnx.load_from_string(data).graph
    weights = [entry for entry in graph.initializer if len(entry.dims) == 4 and numpy_helper.to_array(entry).size > 100]
    # All but those that write the logits.
    assert min(entry.data_type for entry in weights) == TensorProto.FLOAT
    assert [entry.data_type for entry in weights].count(TensorProto.FLOAT16) == len(weights) - 1 > 3
    assert read_metadata(data) == read_metadata(built.task)
    found = check_parity(scorer_of(built), data, texture(3, 160), what="task graph", precision="fp16")
    assert 0 < found["score"] < TOLERANCES["fp16"]["score"]
    assert found["rank"] > 0.99


def test_eight_bits_stand_in_the_network_and_say_nearly_the_same(built: Any) -> None:
    data = to_int8(built.task, texture(4, 160, seed=2), what="task graph")

    nodes = onnx.load_from_string(data).graph.node
    assert {node.op_type for node in nodes} >= {"QuantizeLinear", "DequantizeLinear"}
    assert read_metadata(data) == read_metadata(built.task)
    found = check_parity(scorer_of(built), data, texture(3, 160), what="task graph", precision="int8")
    assert 0 < found["score"] < TOLERANCES["int8"]["score"]
    # Any number of tiles, as before.
    assert run_graph(data, texture(5, 160), what="task graph")["score"].shape == (5, 2, 2)


def test_a_network_of_the_library_runs_in_every_precision(built: Any) -> None:
    settings = LearningTable(encoder="tu-test_resnet", decoder_channels=(32, 16, 16, 8, 8))
    grid = built.line.grid
    scorer = TaskGraph(build_model(settings, classes=3, channels=1, seed=1).eval(), grid, top_share=1 / 16, stride=2)
    plain = export_task(scorer, grid, line="steel", release="steel-0001", classes=("a", "b", "c"))
    tiles = texture(3, 160)

    check_parity(scorer, to_fp16(plain, what="task"), tiles, what="task", precision="fp16")
    check_parity(scorer, to_int8(plain, texture(2, 160, seed=2), what="task"), tiles, what="task", precision="int8")


def test_ranges_without_a_tile_to_measure_them_on_are_refused(built: Any) -> None:
    with pytest.raises(ReleaseError, match="no tile to measure the ranges of int8 on"):
        to_int8(built.task, texture(0, 160), what="task graph")


def test_a_graph_without_a_network_has_no_precision_to_change(built: Any) -> None:
    model = onnx.load_from_string(built.task)
    keep = [node for node in model.graph.node if node.op_type not in {"Conv", "Relu", "Add"}]
    del model.graph.node[:]
    model.graph.node.extend(keep)

    with pytest.raises(ReleaseError, match="there is no network"):
        to_fp16(model.SerializeToString(), what="task graph")


def test_a_release_holds_the_precisions_that_its_line_asks_for(built: Any) -> None:
    line = msgspec.structs.replace(built.line, release=ReleaseTable(providers={"cpu": "int8", "cuda": "fp16"}))
    told: list[tuple[int, int]] = []

    made = build_variants(
        built.model,
        line,
        release="steel-0001",
        tiles=texture(3, 160),
        calibration=texture(2, 160, seed=2),
        step=lambda done, total: told.append((done, total)),
    )

    assert set(made.graphs) == {"task", "task_fp16", "task_int8", "mask", "mask_fp16", "mask_int8"}
    assert made.precision == {"cpu": "int8", "cuda": "fp16"}
    assert made.left_out == {}
    assert set(made.tolerances) == {"task_fp16", "task_int8", "mask_fp16", "mask_int8"}
    for role, tolerance in made.tolerances.items():
        assert tolerance == max(1e-3, 3 * made.parity[role]["score"])
    assert made.parity["task"]["score"] < made.parity["task_fp16"]["score"]
    assert told == [(done, 6) for done in range(7)]


def test_a_precision_that_strays_too_far_is_left_out_and_its_nodes_run_fp32(
    built: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = msgspec.structs.replace(built.line, release=ReleaseTable(precision="int8"))
    monkeypatch.setattr(parity, "TOLERANCES", {**TOLERANCES, "int8": dict.fromkeys(TOLERANCES["int8"], 1e-9)})

    made = build_variants(
        built.model,
        line,
        release="steel-0001",
        tiles=texture(3, 160),
        calibration=texture(2, 160, seed=2),
        step=lambda _done, _total: None,
    )

    assert set(made.graphs) == set(made.parity) == {"task", "mask"}
    assert made.precision == made.tolerances == {}
    assert "score differs by" in made.left_out["int8"]


@pytest.mark.parametrize("data", [b"no graph", b""])
def test_a_graph_that_cannot_be_read_is_refused_in_one_line(data: bytes) -> None:
    for convert in (
        lambda: to_fp16(data, what="task graph"),
        lambda: to_int8(data, texture(2, 160), what="task graph"),
    ):
        with pytest.raises(ReleaseError, match="task graph: ") as refused:
            convert()

        assert "\n" not in str(refused.value)


def test_a_precision_that_the_converter_cannot_make_is_left_out_and_fp32_goes_out(built: Any) -> None:
    """Tiles of another size than the graph eats: onnxruntime refuses to measure the ranges."""
    line = msgspec.structs.replace(built.line, release=ReleaseTable(precision="int8"))

    made = build_variants(
        built.model,
        line,
        release="steel-0001",
        tiles=texture(3, 160),
        calibration=texture(2, 96),
        step=lambda _done, _total: None,
    )

    assert set(made.graphs) == {"task", "mask"}
    assert made.precision == {}
    assert made.left_out["int8"].startswith("task_int8 graph of steel-0001: cannot be converted: ")
    assert "\n" not in made.left_out["int8"]


def scorer_of(built: Any) -> TaskGraph:
    return TaskGraph(built.model, built.line.grid, top_share=1 / 16)
