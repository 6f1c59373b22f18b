"""Graphs: torch modules as ONNX bytes. The one door to torch's exporter; onnx is also imported by ``precision.py``.

Height and width are fixed, the number of tiles is free, opset 20, one file. Metadata says what a graph is; the space
graph's names no release, because the same bytes (their hash names the space) go into every release of a line.
"""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import onnx
import torch
from torch import Tensor, nn

from shared.errors import ReleaseError
from shared.geometry import PatchGrid
from shared.release import MAX_FILE_BYTES
from trainer.acquisition.scoring import FORMULA
from trainer.representation.space import SpaceModule

OPSET: Final = 20
#: What a task graph says of each patch.
SCORES: Final = ("score", "mean", "above")
#: A batch of one would be taken for a constant by torch.export.
_EXAMPLES: Final = 2


def export_task(
    scorer: nn.Module, grid: PatchGrid, *, line: str, release: str, classes: Sequence[str], formula: str = FORMULA
) -> bytes:
    """Export ``tiles -> score, mean, above`` of a scorer; ``formula`` says in words what it computes."""
    return export(
        scorer,
        _tiles(grid),
        name="tiles",
        outputs=SCORES,
        metadata=_metadata(grid, line=line, release=release, classes=classes, formula=formula),
    )


def export_mask(
    scorer: nn.Module, grid: PatchGrid, *, line: str, release: str, classes: Sequence[str], formula: str = FORMULA
) -> bytes:
    """Export ``tiles -> score, mean, above, mask`` of a scorer that also says the mask."""
    return export(
        scorer,
        _tiles(grid),
        name="tiles",
        outputs=(*SCORES, "mask"),
        metadata=_metadata(grid, line=line, release=release, classes=classes, formula=formula),
    )


def export_space(space: SpaceModule, grid: PatchGrid, *, line: str) -> bytes:
    """Export ``patches -> embedding``."""
    example = torch.zeros(_EXAMPLES, grid.patch_px, grid.patch_px, grid.channels, dtype=torch.uint8)
    metadata = {"line": line, "grid": _grid_json(grid), "formula": "unit(pooled features - centre)"}
    return export(space, example, name="patches", outputs=("embedding",), metadata=metadata)


def read_metadata(data: bytes) -> dict[str, str]:
    """Read what a graph says of itself."""
    return {entry.key: entry.value for entry in onnx.load_from_string(data).metadata_props}


def export(
    module: nn.Module, example: Tensor, *, name: str, outputs: Sequence[str], metadata: Mapping[str, str]
) -> bytes:
    """Export a module that eats what ``example`` is one of; ``name`` is its input's, the outputs stand in the module's order."""
    device = next(module.parameters()).device
    module.to("cpu").eval()
    try:
        with torch.inference_mode(mode=False), torch.no_grad(), _quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                opset_version=OPSET,
                input_names=[name],
                dynamic_shapes=({0: torch.export.Dim("n", min=1)},),
                verbose=False,
            )
        assert program is not None
        _name_values(program, outputs)
        model = program.model_proto
    finally:
        module.to(device)
    onnx.helper.set_model_props(model, dict(metadata))
    data = bytes(model.SerializeToString())
    if len(data) > MAX_FILE_BYTES:
        raise ReleaseError(f"{name} graph: {len(data)} bytes, the limit is {MAX_FILE_BYTES}; it is not released")
    onnx.checker.check_model(model, full_check=True)
    return data


def _name_values(program: torch.onnx.ONNXProgram, outputs: Sequence[str]) -> None:
    """Name the outputs, and every node and value between by its place: the exporter's own names may be the same as ours.

    What it notes beside each node is taken away: stack traces, with the paths of the machine that exported.
    """
    for index, node in enumerate(program.model.graph):
        node.name = f"n{index}"
        node.metadata_props.clear()
    values = [value for node in program.model.graph for value in node.outputs]
    for index, value in enumerate(values):
        value.name = f"v{index}"
    for value, name in zip(program.model.graph.outputs, outputs, strict=True):
        value.name = name


def _tiles(grid: PatchGrid) -> Tensor:
    return torch.zeros(_EXAMPLES, grid.tile_px, grid.tile_px, grid.channels, dtype=torch.uint8)


def _metadata(grid: PatchGrid, *, line: str, release: str, classes: Sequence[str], formula: str) -> dict[str, str]:
    return {
        "line": line,
        "release": release,
        "classes": json.dumps(list(classes)),
        "grid": _grid_json(grid),
        "formula": formula,
    }


def _grid_json(grid: PatchGrid) -> str:
    return json.dumps(
        {
            "tile_px": grid.tile_px,
            "patch_px": grid.patch_px,
            "margin_px": grid.margin_px,
            "cell_px": grid.cell_px,
            "channels": grid.channels,
        },
        sort_keys=True,
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress prints and its warnings about its own insides away from the command's output."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            yield
    finally:
        log.setLevel(level)
