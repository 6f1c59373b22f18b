"""Publishing: complete or not there, never changed, numbers without gaps."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from shared.errors import ReleaseError, StateError
from shared.golden import Golden, read_golden, read_labelled
from shared.release import Lineage, Manifest, read_manifest, release_path, verify
from trainer.acquisition.scoring import TaskGraph
from trainer.release.golden import as_tiles, make_golden
from trainer.release.parity import run_graph
from trainer.release.publish import list_manifests, next_number, publish, release_of_run


def scorer_of(built: Any) -> TaskGraph:
    return TaskGraph(built.model, built.line.grid, top_share=1 / 16)


def golden_of(built: Any) -> Golden:
    crops = built.pixels(4, 96, seed=3)
    return make_golden(crops, grid=built.line.grid, scorer=scorer_of(built), space=built.space)


def arguments(built: Any, **changes: Any) -> dict[str, Any]:
    return {
        "number": 1,
        "graphs": {"task": built.task, "mask": built.mask, "space": built.space_graph},
        "space": built.entry,
        "golden": golden_of(built),
        "labelled": np.eye(5, built.space.dim, dtype=np.float32),
        "lineage": Lineage(round=1, run="r-1", labels=40, miou=0.5, reference_patches=9),
        "now": 1000.0,
    } | changes


def test_what_is_published_verifies_file_by_file(built: Any, tmp_path: Path) -> None:
    manifest = publish(tmp_path, built.line, **arguments(built))

    folder = tmp_path / release_path("steel", "steel-0001", "x").removesuffix("/x")
    assert read_manifest((folder / "manifest.json").read_bytes(), sha256=None, what="manifest") == manifest
    assert set(manifest.files) == {"task", "mask", "space", "golden", "labelled"}
    for entry in manifest.files.values():
        verify((folder / entry.name).read_bytes(), sha256=entry.sha256, size=entry.bytes, what=entry.name)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["manifest.json", *(entry.name for entry in manifest.files.values())]
    )
    assert manifest.classes == ("background", "scratch", "dent")
    assert manifest.geometry == built.line.grid


def test_the_golden_tiles_of_a_release_agree_with_its_graphs(built: Any, tmp_path: Path) -> None:
    manifest = publish(tmp_path, built.line, **arguments(built))
    folder = tmp_path / "releases/steel/steel-0001"

    golden = read_golden((folder / manifest.files["golden"].name).read_bytes(), what="golden")

    assert golden.tiles is not None
    assert golden.patches is not None
    score = run_graph((folder / "task.onnx").read_bytes(), golden.tiles, what="task")["score"]
    embedding = run_graph((folder / "space.onnx").read_bytes(), golden.patches, what="space")["embedding"]
    np.testing.assert_allclose(score, golden.score, atol=manifest.tolerance / 10)
    np.testing.assert_allclose(embedding, golden.embedding, atol=manifest.tolerance / 10)


def test_the_labelled_summary_comes_back(built: Any, tmp_path: Path) -> None:
    publish(tmp_path, built.line, **arguments(built))

    found = read_labelled((tmp_path / "releases/steel/steel-0001/labelled.bin").read_bytes(), what="labelled")

    np.testing.assert_allclose(found, np.eye(5, built.space.dim), atol=1e-3)


def test_a_space_alone_is_a_release(built: Any, tmp_path: Path) -> None:
    golden = make_golden(built.pixels(2, 96), grid=built.line.grid, scorer=None, space=built.space)

    manifest = publish(
        tmp_path,
        built.line,
        **arguments(built, graphs={"space": built.space_graph}, golden=golden, labelled=None, lineage=Lineage()),
    )

    assert set(manifest.files) == {"space", "golden"}
    assert manifest.space == built.entry


def test_numbers_go_up_by_one(built: Any, tmp_path: Path) -> None:
    space_only = arguments(
        built,
        graphs={"space": built.space_graph},
        golden=make_golden(built.pixels(1, 96), grid=built.line.grid, scorer=None, space=built.space),
    )
    numbers = []
    for _ in range(3):
        numbers.append(next_number(tmp_path, "steel"))
        publish(tmp_path, built.line, **(space_only | {"number": numbers[-1]}))

    assert numbers == [1, 2, 3]
    assert [manifest.number for manifest in list_manifests(tmp_path, "steel")] == [1, 2, 3]
    assert next_number(tmp_path, "other") == 1


def test_a_release_is_never_changed(built: Any, tmp_path: Path) -> None:
    publish(tmp_path, built.line, **arguments(built))
    folder = tmp_path / "releases/steel/steel-0001"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    with pytest.raises(StateError, match="releases are never changed, take number 2"):
        publish(tmp_path, built.line, **arguments(built, now=2000.0))

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_publisher_that_dies_half_way_leaves_no_release(built: Any, tmp_path: Path) -> None:
    folder = tmp_path / "releases/steel/steel-0001"
    # Where the last file should go stands a folder: publishing breaks off after the graphs.
    (folder / "labelled.bin" / "x").mkdir(parents=True)

    with pytest.raises(OSError, match=r"labelled\.bin"):
        publish(tmp_path, built.line, **arguments(built))

    assert (folder / "task.onnx").exists()
    assert not (folder / "manifest.json").exists()
    assert list_manifests(tmp_path, "steel") == []
    assert next_number(tmp_path, "steel") == 1

    (folder / "labelled.bin" / "x").rmdir()
    (folder / "labelled.bin").rmdir()
    manifest = publish(tmp_path, built.line, **arguments(built))
    assert list_manifests(tmp_path, "steel") == [manifest]


def test_every_file_is_in_place_before_the_manifest(built: Any, tmp_path: Path) -> None:
    manifest = publish(tmp_path, built.line, **arguments(built))
    folder = tmp_path / "releases/steel/steel-0001"

    written = (folder / "manifest.json").stat().st_mtime_ns
    assert all((folder / entry.name).stat().st_mtime_ns <= written for entry in manifest.files.values())


def test_a_run_is_found_in_its_release(built: Any, tmp_path: Path) -> None:
    manifest = publish(tmp_path, built.line, **arguments(built))

    assert release_of_run(tmp_path, "steel", "r-1") == manifest
    assert release_of_run(tmp_path, "steel", "r-2") is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number": 2}, "the task graph was exported for steel-0001"),
        ({"space": None}, "a space graph and its entry must come together"),
        ({"graphs": {"golden": b"x"}, "space": None}, "golden is no graph"),
        ({"graphs": {}, "space": None}, "neither a task graph nor a space graph"),
    ],
)
def test_what_nodes_would_refuse_is_not_published(
    built: Any, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ReleaseError, match=message):
        publish(tmp_path, built.line, **arguments(built, **changes))

    assert not list(tmp_path.rglob("*"))


def test_a_space_graph_that_is_not_its_entry_s_is_not_published(built: Any, tmp_path: Path) -> None:
    entry = msgspec.structs.replace(built.entry, id="0" * 64)

    with pytest.raises(ReleaseError, match="its entry says 000000000000"):
        publish(tmp_path, built.line, **arguments(built, space=entry))

    assert not list(tmp_path.rglob("*"))


def test_a_broken_manifest_in_the_store_is_named(built: Any, tmp_path: Path) -> None:
    publish(tmp_path, built.line, **arguments(built))
    path = tmp_path / "releases/steel/steel-0001/manifest.json"
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(ReleaseError, match=r"manifest\.json"):
        list_manifests(tmp_path, "steel")


def test_golden_tiles_continue_a_crop_by_reflection(built: Any) -> None:
    crops = built.pixels(2, 96)

    tiles = as_tiles(crops, built.line.grid)

    assert tiles.shape == (2, 160, 160, 1)
    # (96 - 160) / 2 = -32: the crop stands in the middle, its second column mirrored outside its first.
    assert np.array_equal(tiles[:, 32:128, 32:128], crops)
    assert np.array_equal(tiles[:, 32:128, 31], crops[:, :, 1])


def test_golden_tiles_need_a_crop(built: Any) -> None:
    with pytest.raises(StateError, match="collect patches first"):
        make_golden(built.pixels(0, 96), grid=built.line.grid, scorer=scorer_of(built), space=None)


def test_manifests_are_written_the_same_for_the_same_release(built: Any, tmp_path: Path) -> None:
    manifests: list[Manifest] = [
        publish(tmp_path / name, built.line, **arguments(built)) for name in ("first", "second")
    ]

    assert manifests[0] == manifests[1]
    first, second = (
        (tmp_path / name / "releases/steel/steel-0001/manifest.json").read_bytes() for name in ("first", "second")
    )
    assert first == second


def test_a_release_says_what_each_provider_runs_and_how_far_that_may_lie(built: Any, tmp_path: Path) -> None:
    graphs = {"task": built.task, "task_int8": built.task, "space": built.space_graph}

    manifest = publish(
        tmp_path,
        built.line,
        **arguments(
            built,
            graphs=graphs,
            precision={"cpu": "int8"},
            tolerances={"task_int8": 0.1},
            parity={"task_int8": {"score": 0.01}},
        ),
    )

    assert manifest.graph_for("task", "cpu") == "task_int8"
    assert manifest.files["task_int8"].name == "task_int8.onnx"
    assert (manifest.tolerance_of("task_int8"), manifest.tolerance_of("task")) == (0.1, 1e-3)
    assert manifest.parity == {"task_int8": {"score": 0.01}}
    assert (tmp_path / "releases/steel/steel-0001/task_int8.onnx").read_bytes() == built.task


def test_a_precision_without_its_graph_is_not_published(built: Any, tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="cpu runs int8, but it has no such task graph"):
        publish(tmp_path, built.line, **arguments(built, precision={"cpu": "int8"}))

    assert not list(tmp_path.rglob("*"))
