"""Releases on the node's disk."""

from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.releases.activation import Held
from edge_agent.releases.shelf import Shelf, check
from shared.errors import ReleaseError

Build = Callable[..., Held]


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    for name in ("incoming", "releases"):
        (tmp_path / name).mkdir()
    return Shelf(incoming=tmp_path / "incoming", releases=tmp_path / "releases")


def arrive(shelf: Shelf, build: Build, number: int) -> Held:
    """Put a release into incoming/, as the courier does."""
    held = build(shelf.incoming, number)
    (shelf.incoming / "releases" / "strip").rename(shelf.incoming / "strip")
    return held


@pytest.mark.parametrize("name", ["manifest.json", "task.bin", "golden.bin"])
def test_one_flipped_bit_in_any_file_is_found(shelf: Shelf, build_release: Build, name: str) -> None:
    held = arrive(shelf, build_release, 1)
    file = shelf.incoming / "strip" / held.release / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    with pytest.raises(ReleaseError, match=f"{name}: sha256"):
        check(file.parent, sha256=held.sha256, line="strip")
    assert shelf.find("strip", held) is None


def test_a_missing_file_is_named(shelf: Shelf, build_release: Build) -> None:
    held = arrive(shelf, build_release, 1)
    (shelf.incoming / "strip" / held.release / "golden.bin").unlink()

    with pytest.raises(ReleaseError, match=r"golden\.bin: No such file"):
        check(shelf.incoming / "strip" / held.release, sha256=held.sha256, line="strip")


def test_a_release_of_another_line_is_refused(shelf: Shelf, build_release: Build) -> None:
    held = arrive(shelf, build_release, 1)

    with pytest.raises(ReleaseError, match='made for line "strip", not "coil"'):
        check(shelf.incoming / "strip" / held.release, sha256=held.sha256, line="coil")


def test_a_tried_release_moves_into_place_over_a_damaged_one(shelf: Shelf, build_release: Build) -> None:
    held = arrive(shelf, build_release, 1)
    place = shelf.place("strip", held.release)
    place.mkdir(parents=True)
    (place / "manifest.json").write_bytes(b"half a manif")

    shelf.install("strip", held)

    assert shelf.find("strip", held) == place
    assert not (shelf.incoming / "strip" / held.release).exists()


def test_a_release_that_lies_nowhere_whole_is_not_put_in_place(shelf: Shelf) -> None:
    with pytest.raises(ReleaseError, match="no longer whole"):
        shelf.install("strip", Held("strip-0001", 1, "a" * 64))
    assert list(shelf.releases.iterdir()) == []


def test_pruning_keeps_what_something_points_at(shelf: Shelf) -> None:
    for number in range(4):
        (shelf.releases / "strip" / f"strip-000{number}").mkdir(parents=True)
    (shelf.releases / "coil" / "coil-0001").mkdir(parents=True)

    removed = shelf.prune("strip", (Held("strip-0003", 3, ""), None, Held("strip-0001", 1, "")))

    assert removed == ["strip-0000", "strip-0002"]
    assert sorted(path.name for path in shelf.releases.glob("*/*")) == ["coil-0001", "strip-0001", "strip-0003"]
