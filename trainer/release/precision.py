"""Precisions: a graph's network in half floats or in 8-bit integers; what follows its logits stays as it was.

Only what lies upstream of the last learned convolution changes. That convolution and everything after it, the entropy and
its averages, compute in float32: eight bits of logits would be steps in the very number that patches are ranked by.

The one door to onnxruntime's quantizer, and with ``graph.py`` one of two to onnx: what either says of a graph that it cannot
take comes out as a ``ReleaseError`` of one line.
"""

import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from shared.errors import ReleaseError
from shared.geometry import Image

_HALF: Final = "_half"
_BACK: Final = "_float"
#: The one input that no half float may stand in: by how much a map is enlarged.
_FLOAT_SCALES: Final = ("Resize", 2)
#: How many tiles the ranges of an int8 graph are measured on: more moved no score by more than its own noise.
CALIBRATION_TILES: Final = 16


def to_fp16(data: bytes, *, what: str) -> bytes:
    """Return the graph with its network in half floats.

    Done here, because the converters at hand send every value of the float32 part through a half float as well.
    """
    with _refusals(what):
        return _halved(data, what=what)


def _halved(data: bytes, *, what: str) -> bytes:
    model = onnx.load_from_string(data)
    graph = model.graph
    inside = backbone(model, what=what)
    halves = {name for node in graph.node if node.name in inside for name in node.output} & _floats(model)
    constants = {entry.name: entry for entry in graph.initializer if entry.data_type == TensorProto.FLOAT}
    nodes: list[onnx.NodeProto] = []
    back: set[str] = set()
    for node in graph.node:
        for place, name in enumerate(node.input):
            if node.name in inside:
                if name in constants and (node.op_type, place) != _FLOAT_SCALES:
                    node.input[place] = name + _HALF
            elif name in halves:
                if name not in back:
                    nodes.append(
                        onnx.helper.make_node("Cast", [name], [name + _BACK], name + _BACK, to=TensorProto.FLOAT)
                    )
                    back.add(name)
                node.input[place] = name + _BACK
        if node.name in inside and node.op_type == "Cast" and node.output[0] in halves:
            node.attribute[0].i = TensorProto.FLOAT16
        nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [entry for entry in graph.initializer if entry.name in used]
    kept += [_half(entry) for name, entry in constants.items() if name + _HALF in used]
    changed = onnx.helper.make_graph(nodes, graph.name, graph.input, graph.output, kept)
    graph.CopyFrom(changed)
    return _written(model)


def to_int8(data: bytes, tiles: Image, *, what: str) -> bytes:
    """Return the graph with its network in 8-bit integers, whose ranges are those seen on ``tiles`` ``(n, tile, tile, c)``."""
    if not len(tiles):
        raise ReleaseError(f"{what}: no tile to measure the ranges of int8 on; collect patches first")
    with _refusals(what):
        return _quantised(data, tiles, what=what)


def _quantised(data: bytes, tiles: Image, *, what: str) -> bytes:
    model = onnx.load_from_string(data)
    inside = backbone(model, what=what)
    kept = {entry.key: entry.value for entry in model.metadata_props}
    with tempfile.TemporaryDirectory(prefix="winnow-int8-") as folder, _quiet():
        written = Path(folder) / "int8.onnx"
        quantize_static(
            model,
            written,
            _Tiles(model.graph.input[0].name, tiles),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            nodes_to_quantize=sorted(inside),
        )
        small = onnx.load(written)
    onnx.helper.set_model_props(small, kept)
    return _written(small)


def backbone(model: onnx.ModelProto, *, what: str) -> set[str]:
    """Name the nodes upstream of the last learned convolutions: those whose output no other learned one reads.

    Sums over channels are convolutions too, with weights of one; nothing is learned in them.
    """
    constants = {entry.name: entry for entry in model.graph.initializer}
    maker = {output: node for node in model.graph.node for output in node.output}
    learned = [
        node for node in model.graph.node if node.op_type == "Conv" and not _is_sum(constants.get(node.input[1]))
    ]
    upstream: set[str] = set()
    ahead = [maker[node.input[0]] for node in learned if node.input[0] in maker]
    while ahead:
        node = ahead.pop()
        if node.name in upstream:
            continue
        upstream.add(node.name)
        # What a convolution's weights are made of is no pixel.
        pixels = node.input[:1] if node.op_type == "Conv" else node.input
        ahead += [maker[name] for name in pixels if name in maker]
    if not upstream & {node.name for node in learned}:
        raise ReleaseError(f"{what}: no two convolutions in a row; there is no network to change the precision of")
    return upstream


class _Tiles(CalibrationDataReader):  # type: ignore[misc]  # the library leaves it untyped
    """Gives the calibration one tile after another."""

    def __init__(self, name: str, tiles: Image) -> None:
        self._inputs = iter([{name: np.ascontiguousarray(tile[None])} for tile in tiles])

    def get_next(self) -> dict[str, Image] | None:
        return next(self._inputs, None)


def _is_sum(weights: onnx.TensorProto | None) -> bool:
    if weights is None or weights.dims[0] != 1:
        return False
    return bool((numpy_helper.to_array(weights) == 1.0).all())


def _floats(model: onnx.ModelProto) -> set[str]:
    """Name the values between that are float32."""
    known = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    return {
        value.name
        for value in [*known.value_info, *known.output]
        if value.type.tensor_type.elem_type == TensorProto.FLOAT
    }


def _half(constant: onnx.TensorProto) -> onnx.TensorProto:
    values = numpy_helper.to_array(constant).astype(np.float16)
    if not np.isfinite(values).all():
        raise ReleaseError(f"{constant.name}: weights beyond half floats; the line's nodes need fp32")
    return numpy_helper.from_array(values, constant.name + _HALF)


def _written(model: Any) -> bytes:
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@contextmanager
def _refusals(what: str) -> Iterator[None]:
    """Stop what the libraries raise here: their errors share no class of their own."""
    try:
        yield
    except ReleaseError:
        raise
    except Exception as error:  # noqa: BLE001  # protobuf's, onnx's, onnxruntime's, and plain ones of the quantizer
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise ReleaseError(f"{what}: cannot be converted: {said}; it is not released") from None


@contextmanager
def _quiet(names: Sequence[str | None] = (None, "onnxruntime")) -> Iterator[None]:
    """Keep the library's advice about its own insides away from the command's output."""
    logs = [logging.getLogger(name) for name in names]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)
