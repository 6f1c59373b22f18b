"""Cameras that other packages bring."""

import dataclasses
import sys
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.inspection.cameras.camera import Away, BadFrame, Frame, Seen
from edge_agent.inspection.cameras.plugin import PluginCamera, Setting
from shared.clock import ManualClock
from shared.errors import ConfigError
from shared.sources import PluginSource


def plugin_camera(name: str, *, until_done: bool = True, channels: int = 1, **settings: str | int) -> PluginCamera:
    setting = Setting(
        name="left",
        channels=channels,
        frames_per_s=None,
        clock=ManualClock(),
        base=Path("/nowhere"),
        until_done=until_done,
    )
    return PluginCamera(PluginSource(plugin=name, settings=dict(settings)), setting)


def shown(camera: PluginCamera, *, most: int = 100) -> list[Seen]:
    return list(islice(camera.frames(threading.Event()), most))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_installed_packages_camera_is_used_with_its_settings(acme: str, channels: int) -> None:
    seen = shown(plugin_camera(acme, channels=channels, greys="3 9"))

    frames = [entry for entry in seen if isinstance(entry, Frame)]
    assert [(frame.number, int(frame.image[0, 0, 0])) for frame in frames] == [(0, 3), (1, 9)]
    assert frames[0].image.shape == (8, 8, channels)
    assert frames[0].ids == {"part": "x"}


def test_what_it_raises_is_its_source_being_away_and_it_is_made_again(acme: str) -> None:
    seen = shown(plugin_camera(acme, until_done=False, greys="3 raise"), most=4)

    assert [type(entry) for entry in seen] == [Frame, Away, Frame, Away]
    assert seen[1] == Away('camera left: plugin "acme": RuntimeError: the driver is gone')
    assert sys.modules["acme_cameras"].AcmeCamera.made == 2


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"dtype": "int16"}, "image is int16 (8, 8, 1), expected uint8 (h, w, 1)"),
        ({"side": 0}, "image is (0, 0, 1), expected (h, w, 1)"),
        ({"id": 121}, "id part"),
    ],
)
def test_a_frame_of_the_wrong_kind_is_a_bad_frame(acme: str, settings: dict[str, str | int], words: str) -> None:
    (seen,) = shown(plugin_camera(acme, greys="3", **settings))

    assert isinstance(seen, BadFrame)
    assert seen.reason.startswith('camera left: plugin "acme": ')
    assert words in seen.reason


class Foreign:
    """A camera that gives, or raises, what it is told to."""

    def __init__(self, *given: object) -> None:
        self._given = given

    def frames(self, stop: threading.Event) -> Iterator[Any]:
        assert not stop.is_set()
        for entry in self._given:
            if isinstance(entry, Exception):
                raise entry
            yield entry


class MuteError(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


def given(acme: str, monkeypatch: pytest.MonkeyPatch, *entries: object) -> list[Seen]:
    """What comes of it when the package's camera gives this."""
    camera = plugin_camera(acme)
    monkeypatch.setattr(sys.modules["acme_cameras"], "AcmeCamera", lambda *_: Foreign(*entries))
    return shown(camera)


FRAME = Frame(3, 10.0, np.zeros((8, 8, 1), dtype=np.uint8))
HERE = 'camera left: plugin "acme": '


@pytest.mark.parametrize(
    ("changed", "number", "words"),
    [
        ({"number": np.int64(5)}, 3, "number is 5 (int64), expected an int of 0 or more"),
        ({"number": -1}, 3, "number is -1 (int), expected an int of 0 or more"),
        ({"number": True}, 3, "number is True (bool), expected an int of 0 or more"),
        ({"number": 2**64}, 3, "number is 18446744073709551616 (int), expected an int of 0 or more and below 2**53"),
        ({"number": 4, "missed": np.uint32(1)}, 4, "missed is 1 (uint32), expected an int of 0 or more"),
        ({"number": 4, "missed": -2}, 4, "missed is -2 (int), expected an int of 0 or more"),
        ({"captured_at": np.float64(7.0)}, 3, "captured_at is 7.0 (float64), expected seconds as a float"),
        ({"captured_at": float("nan")}, 3, "captured_at is nan (float), expected seconds as a float"),
        ({"captured_at": "now"}, 3, "captured_at is now (str), expected seconds as a float"),
        ({"ids": None}, 3, "ids is a NoneType, expected a mapping of str to str"),
        ({"ids": {"part": 7}}, 3, "ids is a dict, expected a mapping of str to str"),
        ({"ids": {"part": np.str_("a")}}, 3, "ids is a dict, expected a mapping of str to str"),
    ],
)
def test_a_frame_that_could_not_be_sent_on_is_a_bad_frame(
    acme: str, monkeypatch: pytest.MonkeyPatch, changed: dict[str, Any], number: int, words: str
) -> None:
    before, seen, after = given(acme, monkeypatch, FRAME, dataclasses.replace(FRAME, **changed), FRAME)

    assert before is after is FRAME
    assert isinstance(seen, BadFrame)
    assert (seen.number, type(seen.number)) == (number, int)
    assert seen.reason.startswith(HERE + words)


def test_a_time_in_whole_seconds_is_a_time(acme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (seen,) = given(acme, monkeypatch, dataclasses.replace(FRAME, captured_at=10))

    assert isinstance(seen, Frame)


@pytest.mark.parametrize(
    ("said", "shown_as"),
    [
        ("no answer\n  from\tthe camera", "no answer from the camera"),
        ("cannot open rtsp://admin:pw@cam/1?token=abc", "cannot open rtsp://***@cam/1?token=***"),
        ("y" * 100_000, "y" * 299 + "…"),
        (f"{' ' * 100_000}z", "z"),
        ("\udcff\x1b[31m", "??[31m"),
    ],
)
def test_what_another_package_says_is_one_short_line_without_credentials(
    acme: str, monkeypatch: pytest.MonkeyPatch, said: str, shown_as: str
) -> None:
    assert given(acme, monkeypatch, Away(said), BadFrame(7, said)) == [
        Away(HERE + shown_as),
        BadFrame(7, HERE + shown_as),
    ]

    (raised,) = given(acme, monkeypatch, OSError(said))
    assert isinstance(raised, Away)
    assert raised.reason.startswith(f"{HERE}OSError: {shown_as[:200]}")
    assert len(raised.reason) <= len(HERE) + 300


def test_what_is_no_text_and_errors_without_words_are_said_all_the_same(
    acme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    away: Any = Away
    bad: Any = BadFrame

    assert given(acme, monkeypatch, away(7), bad(np.int64(4), b"torn"), MuteError()) == [
        Away(f"{HERE}7"),
        BadFrame(0, f"{HERE}b'torn'"),
        Away(f"{HERE}MuteError"),
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nobody", 'plugin "nobody" is not installed; installed are acme, broken, missing'),
        ("broken", 'plugin "broken" is a int; expected a function that makes a camera'),
        ("missing", 'plugin "missing" does not load: AttributeError'),
    ],
)
def test_a_plugin_that_cannot_be_used_is_refused_with_the_reason(acme: str, name: str, words: str) -> None:
    with pytest.raises(ConfigError, match="camera left: ") as refused:
        plugin_camera(name)

    assert words in str(refused.value)
    assert acme == "acme"
