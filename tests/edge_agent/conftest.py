"""A node's configuration and releases with one small graph, for tests of the courier, the releases and the supervisor."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edge_agent.releases.activation import Held
from shared.geometry import PatchGrid
from shared.golden import Golden, write_golden
from shared.images import encode_image
from shared.release import FileEntry, Manifest, Role, Rollout, release_name, release_path, rollout_path, write_json

GRID = PatchGrid(tile_px=64, patch_px=32, margin_px=0, cell_px=16)
AGENT = """\
node = "press-01"
site = "plant"
lines = ["line.toml"]
heartbeat_s = 0.2
poll_s = 0.2
releases_url = "{store}"
{more}
[broker]
port = 1
[runtime]
provider = "cpu"
threads = 1
[[cameras]]
name = "top"
line = "strip"
frames_per_s = 50.0
source = {{ type = "folder", path = "images", poll_s = 0.05, loop = {loop} }}
"""
LINE = """\
line = "strip"
classes = [{ name = "background" }, { name = "scratch" }]
geometry = { tile_px = 64, patch_px = 32, margin_px = 0, cell_px = 16 }
budget = { patches_per_hour = 1e7, burst = 10000, floor_share = 0.5 }
"""


def graph(*, bias: float = 0.0) -> bytes:
    """``score`` = mean grey of each of the four patches / 255 + bias."""
    nodes = [
        helper.make_node("Cast", ["tiles"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["floats"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["pooled"], kernel_shape=[32, 32], strides=[32, 32]),
        helper.make_node("Squeeze", ["pooled", "one"], ["means"]),
        helper.make_node("Div", ["means", "white"], ["share"]),
        helper.make_node("Add", ["share", "bias"], ["score"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([1], np.int64), "one"),
        numpy_helper.from_array(np.array(255.0, np.float32), "white"),
        numpy_helper.from_array(np.array(bias, np.float32), "bias"),
    ]
    tiles = helper.make_tensor_value_info("tiles", TensorProto.UINT8, ("n", 64, 64, 1))
    score = helper.make_tensor_value_info("score", TensorProto.FLOAT, ("n", 2, 2))
    model = helper.make_model(
        helper.make_graph(nodes, "test", [tiles], [score], constants),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )
    data: bytes = model.SerializeToString()
    return data


def golden_file(*, bias: float = 0.0) -> bytes:
    """Two tiles and what a graph with this bias answers, by the formula."""
    tiles = np.random.default_rng(3).integers(0, 200, (2, 64, 64, 1), dtype=np.uint8)
    means = tiles[..., 0].astype(np.float64).reshape(2, 2, 32, 2, 32).mean(axis=(2, 4))
    return write_golden(Golden(tiles=tiles, score=(means / 255 + bias).astype(np.float32)))


@pytest.fixture(scope="session", autouse=True)
def _check_graph() -> None:
    onnx.checker.check_model(onnx.load_from_string(graph()))


BuildRelease = Callable[..., Held]


@pytest.fixture
def build_release() -> BuildRelease:
    """Write a release below a store's root: ``build_release(root, 1, bias=0.1)``."""

    def build(
        root: Path,
        number: int,
        *,
        bias: float = 0.0,
        golden: bytes | None = None,
        task: bytes | None = None,
        line: str = "strip",
        without: Role | None = None,
    ) -> Held:
        contents: dict[Role, bytes] = {
            "task": graph(bias=bias) if task is None else task,
            "golden": golden_file(bias=bias) if golden is None else golden,
        }
        contents.pop(without, None) if without else None
        release = release_name(line, number)
        manifest = Manifest(
            line=line,
            release=release,
            number=number,
            created=0.0,
            classes=("background", "scratch"),
            geometry=GRID,
            files={
                role: FileEntry(name=f"{role}.bin", sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
                for role, data in contents.items()
            },
        )
        manifest_bytes = write_json(manifest)
        directory = (root / release_path(line, release)).parent
        directory.mkdir(parents=True)
        for role, data in contents.items():
            (directory / f"{role}.bin").write_bytes(data)
        (directory / "manifest.json").write_bytes(manifest_bytes)
        return Held(release=release, number=number, sha256=hashlib.sha256(manifest_bytes).hexdigest())

    return build


@pytest.fixture
def order() -> Callable[..., Rollout]:
    """Write a rollout document below a store's root: ``order(root, held, 1)``; without a root it is only made."""

    def make(root: Path | None, held: Held, number: int, **more: object) -> Rollout:
        rollout = Rollout(
            line="strip",
            rollout=number,
            release=held.release,
            number=held.number,
            manifest_sha256=held.sha256,
            **more,
        )
        if root is not None:
            path = root / rollout_path("strip")
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            part.write_bytes(write_json(rollout))
            part.replace(path)
        return rollout

    return make


@pytest.fixture
def agent_toml(tmp_path: Path) -> Callable[..., Path]:
    """Write a node with three images and a store in a folder: ``agent_toml(loop=True)``."""

    def write(*, loop: bool = False, more: str = "") -> Path:
        rng = np.random.default_rng(0)
        (tmp_path / "images").mkdir()
        for index in range(3):
            image = encode_image(rng.integers(0, 255, (64, 64), dtype=np.uint8))
            (tmp_path / "images" / f"{index}.png").write_bytes(image)
        (tmp_path / "store").mkdir(exist_ok=True)
        (tmp_path / "line.toml").write_text(LINE, encoding="utf-8")
        path = tmp_path / "agent.toml"
        text = AGENT.format(store=(tmp_path / "store").as_uri(), loop=str(loop).lower(), more=more)
        path.write_text(text, encoding="utf-8")
        return path

    return write
