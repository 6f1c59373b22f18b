"""A camera node installs its own part alone: no torch, no network, ten frames seen."""

import json
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from shared import topics
from shared.bus import Connected, Received
from shared.codec import decode
from shared.images import encode_image
from shared.messages import Heartbeat
from shared.mqtt import MqttBus
from shared.transport import BrokerTable

ROOT = Path(__file__).resolve().parent.parent
WHEELS = ROOT / ".wheels"
PACKAGES = ("shared", "edge_agent", "trainer", "deploy")
FRAMES = 10
pytestmark = pytest.mark.slow


def command(*words: str | Path, status: int = 0, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command without the network and without this environment's settings."""
    kept = {"PATH", "HOME", "LANG", "TMPDIR"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    # Whatever index pip is configured with must not be asked.
    environment |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    done = subprocess.run(
        [str(word) for word in words],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == status, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def lean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with winnow[edge,cpu], from the wheels that set-up kept; the path of its bin."""
    if not WHEELS.is_dir():
        pytest.fail("no .wheels here; make setup keeps them")
    place = tmp_path_factory.mktemp("lean")
    source = place / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    # Built from a copy, by this environment's setuptools: the checkout stays as it is.
    build = ("-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", place / "wheel")
    command(sys.executable, *build, source)
    command(sys.executable, "-m", "venv", "--without-pip", place / "venv")
    links = ("--find-links", WHEELS, "--find-links", place / "wheel")
    pip = (sys.executable, "-m", "pip", "--python", place / "venv/bin/python")
    command(*pip, "install", "--quiet", *links, "winnow[edge,cpu]")
    return place / "venv/bin"


def test_a_node_is_installed_without_torch_and_the_trainers_libraries(lean: Path) -> None:
    installed = {
        entry["name"].lower().replace("_", "-")
        for entry in json.loads(
            command(sys.executable, "-m", "pip", "--python", lean / "python", "list", "--format", "json").stdout
        )
    }

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    not_for_a_node = {requirement.split(">=")[0].split("[")[0] for requirement in extras["trainer"] + extras["dev"]}
    assert "onnxruntime" in installed
    assert "torch" in not_for_a_node
    assert installed & not_for_a_node == set()


def test_a_lean_node_says_which_part_is_missing_when_asked_to_train(lean: Path) -> None:
    done = subprocess.run(
        [lean / "winnow", "trainer", "serve", "site.toml"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "pip install 'winnow[trainer]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_lean_node_sees_ten_frames_of_a_folder_and_ends(lean: Path, tmp_path: Path, mosquitto: object) -> None:
    images = tmp_path / "images"
    images.mkdir()
    chance = np.random.default_rng(1)
    for number in range(FRAMES):
        pixels = chance.normal(128, 20, (96, 160)).clip(0, 255).astype(np.uint8)
        (images / f"frame-{number:02d}.png").write_bytes(encode_image(pixels))
    (tmp_path / "line.toml").write_text(
        'line = "strip"\nclasses = [{ name = "steel" }, { name = "scratch" }]\n'
        "[geometry]\ntile_px = 96\npatch_px = 32\nmargin_px = 16\ncell_px = 16\n"
        "[budget]\npatches_per_hour = 3600000.0\n"
    )
    (tmp_path / "agent.toml").write_text(
        'node = "lean"\nsite = "plant"\nlines = ["line.toml"]\nheartbeat_s = 0.2\n'
        f"[broker]\nport = {mosquitto.port}\n"
        '[[cameras]]\nname = "folder"\nline = "strip"\n'
        'source = { type = "folder", path = "images", poll_s = 0.05 }\n'
    )

    ear = MqttBus(BrokerTable(port=mosquitto.port), client_id="ear", filters=(topics.heartbeat("plant", "lean"),))
    ear.start()
    try:
        assert ear.events(timeout_s=10.0) == [Connected()]
        words = ("agent", "run", "agent.toml", "--until-done", "--drain-s", "0.5", "--json")
        # Nobody takes the candidates: the run ends, and says that they stay.
        done = command(lean / "winnow", *words, status=1, cwd=tmp_path, timeout=120)
        beats = [decode(event.payload, Heartbeat) for event in ear.events(timeout_s=1.0) if isinstance(event, Received)]
    finally:
        ear.stop()

    assert "Traceback" not in done.stderr
    assert done.stdout.splitlines()
    assert [camera.frames for camera in beats[-1].cameras] == [FRAMES]
    # Without a release the node collects by chance and says that it does not inspect.
    assert not beats[-1].inspecting
    assert beats[-1].spooled > 0
