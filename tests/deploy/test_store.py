"""The store as its owner sees it."""

from pathlib import Path

import pytest

from deploy.store import Store
from shared.errors import ReleaseError
from shared.release import release_path


def test_releases_are_listed_oldest_first_and_a_folder_without_manifest_is_none(store: Store) -> None:
    (store.root / "releases" / "steel" / "steel-0003").mkdir()

    assert [stored.manifest.number for stored in store.releases("steel")] == [1, 2]


def test_an_unknown_release_is_refused_with_the_known_ones(store: Store) -> None:
    with pytest.raises(ReleaseError, match="the newest are steel-0001, steel-0002"):
        store.release("steel", "steel-0009")


def test_one_flipped_byte_is_found(store: Store) -> None:
    release = store.release("steel", "steel-0002")
    store.check_files(release)
    path = store.root / release_path("steel", "steel-0002", "space.onnx")
    path.write_bytes(b"Graph 2")

    with pytest.raises(ReleaseError, match=r"space\.onnx: sha256"):
        store.check_files(release)


def test_a_missing_file_is_found(store: Store) -> None:
    (store.root / release_path("steel", "steel-0001", "space.onnx")).unlink()

    with pytest.raises(ReleaseError, match="it is not rolled out"):
        store.check_files(store.release("steel", "steel-0001"))


def test_a_manifest_in_the_wrong_folder_is_refused(store: Store) -> None:
    folder = store.root / "releases" / "steel"
    (folder / "steel-0002").rename(folder / "steel-0007")

    with pytest.raises(ReleaseError, match="its manifest says steel-0002"):
        store.release("steel", "steel-0007")


def test_a_line_without_a_rollout_has_none(store: Store, tmp_path: Path) -> None:
    assert store.rollout("steel") is None
    assert Store(tmp_path / "nowhere").releases("steel") == []
