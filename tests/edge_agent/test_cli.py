"""The command line of a node."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_agent.cli import app
from edge_agent.courier.spool import Item, Spool
from edge_agent.releases.activation import Held
from shared.errors import ConfigError, InputError, StateError
from shared.images import decode_image
from tests.edge_agent.inspection.footage import write_video

AgentToml = Callable[..., Path]
Build = Callable[..., Held]


def invoke(*arguments: object) -> str:
    """Run a command and return its standard output; its errors come out as they are."""
    return CliRunner().invoke(app, [str(word) for word in arguments], catch_exceptions=False).stdout


def test_a_replay_says_what_would_be_sent_and_why(agent_toml: AgentToml, tmp_path: Path, build_release: Build) -> None:
    path = agent_toml()
    held = build_release(tmp_path / "store", 1)
    directory = tmp_path / "store" / "releases" / "strip" / held.release

    lines = invoke("replay", path, "--camera", "top", "--release", directory, "--json").splitlines()

    rows = [json.loads(line) for line in lines]
    frames = [row for row in rows if row.get("event") == "frame"]
    reasons = {row["reason"]: row for row in rows if "reason" in row}
    sent = [pick for frame in frames for pick in frame["accepted"]]
    assert [frame["patches"] for frame in frames] == [4, 4, 4]
    assert sum(row["patches"] for row in reasons.values()) == 12
    assert sum(row["sent"] for row in reasons.values()) == len(sent) > 0
    assert all(0.3 < pick["score"] < 0.7 for pick in sent)
    assert not (tmp_path / "agent").exists()


def test_a_replay_names_a_frame_that_cannot_be_read(agent_toml: AgentToml, tmp_path: Path) -> None:
    path = agent_toml()
    (tmp_path / "images" / "1.png").write_bytes(b"no image")

    answer = CliRunner().invoke(app, ["replay", str(path), "--camera", "top", "--json"], catch_exceptions=False)

    frames = [json.loads(line) for line in answer.stdout.splitlines() if "frame" in json.loads(line)]
    assert [frame["patches"] for frame in frames] == [4, 0, 4]
    assert "frame 1" in answer.stderr
    assert "skipped" in answer.stderr
    assert answer.exit_code == 0


def test_a_replay_that_judged_nothing_ends_with_an_error(agent_toml: AgentToml, tmp_path: Path) -> None:
    path = agent_toml()
    for image in (tmp_path / "images").iterdir():
        image.write_bytes(b"no image")

    answer = CliRunner().invoke(app, ["replay", str(path), "--camera", "top", "--json"], catch_exceptions=False)

    assert answer.exit_code == 1
    assert json.loads(answer.stdout.splitlines()[-1]) == {"event": "summary", "frames": 3, "patches": 0, "sent": 0}


def test_a_replay_ends_with_a_summary_and_draws_what_would_be_sent(
    agent_toml: AgentToml, tmp_path: Path, build_release: Build
) -> None:
    path, sheet = agent_toml(), tmp_path / "sheet.png"
    held = build_release(tmp_path / "store", 1)
    directory = tmp_path / "store" / "releases" / "strip" / held.release
    words = ("replay", path, "--camera", "top", "--release", directory, "--sheet", sheet, "--json")

    rows = [json.loads(line) for line in invoke(*words).splitlines()]

    (summary,) = [row for row in rows if row.get("event") == "summary"]
    sent = sum(len(row["accepted"]) for row in rows if row.get("event") == "frame")
    assert (summary["frames"], summary["patches"], summary["sent"]) == (3, 12, sent)
    picture = decode_image(sheet.read_bytes(), what="sheet", channels=3)
    # Patches of 32 pixels, each in a frame of 4.
    side = int(np.ceil(np.sqrt(sent)))
    assert picture.shape == (-(-sent // side) * 40, side * 40, 3)


def test_a_replay_looks_at_a_clip_instead_of_the_camera(agent_toml: AgentToml, tmp_path: Path) -> None:
    path = agent_toml()
    write_video(tmp_path / "clip.mp4", [20, 90], height=64, width=64)
    (tmp_path / "other").mkdir()
    (tmp_path / "images" / "1.png").rename(tmp_path / "other" / "1.png")

    def frames(clip: str) -> int:
        lines = invoke("replay", path, "--camera", "top", "--clip", tmp_path / clip, "--json").splitlines()
        (summary,) = [row for row in map(json.loads, lines) if row.get("event") == "summary"]
        return int(summary["frames"])

    assert (frames("clip.mp4"), frames("other"), frames("images")) == (2, 1, 2)


def test_a_replay_of_a_clip_that_is_none_says_so(agent_toml: AgentToml, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"line\.toml: invalid data found"):
        invoke("replay", agent_toml(), "--camera", "top", "--clip", tmp_path / "line.toml")


def test_a_camera_that_answers_is_described(agent_toml: AgentToml, tmp_path: Path) -> None:
    path = agent_toml()

    answer = json.loads(invoke("test-camera", path, "top", "--json"))
    text = invoke("test-camera", path, "top")

    assert answer["reachable"] is True
    assert (answer["type"], answer["height"], answer["width"], answer["frames"]) == ("folder", 64, 64, 3)
    assert answer["frames_per_s"] > 0
    assert text.startswith("camera top (folder): 64 x 64 pixels, 2 x 2 patches")
    assert not (tmp_path / "agent").exists()


def test_a_camera_that_does_not_answer_says_why_without_its_password(agent_toml: AgentToml, tmp_path: Path) -> None:
    path = agent_toml()
    secret = tmp_path / "secret"
    secret.write_text("geheim")
    secret.chmod(0o600)
    source = 'type = "rtsp", url = "rtsp://127.0.0.1:1/x", username = "root", password_file = "secret"'
    text = re.sub('type = "folder".*(?= })', source, path.read_text(encoding="utf-8"))
    path.write_text(text, encoding="utf-8")

    answer = CliRunner().invoke(app, ["test-camera", str(path), "top", "--within-s", "0.2", "--json"])

    assert answer.exit_code == 1
    found = json.loads(answer.stdout)
    assert (found["reachable"], found["reason"]) == (False, "rtsp://127.0.0.1:1/x: connection refused")
    assert "geheim" not in answer.output


def test_a_replay_of_an_unknown_camera_names_the_known_ones(agent_toml: AgentToml) -> None:
    with pytest.raises(ConfigError, match='no camera "side"; known cameras are top'):
        invoke("replay", agent_toml(), "--camera", "side")


def test_a_faulty_configuration_starts_nothing(agent_toml: AgentToml, tmp_path: Path) -> None:
    path = agent_toml(more="pol_s = 3")

    with pytest.raises(ConfigError, match="pol_s"):
        invoke("run", path)

    assert not (tmp_path / "agent").exists()


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ('password_file = "secret"\nusername = "n"', "secret"),
        ('ca_file = "plant.pem"', "plant.pem: No such file"),
        ('ca_file = "agent.toml"', "must hold the certificate"),
    ],
)
def test_what_the_courier_would_stumble_over_is_said_at_the_start(
    agent_toml: AgentToml, tmp_path: Path, more: str, complaint: str
) -> None:
    path = agent_toml()
    path.write_text(path.read_text(encoding="utf-8").replace("port = 1", f"port = 1\n{more}"), encoding="utf-8")

    with pytest.raises(ConfigError, match=complaint):
        invoke("run", path)

    assert not (tmp_path / "agent").exists()


@pytest.mark.parametrize(
    ("pattern", "other", "complaint"),
    [
        ('type = "folder".*(?= })', 'type = "plugin", plugin = "acme"', 'camera top: plugin "acme" is not installed'),
        ('releases_url = ".*"', 'releases_url = "http://[1:2]/"', "does not appear to be an IPv4 or IPv6 address"),
    ],
)
def test_a_missing_camera_package_and_a_store_without_an_address_are_said_at_the_start(
    agent_toml: AgentToml, tmp_path: Path, pattern: str, other: str, complaint: str
) -> None:
    path = agent_toml()
    path.write_text(re.sub(pattern, other, path.read_text(encoding="utf-8")), encoding="utf-8")

    with pytest.raises(ConfigError, match=complaint):
        invoke("run", path)

    assert not (tmp_path / "agent").exists()


def test_refused_candidates_are_listed_and_sent_again_once_the_cause_is_cured(
    agent_toml: AgentToml, tmp_path: Path
) -> None:
    path = agent_toml()
    with pytest.raises(StateError, match="no spool is there yet"):
        invoke("dead", path)
    assert not (tmp_path / "agent").exists()
    (tmp_path / "agent").mkdir()
    spool = Spool.open(tmp_path / "agent/spool.db", cap_bytes=1_000_000)
    spool.accept([Item(id=name, line="strip", value=1.0, payload=b"1234") for name in ("a", "b")])
    spool.bury("a", reason="the trainer says: [no] such hash", now=60.0)

    with pytest.raises(StateError, match="in use by another agent; end it first"):
        invoke("dead", path)
    spool.close()
    listed = [json.loads(line) for line in invoke("dead", path, "--json").splitlines()]
    assert listed == [
        {
            "id": "a",
            "line": "strip",
            "at": "1970-01-01 00:01:00Z",
            "bytes": 4,
            "reason": "the trainer says: [no] such hash",
        }
    ]

    assert "1 candidates are sent again" in invoke("dead", path, "--send-again")
    assert invoke("dead", path, "--json") == ""
    spool = Spool.open(tmp_path / "agent/spool.db", cap_bytes=1_000_000)
    assert spool.counts().items == 2
    spool.close()
