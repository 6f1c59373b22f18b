"""Cameras that other packages bring."""

import sys
import threading
from itertools import islice
from pathlib import Path

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
