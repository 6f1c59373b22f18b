from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_agent.inspection.cameras.camera import BadFrame
from edge_agent.inspection.replay import replay
from shared.errors import ConfigError
from shared.images import encode_image

FOLDER = """
[[cameras]]
name = "left"
line = "strip"
source = {type = "folder", path = "images"}
"""


@pytest.fixture
def agent_toml(write_agent: Callable[[str], Path], tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        image = rng.integers(0, 255, (64, 64), dtype=np.uint8)
        (tmp_path / "images" / f"{number}.png").write_bytes(encode_image(image))
    (tmp_path / "images" / "2.png").write_bytes(b"broken")
    return write_agent(FOLDER)


def test_every_patch_of_every_frame_gets_its_verdict(agent_toml: Path, make_release: Callable[..., Any]) -> None:
    release = make_release(1)

    found = list(replay(agent_toml, "left", release=release.directory, frames=None))

    judged = [entry for entry in found if not isinstance(entry, BadFrame)]
    assert [entry.number for entry in found if isinstance(entry, BadFrame)] == [2]
    assert [(frame.number, patch.row, patch.col) for frame, patch, _ in judged] == [
        (number, row, col) for number in (0, 1, 3) for row in range(2) for col in range(2)
    ]
    assert {verdict.reason for _, _, verdict in judged} <= {"novel", "known"}
    assert all(verdict.score is not None and verdict.gain is not None for _, _, verdict in judged)


def test_a_replay_twice_says_the_same_and_leaves_nothing_behind(
    agent_toml: Path, make_release: Callable[..., Any]
) -> None:
    release = make_release(1)
    before = sorted(agent_toml.parent.rglob("*"))

    first, second = (list(replay(agent_toml, "left", release=release.directory, frames=2)) for _ in range(2))

    assert len(first) == 8
    assert [str(entry[1:]) for entry in first if isinstance(entry, tuple)] == [
        str(entry[1:]) for entry in second if isinstance(entry, tuple)
    ]
    assert sorted(agent_toml.parent.rglob("*")) == before


def test_without_a_release_chance_alone_sends(agent_toml: Path) -> None:
    verdicts = [entry[2] for entry in replay(agent_toml, "left", release=None, frames=2) if isinstance(entry, tuple)]

    assert {verdict.reason for verdict in verdicts} <= {"floor", "budget"}


def test_an_unknown_camera_is_named_with_the_known_ones(agent_toml: Path) -> None:
    with pytest.raises(ConfigError, match='no camera "right"; known cameras are left'):
        next(replay(agent_toml, "right", release=None, frames=1))
