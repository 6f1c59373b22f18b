"""Pictures on disk: PNG under the name that was asked for, whole or not at all, an operator's words as they are."""

from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from trainer.plotting import Figure, save


def titled(text: str) -> Figure:
    figure = Figure(figsize=(2, 1))
    figure.add_subplot().set_title(text)
    return figure


@pytest.mark.parametrize("name", ["curves", "curves.xyz", "curves.png"])
def test_a_picture_is_a_png_under_its_name(tmp_path: Path, name: str) -> None:
    save(titled("x"), tmp_path / "deep" / name)

    assert [path.name for path in (tmp_path / "deep").iterdir()] == [name]
    assert (tmp_path / "deep" / name).read_bytes().startswith(b"\x89PNG")


def test_dollars_in_a_title_are_no_formula(tmp_path: Path) -> None:
    save(titled("a $\\frac{$ b"), tmp_path / "curves.png")

    assert (tmp_path / "curves.png").is_file()


def test_a_picture_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "curves.png"
    path.write_bytes(b"old")

    def stop(_self: object, file: object, **_words: object) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(FigureCanvasAgg, "print_figure", stop)

    with pytest.raises(OSError, match="No space left"):
        save(titled("x"), path)

    assert path.read_bytes() == b"old"
    assert [found.name for found in tmp_path.iterdir()] == ["curves.png"]
