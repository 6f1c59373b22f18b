"""`winnow demo` before anything is started."""

from pathlib import Path

import pytest

from deploy.commands.demo import _prepare
from shared.errors import ConfigError


def test_a_folder_with_files_of_others_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")

    with pytest.raises(ConfigError, match="holds files that no demo wrote"):
        _prepare(tmp_path)
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_what_an_earlier_demo_left_is_cleared(tmp_path: Path) -> None:
    out = tmp_path / "out"
    _prepare(out).close()
    (out / "report.html").write_text("old")

    _prepare(out).close()

    assert not (out / "report.html").exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")

    with pytest.raises(ConfigError, match="is a file"):
        _prepare(tmp_path / "out")


def test_a_second_demo_in_the_same_folder_is_refused_and_leaves_the_first_ones_files(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with _prepare(out):
        (out / "events.jsonl").write_text("the first one's")

        with pytest.raises(ConfigError, match="another demo is writing there"):
            _prepare(out)

        assert (out / "events.jsonl").read_text() == "the first one's"
    _prepare(out).close()
    assert not (out / "events.jsonl").exists()
