"""A folder as a camera: each whole file once, in order, and judged ones put away."""

import os
import threading
from pathlib import Path

import numpy as np

from edge_agent.inspection.cameras.camera import BadFrame, Frame
from shared.images import encode_image
from tests.edge_agent.inspection.folders import Writer, folder_camera
from tests.edge_agent.inspection.pictures import greys, write_image


def test_a_folder_is_read_in_natural_order_and_numbered(tmp_path: Path) -> None:
    for number in (10, 9, 2, 1):
        write_image(tmp_path / f"frame{number}.png", number)

    frames = list(folder_camera(tmp_path).frames(threading.Event()))

    assert greys(iter(frames)) == [1, 2, 9, 10]
    assert [frame.number for frame in frames] == [0, 1, 2, 3]


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


def test_a_stopped_camera_gives_no_more_frames(tmp_path: Path) -> None:
    write_image(tmp_path / "1.png", 1)
    write_image(tmp_path / "2.png", 2)
    stop = threading.Event()
    frames = folder_camera(tmp_path, until_done=False).frames(stop)
    next(frames)

    stop.set()

    assert list(frames) == []
