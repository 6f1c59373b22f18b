"""The command line of a node."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edge_agent.cli import app
from edge_agent.releases.activation import Held
from shared.errors import ConfigError

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
    [('password_file = "secret"\nusername = "n"', "secret"), ('ca_file = "plant.pem"', "plant.pem is not a file")],
)
def test_what_the_courier_would_stumble_over_is_said_at_the_start(
    agent_toml: AgentToml, tmp_path: Path, more: str, complaint: str
) -> None:
    path = agent_toml()
    path.write_text(path.read_text(encoding="utf-8").replace("port = 1", f"port = 1\n{more}"), encoding="utf-8")

    with pytest.raises(ConfigError, match=complaint):
        invoke("run", path)

    assert not (tmp_path / "agent").exists()
