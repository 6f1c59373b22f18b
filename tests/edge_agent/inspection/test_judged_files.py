"""Where a folder's judged files go, and that none becomes a frame again."""

import threading
from pathlib import Path

import pytest

from edge_agent.inspection.cameras.camera import Away, Frame
from tests.edge_agent.inspection.folders import folder_camera
from tests.edge_agent.inspection.pictures import greys, write_image


def test_judged_files_are_moved_and_those_that_cannot_be_read_elsewhere(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    write_image(images / "1.png", 1)
    (images / "2.png").write_bytes(b"not an image")
    write_image(images / "3.png", 3)
    (tmp_path / "done").mkdir()
    (tmp_path / "done" / "3.png").write_bytes(b"of last week")
    frames = folder_camera(images, processed="done", failed="images/failed").frames(threading.Event())

    first = next(frames)
    before = sorted(path.name for path in images.iterdir())
    rest = greys(frames)

    assert (greys(iter([first])), rest) == ([1], ["bad", 3])
    # A frame in hand is not moved before it was judged: a node that dies then sees it again.
    assert before == ["1.png", "2.png", "3.png"]
    assert sorted(path.name for path in (tmp_path / "done").iterdir()) == ["1.png", "3-2.png", "3.png"]
    assert (tmp_path / "done" / "3.png").read_bytes() == b"of last week"
    assert [path.name for path in images.rglob("*")] == ["failed", "2.png"]


def test_files_that_were_moved_below_the_folder_are_not_frames_again(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    camera = folder_camera(tmp_path, pattern="**/*", processed=f"{tmp_path.name}/done")

    again = folder_camera(tmp_path, pattern="**/*", processed=f"{tmp_path.name}/done")

    assert greys(camera.frames(threading.Event())) == [1]
    assert greys(again.frames(threading.Event())) == []


def test_a_link_to_where_judged_files_lie_does_not_make_them_frames_again(tmp_path: Path) -> None:
    images = tmp_path / "images"
    (images / "done").mkdir(parents=True)
    (tmp_path / "put").symlink_to(images / "done")
    write_image(images / "1.png", 1)

    first = greys(folder_camera(images, pattern="**/*", processed="put").frames(threading.Event()))
    again = greys(folder_camera(images, pattern="**/*", processed="put").frames(threading.Event()))

    assert (first, again) == ([1], [])
    assert [path.name for path in (images / "done").iterdir()] == ["1.png"]


def test_a_link_that_puts_judged_files_back_is_told_and_no_file_moves(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (tmp_path / "done").symlink_to(images)
    write_image(images / "1.png", 1)

    (seen,) = folder_camera(images, processed="done").frames(threading.Event())

    assert isinstance(seen, Away)
    assert "leads back to it" in seen.reason
    assert [path.name for path in images.iterdir()] == ["1.png"]


def test_a_file_that_cannot_be_moved_stays_and_is_not_read_again(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    write_image(images / "1.png", 1)
    (tmp_path / "done").write_text("a file where the folder should be", encoding="utf-8")

    seen = greys(folder_camera(images, processed="done").frames(threading.Event()))

    assert seen == [1]
    assert (images / "1.png").exists()


def test_a_judged_file_whose_disk_answers_with_errors_is_left_and_the_camera_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    real, images = tmp_path / "real", tmp_path / "images"
    real.mkdir()
    write_image(real / "a.png", 7)
    images.symlink_to(real)
    frames = folder_camera(images, until_done=False, processed="done").frames(threading.Event())

    assert isinstance(next(frames), Frame)
    images.unlink()
    images.symlink_to("x" * 300)

    assert next(frames) == Away(f"{images}: File name too long")
    assert f"{images / 'a.png'}: File name too long; it stays where it is" in caplog.text
