"""A folder and files that cannot be had for a while, or at all: nothing is read twice, nothing is lost."""

import errno
import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_agent.inspection.cameras.camera import Away, BadFrame
from edge_agent.inspection.cameras.probe import probe
from shared.clock import SystemClock
from tests.edge_agent.inspection.folders import Writer, folder_camera
from tests.edge_agent.inspection.pictures import greys, write_image


def test_a_file_that_vanishes_before_it_is_read_is_no_frame(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    write_image(tmp_path / "2.png", 2)
    frames = folder_camera(tmp_path).frames(threading.Event())
    next(frames)

    (tmp_path / "2.png").unlink()

    assert greys(frames) == []


def test_a_folder_that_vanishes_between_two_images_loses_none(tmp_path: Path) -> None:
    images, away = tmp_path / "images", tmp_path / "unmounted"
    images.mkdir()
    for number in (1, 2, 3):
        write_image(images / f"{number}.png", number)
    writer, stop = Writer([]), threading.Event()
    frames = folder_camera(images, clock=writer, until_done=False, failed="failed").frames(stop)
    first = next(frames)

    images.rename(away)
    writer.steps = [lambda: away.rename(images), *[lambda: None] * 3, stop.set]

    assert greys(iter([first, *frames])) == [1, "away", 2, 3]
    assert not (tmp_path / "failed").exists()


def refuse_to_open(monkeypatch: pytest.MonkeyPatch, name: str, times: int) -> list[str]:
    """Have the disk answer with an error whenever a file is opened, so many times; return when it did."""
    refused: list[str] = []
    really_open = Path.open

    def attempt(path: Path, *args: Any, **more: Any) -> Any:
        if path.name == name and len(refused) < times:
            refused.append(name)
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return really_open(path, *args, **more)

    monkeypatch.setattr(Path, "open", attempt)
    return refused


def test_a_file_that_the_disk_would_not_give_is_asked_for_again_and_not_moved_as_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in (1, 2):
        write_image(images / f"{number}.png", number)
    refused = refuse_to_open(monkeypatch, "1.png", 2)
    writer, stop = Writer([]), threading.Event()
    writer.steps = [*[lambda: None] * 6, stop.set]

    camera = folder_camera(images, clock=writer, until_done=False, processed="done", failed="failed")
    seen = list(camera.frames(stop))

    assert greys(iter(seen)) == [2, "away", 1]
    assert seen[1] == Away(f"{images / '1.png'}: Input/output error")
    assert refused == ["1.png"] * 2
    assert not (tmp_path / "failed").exists()


def test_a_file_that_the_disk_never_gives_is_a_bad_frame_in_the_end_and_stays_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    write_image(images / "1.png", 1)
    refused = refuse_to_open(monkeypatch, "1.png", 100)
    writer, stop = Writer([]), threading.Event()
    writer.steps = [*[lambda: None] * 200, stop.set]

    seen = list(folder_camera(images, clock=writer, until_done=False, failed="failed").frames(stop))

    assert greys(iter(seen)) == ["away"] * 7 + ["bad"]
    assert seen[-1] == BadFrame(0, f"{images / '1.png'}: Input/output error; it stays where it is")
    assert (images / "1.png").exists()
    assert len(refused) == 8


@pytest.mark.parametrize("loop", [True, False])
def test_a_run_until_done_and_a_loop_wait_for_no_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, loop: bool
) -> None:
    write_image(tmp_path / "1.png", 1)
    write_image(tmp_path / "2.png", 2)
    refuse_to_open(monkeypatch, "1.png", 100)

    source = {"loop": True} if loop else {"failed": "failed"}
    frames = itertools.islice(folder_camera(tmp_path, **source).frames(threading.Event()), 4)

    assert greys(frames) == ["bad", 2] * (2 if loop else 1)
    assert (tmp_path / "1.png").exists()


def test_a_folder_below_that_cannot_be_read_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_image(tmp_path / "a" / "1.png", 1)
    scan = os.scandir

    def refuse(path: Any) -> Any:
        # Permissions do not bind who runs these tests.
        if Path(path).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)

    assert greys(folder_camera(tmp_path, pattern="**/*").frames(threading.Event())) == [1]
    assert [record.getMessage() for record in caplog.records] == [
        f"{tmp_path / 'b'}: Permission denied; no frame is taken from it"
    ]


def test_a_folder_that_is_away_for_a_while_is_not_read_twice(tmp_path: Path) -> None:
    images, away = tmp_path / "images", tmp_path / "unmounted"
    images.mkdir()
    write_image(images / "1.png", 1)

    def mounted() -> None:
        away.rename(images)
        write_image(images / "2.png", 2)

    writer = Writer([])
    frames = folder_camera(images, clock=writer, until_done=False).frames(threading.Event())
    first = next(frames)

    writer.steps = [lambda: images.rename(away), lambda: None, mounted]
    later = [next(frames) for _ in range(3)]

    assert greys(iter([first, *later])) == [1, "away", "away", 2]
    assert writer.steps == []


def test_a_missing_folder_ends_a_run_until_done(tmp_path: Path) -> None:
    seen = list(folder_camera(tmp_path / "nowhere").frames(threading.Event()))

    assert seen == [Away(f"{tmp_path}/nowhere: not a folder")]


def may_not_read(path: str | Path) -> Iterator[os.DirEntry[str]]:
    """Stand in for ``os.scandir``: the tests may be root, whom no mode of a folder stops."""
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))


def test_a_folder_that_may_not_be_read_for_a_while_is_away_and_not_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, scandir = tmp_path / "images", os.scandir
    images.mkdir()
    write_image(images / "1.png", 1)

    def allowed() -> None:
        monkeypatch.setattr(os, "scandir", scandir)
        write_image(images / "2.png", 2)

    writer, stop = Writer([]), threading.Event()
    frames = folder_camera(images, clock=writer, until_done=False).frames(stop)
    first = next(frames)

    refused = [lambda: monkeypatch.setattr(os, "scandir", may_not_read), lambda: None]
    writer.steps = [*refused, allowed, lambda: None, lambda: None, stop.set]
    later = list(frames)

    # Taken for empty, the folder would have been forgotten and its first image judged again.
    assert greys(iter([first, *later])) == [1, "away", "away", 2]
    assert later[0] == Away(f"{images}: Permission denied")
    assert writer.steps == []


def test_a_look_through_a_camera_says_that_its_folder_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "1.png", 1)

    monkeypatch.setattr(os, "scandir", may_not_read)

    found = probe(folder_camera(tmp_path), SystemClock(), frames=1, within_s=5.0)

    assert (found.reachable, found.reason) == (False, f"{tmp_path}: Permission denied")
