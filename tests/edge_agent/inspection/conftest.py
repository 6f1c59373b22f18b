"""A small line, small graphs that keep the graph contract, and releases made of them.

The task graph scores a patch by its mean grey, the space graph describes it by the 4 x 4 means of its grey:
both are easy to work out by hand.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from shared.config import BudgetTable, ClassTable, FilterTable, GeometryTable, LineConfig
from shared.geometry import PatchGrid
from shared.golden import write_labelled
from shared.identity import sha256_hex
from shared.precision import Precision, Provider
from shared.release import FileEntry, Manifest, Role, SpaceEntry, release_name, write_json
from shared.steel_line import DEFECTS

DIM = 16
DEFECT = DEFECTS[0].name


def _constant(name: str, values: object, kind: type) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=kind), name)


def _model(
    nodes: list[onnx.NodeProto],
    inputs: tuple[str, tuple[str | int, ...]],
    outputs: dict[str, tuple[str | int, ...]],
    constants: list[onnx.TensorProto],
    *,
    kind: int = TensorProto.FLOAT,
) -> bytes:
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(inputs[0], TensorProto.UINT8, inputs[1])],
        [helper.make_tensor_value_info(name, kind, shape) for name, shape in outputs.items()],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def task_graph(grid: PatchGrid, *, bias: float = 0.0) -> bytes:
    """``score`` = mean grey of each patch / 255 + bias."""
    side, inset = grid.patches_per_side, grid.inset_px
    end = inset + side * grid.patch_px
    nodes = [
        helper.make_node("Cast", ["tiles"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Slice", ["floats", "starts", "ends", "axes"], ["inside"]),
        helper.make_node("ReduceMean", ["inside", "last"], ["grey"], keepdims=0),
        helper.make_node("Unsqueeze", ["grey", "one"], ["planes"]),
        helper.make_node(
            "AveragePool", ["planes"], ["pooled"], kernel_shape=[grid.patch_px] * 2, strides=[grid.patch_px] * 2
        ),
        helper.make_node("Squeeze", ["pooled", "one"], ["means"]),
        helper.make_node("Div", ["means", "white"], ["share"]),
        helper.make_node("Add", ["share", "bias"], ["score"]),
        helper.make_node("Identity", ["score"], ["mean"]),
        helper.make_node("Identity", ["score"], ["above"]),
    ]
    constants = [
        _constant("starts", [inset, inset], np.int64),
        _constant("ends", [end, end], np.int64),
        _constant("axes", [1, 2], np.int64),
        _constant("last", [3], np.int64),
        _constant("one", [1], np.int64),
        _constant("white", 255.0, np.float32),
        _constant("bias", bias, np.float32),
    ]
    shape = ("n", side, side)
    tile = ("n", grid.tile_px, grid.tile_px, grid.channels)
    return _model(nodes, ("tiles", tile), {"score": shape, "mean": shape, "above": shape}, constants)


def mask_graph(grid: PatchGrid) -> bytes:
    """``mask`` = 1 where a pixel is above 127, 0 elsewhere."""
    nodes = [
        helper.make_node("Greater", ["tiles", "grey"], ["above"]),
        helper.make_node("Cast", ["above"], ["ones"], to=TensorProto.UINT8),
        helper.make_node("Squeeze", ["ones", "last"], ["mask"]),
    ]
    tile = ("n", grid.tile_px, grid.tile_px, grid.channels)
    constants = [_constant("grey", 127, np.uint8), _constant("last", [3], np.int64)]
    return _model(nodes, ("tiles", tile), {"mask": tile[:3]}, constants, kind=TensorProto.UINT8)


def space_graph(grid: PatchGrid) -> bytes:
    """``embedding`` = the 4 x 4 means of a patch's grey, length one."""
    cell = grid.patch_px // 4
    nodes = [
        helper.make_node("Cast", ["patches"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "last"], ["grey"], keepdims=0),
        helper.make_node("Unsqueeze", ["grey", "one"], ["planes"]),
        helper.make_node("AveragePool", ["planes"], ["pooled"], kernel_shape=[cell, cell], strides=[cell, cell]),
        helper.make_node("Flatten", ["pooled"], ["flat"]),
        helper.make_node("Add", ["flat", "tiny"], ["lifted"]),
        helper.make_node("ReduceL2", ["lifted", "one"], ["length"], keepdims=1),
        helper.make_node("Div", ["lifted", "length"], ["embedding"]),
    ]
    constants = [
        _constant("last", [3], np.int64),
        _constant("one", [1], np.int64),
        _constant("tiny", 1e-3, np.float32),
    ]
    patch = ("m", grid.patch_px, grid.patch_px, grid.channels)
    return _model(nodes, ("patches", patch), {"embedding": ("m", DIM)}, constants)


