from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.inspection.loading import CACHE_NAME, LoadedRelease, open_mask
from shared.config import LineConfig, RuntimeTable
from shared.errors import ConfigError, ReleaseError
from shared.geometry import PatchGrid

CPU = RuntimeTable(provider="cpu", threads=1)
MakeRelease = Callable[..., Any]


def load(line: LineConfig, release: Any, **changes: Any) -> LoadedRelease:
    given = {"manifest_sha256": release.manifest_sha256, "line": line, "runtime": CPU} | changes
    return LoadedRelease.load(release.directory, **given)


def test_a_whole_release_loads_what_it_lists(line: LineConfig, make_release: MakeRelease) -> None:
    labelled = np.eye(3, 16, dtype=np.float32)

    whole = load(line, make_release(2, labelled=labelled))
    factory = load(line, make_release(1, task=False))

    assert (whole.task is not None, whole.space is not None, whole.provider) == (True, True, "cpu")
    assert whole.labelled is not None
    np.testing.assert_allclose(whole.labelled, labelled)
    assert (factory.task, factory.labelled) == (None, None)
    assert factory.scores(np.zeros((64, 64, 1), dtype=np.uint8)) is None


def flip_a_byte(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("file", ["manifest.json", "task.bin", "space.bin", "labelled.bin"])
def test_one_flipped_byte_anywhere_is_refused(line: LineConfig, make_release: MakeRelease, file: str) -> None:
    release = make_release(1, labelled=np.eye(3, 16, dtype=np.float32))

    flip_a_byte(release.directory / file)

    with pytest.raises(ReleaseError, match="sha256"):
        load(line, release)


@pytest.mark.parametrize("file", ["manifest.json", "task.bin"])
def test_a_missing_file_is_named(line: LineConfig, make_release: MakeRelease, file: str) -> None:
    release = make_release(1)

    (release.directory / file).unlink()

    with pytest.raises(ReleaseError, match=file):
        load(line, release)


def test_a_file_that_grew_is_refused(line: LineConfig, make_release: MakeRelease) -> None:
    release = make_release(1)
    with (release.directory / "task.bin").open("ab") as file:
        file.write(b"more")

    with pytest.raises(ReleaseError, match=r"more than \d+ bytes"):
        load(line, release)


def test_a_release_cut_to_other_sizes_than_the_nodes_line_toml_is_the_nodes_fault(
    line: LineConfig, make_release: MakeRelease
) -> None:
    grid = PatchGrid(tile_px=128, patch_px=32, margin_px=16, cell_px=8)

    with pytest.raises(ConfigError, match=r'line\.toml of "strip" says'):
        load(line, make_release(1, grid=grid))


def test_a_labelled_summary_of_another_space_is_refused(line: LineConfig, make_release: MakeRelease) -> None:
    release = make_release(1, labelled=np.eye(3, 8, dtype=np.float32))

    with pytest.raises(ReleaseError, match=r"labelled summary of shape \(3, 8\)"):
        load(line, release)


def test_a_graph_that_is_whole_but_broken_is_refused(line: LineConfig, make_release: MakeRelease) -> None:
    with pytest.raises(ReleaseError, match="onnxruntime says"):
        load(line, make_release(1, task=b"garbage that was signed"))


def test_a_node_runs_the_graph_in_the_precision_of_its_provider(
    line: LineConfig, make_release: MakeRelease, build_task: Callable[..., bytes]
) -> None:
    """The graphs differ by what they add to the grey, so the answer says which one ran."""
    others = {"task_int8": build_task(line.grid, bias=0.25), "task_fp16": build_task(line.grid, bias=0.5)}
    frame = np.zeros((64, 64, 1), dtype=np.uint8)

    on_cpu = load(line, make_release(1, others=others, precision={"cpu": "int8", "cuda": "fp16"}))
    elsewhere = load(line, make_release(2, others=others, precision={"cuda": "fp16"}))

    assert (on_cpu.task_role, on_cpu.precision) == ("task_int8", "int8")
    assert (elsewhere.task_role, elsewhere.precision) == ("task", "fp32")
    np.testing.assert_allclose(on_cpu.scores(frame), 0.25, atol=1e-6)
    np.testing.assert_allclose(elsewhere.scores(frame), 0.0, atol=1e-6)


def test_optimised_graphs_are_kept_beside_a_release_only_where_that_is_asked(
    line: LineConfig, make_release: MakeRelease
) -> None:
    release, told = make_release(1), []
    before = sorted(release.directory.iterdir())

    load(line, release)
    assert sorted(release.directory.iterdir()) == before

    load(line, release, cached=True, step=lambda done, total: told.append((done, total)))
    assert len(list((release.directory / CACHE_NAME).iterdir())) == 2
    assert told == [(0, 2), (1, 2), (2, 2)]


def test_the_mask_graph_is_loaded_when_it_is_asked_for(
    line: LineConfig, make_release: MakeRelease, build_mask: Callable[..., bytes]
) -> None:
    tiles = np.random.default_rng(1).integers(0, 256, (2, 96, 96, 1), dtype=np.uint8)
    release = make_release(1, others={"mask": build_mask(line.grid)})
    manifest = load(line, release).manifest

    mask = open_mask(release.directory, manifest, line, CPU)

    np.testing.assert_array_equal(mask.masks(tiles), tiles[..., 0] > 127)
    flip_a_byte(release.directory / "mask.bin")
    with pytest.raises(ReleaseError, match="sha256"):
        open_mask(release.directory, manifest, line, CPU)


def test_a_release_without_a_mask_graph_says_no_classes(line: LineConfig, make_release: MakeRelease) -> None:
    release = make_release(1)

    with pytest.raises(ReleaseError, match="no mask graph"):
        open_mask(release.directory, load(line, release).manifest, line, CPU)
