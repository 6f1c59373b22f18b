"""A folder as a camera: each whole file once, in order, and judged ones put away."""

import errno
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.inspection.cameras.camera import Away, BadFrame, Frame
from edge_agent.inspection.cameras.folder import FolderCamera
from edge_agent.inspection.cameras.probe import probe
from shared.clock import ManualClock, SystemClock
from shared.images import encode_image
from shared.sources import FolderSource
from tests.edge_agent.inspection.pictures import greys, write_image


def folder_camera(
    directory: Path,
    *,
    until_done: bool = True,
    channels: int = 1,
    clock: ManualClock | None = None,
    **source: Any,
) -> FolderCamera:
    return FolderCamera(
        directory,
        FolderSource(path=str(directory), **source),
        base=directory.parent,
        frames_per_s=None,
        channels=channels,
        clock=clock or ManualClock(),
        until_done=until_done,
    )


def test_a_folder_is_read_in_natural_order_and_numbered(tmp_path: Path) -> None:
    for number in (10, 9, 2, 1):
        write_image(tmp_path / f"frame{number}.png", number)

    frames = list(folder_camera(tmp_path).frames(threading.Event()))

    assert greys(iter(frames)) == [1, 2, 9, 10]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]


class Writer(ManualClock):
    """A clock whose every wait lets another program write on."""

    def __init__(self, steps: list[Callable[[], object]]) -> None:
        super().__init__()
        self.steps = steps

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        if self.steps:
            self.steps.pop(0)()
        return super().wait(stop, seconds)


def test_a_file_that_is_still_written_is_left_alone(tmp_path: Path) -> None:
    growing = tmp_path / "b.png"
    writer = Writer([lambda part=part: growing.write_bytes(b"part" * part) for part in range(1, 6)])
    writer.steps.append(lambda: write_image(growing, 2))
    camera = folder_camera(tmp_path, clock=writer, until_done=False)

    first = next(camera.frames(threading.Event()))

    assert greys(iter([first])) == [2]
    assert writer.steps == []


def test_a_file_that_is_written_to_again_is_taken_once_when_it_is_whole(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", 1)
    write_image(tmp_path / "b.png", 2)
    frames = folder_camera(tmp_path).frames(threading.Event())
    first = next(frames)

    write_image(tmp_path / "b.png", 3, shape=(40, 40))

    assert greys(iter([first, *frames])) == [1, 3]


def test_a_broken_file_is_one_bad_frame_and_no_more(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    (tmp_path / "2.png").write_bytes(b"not an image")
    whole = encode_image(np.random.default_rng(0).integers(0, 255, (64, 64), dtype=np.uint8))
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    write_image(tmp_path / "4.png", 4)

    frames = list(folder_camera(tmp_path).frames(threading.Event()))

    assert greys(iter(frames)) == [1, "bad", "bad", 4]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert isinstance(frames[1], BadFrame)
    assert "2.png" in frames[1].reason


def test_a_file_of_any_name_is_told_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "a\nframe 7: sends \x1b[2J.png").write_bytes(b"not an image")

    (seen,) = folder_camera(tmp_path).frames(threading.Event())

    assert isinstance(seen, BadFrame)
    assert seen.reason.startswith(f"{tmp_path}/a\\nframe 7: sends \\x1b[2J.png: not an image")


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


def test_a_file_written_anew_is_a_new_frame_and_an_old_one_is_not(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    write_image(tmp_path / "2.png", 2)
    frames = folder_camera(tmp_path, until_done=False).frames(threading.Event())
    before = [next(frames), next(frames)]

    write_image(tmp_path / "1.png", 7)
    os.utime(tmp_path / "1.png", ns=(1, 1))

    assert greys(iter([*before, next(frames)])) == [1, 2, 7]


def test_a_loop_begins_again_and_takes_what_came_meanwhile(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    frames = folder_camera(tmp_path, loop=True).frames(threading.Event())
    first = [next(frames), next(frames)]

    write_image(tmp_path / "2.png", 2)
    later = greys(iter([next(frames) for _ in range(8)]))

    assert greys(iter(first)) == [1, 1]
    assert later.count(2) >= 3


def test_pictures_come_in_the_lines_channels(tmp_path: Path) -> None:
    write_image(tmp_path / "colour.png", 9, shape=(20, 30, 3))
    write_image(tmp_path / "grey.png", 9, shape=(10, 11))

    shapes = {
        channels: [
            frame.image.shape
            for frame in folder_camera(tmp_path, channels=channels).frames(threading.Event())
            if isinstance(frame, Frame)
        ]
        for channels in (1, 3)
    }

    assert shapes == {1: [(20, 30, 1), (10, 11, 1)], 3: [(20, 30, 3), (10, 11, 3)]}


def test_hidden_files_folders_and_other_patterns_are_not_frames(tmp_path: Path) -> None:
    write_image(tmp_path / ".part.png", 1)
    write_image(tmp_path / "a.png", 2)
    (tmp_path / "b.png").mkdir()
    (tmp_path / "notes.txt").write_text("lunch", encoding="utf-8")

    assert greys(folder_camera(tmp_path, pattern="*.png").frames(threading.Event())) == [2]


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


def test_a_file_that_cannot_be_moved_stays_and_is_not_read_again(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    write_image(images / "1.png", 1)
    (tmp_path / "done").write_text("a file where the folder should be", encoding="utf-8")

    seen = greys(folder_camera(images, processed="done").frames(threading.Event()))

    assert seen == [1]
    assert (images / "1.png").exists()


def test_ids_are_read_from_a_files_name(tmp_path: Path) -> None:
    (tmp_path / "lot-7").mkdir()
    write_image(tmp_path / "lot-7" / "part0012_a.png", 1)
    write_image(tmp_path / "lot-7" / "spare.png", 2)
    ids = "(?:lot-(?P<lot>[0-9]+)/)(?:part(?P<part>[0-9]+))?"

    frames = folder_camera(tmp_path, pattern="**/*.png", ids=ids).frames(threading.Event())

    assert [seen.ids for seen in frames if isinstance(seen, Frame)] == [{"lot": "7", "part": "0012"}, {"lot": "7"}]


def test_an_id_too_long_to_ride_along_is_left_out(tmp_path: Path) -> None:
    write_image(tmp_path / f"{'9' * 121}-7.png", 1)

    frames = folder_camera(tmp_path, ids="(?P<part>9+)-(?P<lot>[0-9])").frames(threading.Event())

    assert [seen.ids for seen in frames if isinstance(seen, Frame)] == [{"lot": "7"}]


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


def test_a_stopped_camera_gives_no_more_frames(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    write_image(tmp_path / "2.png", 2)
    stop = threading.Event()
    frames = folder_camera(tmp_path, until_done=False).frames(stop)
    next(frames)

    stop.set()

    assert list(frames) == []


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