#: A package of somebody else's with a camera: it shows greys, and does what its settings say.
ACME = """
import numpy as np
from edge_agent.inspection.cameras.camera import Frame

class AcmeCamera:
    made = 0

    def __init__(self, settings, setting):
        type(self).made += 1
        self.settings, self.setting = settings, setting

    def frames(self, stop):
        side = self.settings.get("side", 8)
        for number, grey in enumerate(self.settings.get("greys", "").split()):
            if grey == "raise":
                raise RuntimeError("the driver is gone")
            image = np.full((side, side, self.setting.channels), int(grey), self.settings.get("dtype", "uint8"))
            yield Frame(number, self.setting.clock.now(), image, ids=dict(part="x" * self.settings.get("id", 1)))

def make(settings, setting):
    return AcmeCamera(settings, setting)

broken = 7
"""


@pytest.fixture
def acme(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """Install a package that brings cameras; the name of the one that works."""
    place = tmp_path_factory.mktemp("site-packages")
    (place / "acme_cameras.py").write_text(ACME, encoding="utf-8")
    info = place / "acme_cameras-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-cameras\nVersion: 1.0\n", encoding="utf-8")
    entries = "acme = acme_cameras:make\nbroken = acme_cameras:broken\nmissing = acme_cameras:nowhere\n"
    (info / "entry_points.txt").write_text(f"[winnow.cameras]\n{entries}", encoding="utf-8")
    monkeypatch.syspath_prepend(place)
    monkeypatch.delitem(sys.modules, "acme_cameras", raising=False)
    return "acme"


@dataclass(frozen=True)
class Release:
    """A release in a folder."""

    directory: Path
    manifest_sha256: str
    name: str


@pytest.fixture
def line() -> LineConfig:
    """96-pixel tiles with 2 x 2 patches of 32 pixels, all patches through the gate, a budget that never ends."""
    return LineConfig(
        line="strip",
        classes=(ClassTable(name="background"), ClassTable(name=DEFECT)),
        geometry=GeometryTable(tile_px=96, patch_px=32, margin_px=16, cell_px=8),
        budget=BudgetTable(patches_per_hour=1e7, burst=10_000, floor_share=0.0),
        filter=FilterTable(gate_share=1.0),
    )


@pytest.fixture
def build_task() -> Callable[..., bytes]:
    return task_graph


@pytest.fixture
def build_mask() -> Callable[..., bytes]:
    return mask_graph


@pytest.fixture
def build_space() -> Callable[..., bytes]:
    return space_graph


@pytest.fixture
def make_release(tmp_path: Path, line: LineConfig) -> Callable[..., Release]:
    """Write a release: ``make_release(1, task=..., space=...)``; ``True`` stands for the graph that works."""

    def make(
        number: int,
        *,
        task: bytes | bool = True,
        space: bytes | bool = True,
        labelled: NDArray[np.float32] | None = None,
        grid: PatchGrid | None = None,
        name: str | None = None,
        others: dict[Role, bytes] | None = None,
        precision: dict[Provider, Precision] | None = None,
    ) -> Release:
        contents: dict[Role, bytes] = {}
        if task:
            contents["task"] = task_graph(line.grid) if task is True else task
        if space:
            contents["space"] = space_graph(line.grid) if space is True else space
        contents |= others or {}
        if labelled is not None:
            contents["labelled"] = write_labelled(labelled)
        release = release_name(line.line, number)
        directory = tmp_path / "releases" / (name or release)
        directory.mkdir(parents=True)
        files = {}
        for role, data in contents.items():
            (directory / f"{role}.bin").write_bytes(data)
            files[role] = FileEntry(name=f"{role}.bin", sha256=sha256_hex(data), bytes=len(data))
        entry = SpaceEntry(id=sha256_hex(contents["space"]), dim=DIM, tau=0.1) if space else None
        manifest = Manifest(
            line=line.line,
            release=release,
            number=number,
            created=0.0,
            classes=line.class_names,
            geometry=grid or line.grid,
            files=files,
            space=entry,
            precision=precision or {},
        )
        data = write_json(manifest)
        (directory / "manifest.json").write_bytes(data)
        return Release(directory, sha256_hex(data), release)

    return make


@pytest.fixture
def write_agent(tmp_path: Path, line: LineConfig) -> Callable[[str], Path]:
    """Write ``agent.toml`` with these camera tables, beside a ``line.toml`` of the line above."""

    def write(cameras: str) -> Path:
        geometry, budget = line.geometry, line.budget
        (tmp_path / "line.toml").write_text(
            f"""
line = "{line.line}"
classes = [{{name = "background"}}, {{name = "{DEFECT}"}}]
geometry = {{tile_px = {geometry.tile_px}, patch_px = {geometry.patch_px}, margin_px = {geometry.margin_px}, cell_px = {geometry.cell_px}}}
budget = {{patches_per_hour = {budget.patches_per_hour}, burst = {budget.burst}, floor_share = {budget.floor_share}}}
filter = {{gate_share = {line.filter.gate_share}}}
simulator = {{height_px = 96, width_px = 128, scale = 0.25, rates = {{}}}}
""",
            encoding="utf-8",
        )
        path = tmp_path / "agent.toml"
        path.write_text(
            'node = "press-03"\nsite = "plant"\nlines = ["line.toml"]\nheartbeat_s = 0.05\n' + cameras, encoding="utf-8"
        )
        return path

    return write
