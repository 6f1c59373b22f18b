from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.inspection.loading import LoadedRelease
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
