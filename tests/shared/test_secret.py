"""A password in a file of its own."""

import os
from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.secret import read_secret


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"s3cr\xff", "not text in UTF-8"),
        (b"\n", "0 characters"),
        (b"a\nb", "2 lines"),
        (b"a" * 65_536, "one line of up to 65535"),
    ],
)
def test_a_secret_that_is_no_password_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(data)
    path.chmod(0o600)

    with pytest.raises(ConfigError, match=why):
        read_secret(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o601])
def test_a_password_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    secret.chmod(mode)

    with pytest.raises(ConfigError, match="chmod 600") as refused:
        read_secret(secret)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_password_of_its_owner_alone_is_read_without_its_newline(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    secret.chmod(mode)

    assert read_secret(secret) == "s3cret"


def test_a_password_file_that_is_a_pipe_or_a_folder_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "secret", 0o600)

    for path in (tmp_path / "secret", tmp_path):
        with pytest.raises(ConfigError, match=f"^{path}: not a regular file; the file must hold the password alone$"):
            read_secret(path)


def test_a_missing_password_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file must hold the password alone"):
        read_secret(tmp_path / "password")
    assert list(tmp_path.iterdir()) == []
