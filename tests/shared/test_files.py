import os
import stat
from pathlib import Path

import pytest

from shared.errors import InputError
from shared.files import read_bounded, write_durably


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_is_written_whole_with_the_folders_it_needs(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"

    write_durably(path, b"content")

    assert path.read_bytes() == b"content"
    assert list(path.parent.iterdir()) == [path]


def test_a_write_that_breaks_off_leaves_the_old_content_and_no_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.bin"
    write_durably(path, b"old")

    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_durably(path, b"new")

    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_bytes_are_on_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file.bin"
    steps = []
    fsync, replace = os.fsync, Path.replace

    def sync(handle: int) -> None:
        steps.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "content")
        fsync(handle)

    def name(part: Path, target: Path) -> Path:
        steps.append("name")
        return replace(part, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", name)
    write_durably(path, b"content")

    assert steps == ["content", "name", "folder"]


def test_a_secret_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"

    write_durably(path, b"secret", secret=True)

    assert mode(path) == 0o600


def test_a_secret_is_not_opened_to_others_by_a_part_left_behind(tmp_path: Path) -> None:
    part = tmp_path / ".key.part"
    part.write_bytes(b"left by a power cut")
    part.chmod(0o644)

    write_durably(tmp_path / "key", b"secret", secret=True)

    assert mode(tmp_path / "key") == 0o600
    assert not part.exists()


def test_a_file_up_to_the_limit_is_read_and_one_byte_more_is_not(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"12345")

    assert read_bounded(path, limit=5) == b"12345"
    with pytest.raises(InputError, match="more than 4 bytes"):
        read_bounded(path, limit=4)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.bin: No such file"):
        read_bounded(tmp_path / "gone.bin", limit=4)
