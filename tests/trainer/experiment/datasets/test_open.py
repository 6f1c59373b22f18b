"""Sets by name, and archives: unpacked once, safely, whole or not at all."""

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

from shared.errors import ConfigError, InputError
from trainer.experiment.datasets.archive import unpacked
from trainer.experiment.datasets.open import KNOWN, open_dataset


def pack(folder: Path, archive: Path) -> None:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(folder, arcname=folder.name)


def odd_archive(archive: Path, member: tarfile.TarInfo, content: bytes = b"") -> Path:
    member.size = len(content)
    with tarfile.open(archive, "w:xz") as tar:
        tar.addfile(member, io.BytesIO(content))
    return archive


def test_an_archive_is_unpacked_once_and_opened_like_a_folder(write_set: Any, ask: Any, tmp_path: Path) -> None:
    folder = write_set(manifest=True)
    pack(folder, tmp_path / "packed" / "tiny.tar.xz")
    work, steps = tmp_path / "work", []

    packed = open_dataset(tmp_path / "packed", ask(step=lambda *told: steps.append(told)), work=work)
    (tmp_path / "packed" / "tiny.tar.xz").write_bytes(b"gone bad")
    again = open_dataset(tmp_path / "packed", ask(), work=work)

    beside = open_dataset(tmp_path / "sets", ask(), work=tmp_path / "unused")
    assert packed.splits == beside.splits == again.splits
    assert steps
    assert [path.name for path in work.iterdir()] == ["tiny"]
    assert not (tmp_path / "unused").exists()


def test_an_archive_that_its_manifest_does_not_own_leaves_nothing(write_set: Any, ask: Any, tmp_path: Path) -> None:
    folder = write_set(manifest=True)
    (folder / "masks" / "a0.png").write_bytes(b"changed")
    pack(folder, tmp_path / "packed" / "tiny.tar.xz")

    with pytest.raises(InputError) as caught:
        open_dataset(tmp_path / "packed", ask(), work=tmp_path / "work")

    [problem] = caught.value.problems
    assert problem.startswith("tiny/masks/a0.png: sha256 ")
    assert "manifest.json says" in problem
    assert list((tmp_path / "work").iterdir()) == []


def link(kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo("tiny/link")
    member.type, member.linkname = kind, "/etc/hostname"
    return member


@pytest.mark.parametrize(
    ("member", "told"),
    [
        (tarfile.TarInfo("../evil"), '"../evil" lies outside tiny/'),
        (tarfile.TarInfo("tiny/../../evil"), '"tiny/../../evil" lies outside tiny/'),
        (tarfile.TarInfo("/tmp/evil"), '"/tmp/evil" lies outside tiny/'),  # noqa: S108  # the fault itself
        (tarfile.TarInfo("other/file"), '"other/file" lies outside tiny/'),
        (link(tarfile.SYMTYPE), '"tiny/link" is no plain file or folder'),
        (link(tarfile.LNKTYPE), '"tiny/link" is no plain file or folder'),
        (link(tarfile.FIFOTYPE), '"tiny/link" is no plain file or folder'),
    ],
)
def test_an_archive_that_reaches_out_of_its_folder_is_refused(
    tmp_path: Path, member: tarfile.TarInfo, told: str
) -> None:
    archive = odd_archive(tmp_path / "tiny.tar.xz", member)

    with pytest.raises(InputError) as caught:
        unpacked(archive, tmp_path / "work")

    assert str(caught.value) == f"{archive}: {told}; nothing was unpacked"
    assert list((tmp_path / "work").iterdir()) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.tar.xz", "work"]


def test_an_archive_that_would_fill_the_disk_is_refused(tmp_path: Path) -> None:
    archive = odd_archive(tmp_path / "tiny.tar.xz", tarfile.TarInfo("tiny/zeros"), bytes(1 << 20))

    with pytest.raises(InputError, match=r"1 files of 1048576 bytes and more, the limit is .* files of 1000000 bytes"):
        unpacked(archive, tmp_path / "work", max_bytes=1_000_000)

    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("keep", [0, 40, 0.5, 0.95])
def test_an_archive_cut_short_leaves_nothing(write_set: Any, tmp_path: Path, keep: float) -> None:
    archive = tmp_path / "packed" / "tiny.tar.xz"
    pack(write_set(), archive)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(keep if keep >= 1 else keep * len(whole))])

    with pytest.raises(InputError, match=r"tiny.tar.xz: broken archive: .*; get the file anew"):
        unpacked(archive, tmp_path / "work")

    assert list((tmp_path / "work").iterdir()) == []


def test_a_work_folder_that_cannot_be_made_is_told(write_set: Any, tmp_path: Path) -> None:
    archive = tmp_path / "packed" / "tiny.tar.xz"
    pack(write_set(), archive)
    (tmp_path / "work").write_bytes(b"a file stands here")

    with pytest.raises(InputError, match=r"tiny.tar.xz: File exists; nothing was unpacked into .*work"):
        unpacked(archive, tmp_path / "work")


def test_an_archive_without_its_folder_is_refused(tmp_path: Path) -> None:
    archive = odd_archive(tmp_path / "tiny.tar.xz", tarfile.TarInfo("tiny"), b"a file")

    with pytest.raises(InputError, match="holds no folder tiny/"):
        unpacked(archive, tmp_path / "work")


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path, ask: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        open_dataset(tmp_path, ask(name="camwid"), work=tmp_path / "work")

    assert all(name in str(caught.value) for name in ("camwid", *KNOWN))


@pytest.mark.parametrize("name", ["../tiny", "a/b", "", ".hidden", "/etc"])
def test_a_name_that_is_a_path_is_refused(tmp_path: Path, ask: Any, name: str) -> None:
    with pytest.raises(ConfigError, match="not the plain name of a folder"):
        open_dataset(tmp_path, ask(name=name), work=tmp_path / "work")


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_known_set_that_is_missing_says_where_it_was_expected_and_who_has_it(
    tmp_path: Path, ask: Any, name: str
) -> None:
    with pytest.raises(InputError) as caught:
        open_dataset(tmp_path, ask(name=name), work=tmp_path / "work")

    told = str(caught.value)
    assert told.startswith(
        f"{tmp_path / name}: no such folder, and no {name}.tar.xz beside it; its owners publish it at "
    )
    assert "://" not in told
    assert not (tmp_path / "work").exists()


def test_a_folder_of_data_that_is_not_there_is_named(tmp_path: Path, ask: Any) -> None:
    with pytest.raises(InputError, match="nosuch: no such folder; give the folder of the data sets with --data DIR"):
        open_dataset(tmp_path / "nosuch", ask(), work=tmp_path / "work")
