"""Candidates, lines and pools that the trainer's tests start from."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.clock import ManualClock
from shared.codec import pack
from shared.config import LineConfig, load_line
from shared.identity import CandidateId
from shared.images import encode_image
from shared.messages import Candidate
from shared.simulated import simulated_camera
from trainer.pool.pool import Arrival, Pool

LINE_TOML = """
line = "strip"
classes = [
  {name = "background", colour = "#000000"},
  {name = "scratch", colour = "#ff0000"},
  {name = "dent", colour = "#00ff00"},
]
[geometry]
tile_px = 64
patch_px = 32
margin_px = 16
cell_px = 16
"""

MakeCandidate = Callable[..., Candidate]


@pytest.fixture
def line_toml() -> str:
    return LINE_TOML


@pytest.fixture
def line(tmp_path: Path) -> LineConfig:
    file = tmp_path / "strip.toml"
    file.write_text(LINE_TOML, encoding="utf-8")
    return load_line(file)


@pytest.fixture
def make_candidate() -> MakeCandidate:
    """Make the n-th candidate of a node; keyword arguments replace its fields."""

    def make(number: int, *, node: str = "n1", side_px: int = 64, **fields: object) -> Candidate:
        rng = np.random.default_rng(number)
        pixels: NDArray[np.uint8] = rng.integers(0, 256, (side_px, side_px, 1), dtype=np.uint8)
        crop = encode_image(pixels, form="jpeg", quality=50)
        vector = np.zeros(8, dtype=np.float16)
        vector[number % 8] = 1
        values: dict[str, object] = {
            "id": str(CandidateId.make(node=node, boot="0123abcd", seq=number, crop=crop)),
            "camera": "cam",
            "frame": number,
            "captured_at": 100.0 + number,
            "row": 0,
            "col": 1,
            "inside": (32, 32),
            "release": "strip-0001",
            "score": 0.5,
            "reason": "novel",
            "gain": number / 100,
            "space": "a" * 64,
            "embedding": pack(vector),
            "crop_format": "jpeg",
            "crop": crop,
        }
        return Candidate(**{**values, **fields})

    return make


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def pool(tmp_path: Path, clock: ManualClock) -> Iterator[Pool]:
    with Pool.open(tmp_path / "trainer", clock=clock) as opened:
        yield opened


@pytest.fixture
def fill(pool: Pool, make_candidate: MakeCandidate) -> Callable[..., list[str]]:
    """Put candidates of the given numbers into the pool and return their ids, in that order."""

    def put(numbers: range, **fields: object) -> list[str]:
        arrivals = [Arrival("strip", "n1", make_candidate(number, **fields), float(number)) for number in numbers]
        pool.add(arrivals)
        return [arrival.candidate.id for arrival in arrivals]

    return put


STEEL_SITE_TOML = """
site = "works"
lines = ["steel.toml"]
"""

STEEL_LINE_TOML = """
line = "steel"
classes = [
  {name = "background", colour = "#000000"},
  {name = "scratch", colour = "#ff0000"},
  {name = "inclusion", colour = "#00ff00"},
]
[geometry]
tile_px = 96
patch_px = 32
margin_px = 16
cell_px = 16
[selection]
batch = 16
[labelling]
source = "oracle"
[space]
encoder = "compact-16-32"
steps = 12
minibatch = 16
min_patches = 40
[learning]
architecture = "compact"
encoder = "compact-16-32"
steps = 20
minibatch = 8
threads = 1
[gate]
max_drop = 1.0
max_ece = 1.0
[rounds]
auto = true
min_pool = 60
max_rounds = 2
[simulator]
seed = 5
height_px = 128
width_px = 128
scale = 0.5
[simulator.rates]
scratch = 0.6
inclusion = 0.6
"""


@dataclass(frozen=True)
class SteelSite:
    """A site with one small simulated line, its oracle, and a trainer's directory of its own."""

    site_toml: Path

    @property
    def line(self) -> LineConfig:
        return load_line(self.site_toml.parent / "steel.toml")

    @property
    def directory(self) -> Path:
        return self.site_toml.parent / "trainer"

    def set(self, old: str, new: str) -> None:
        """Change a line of the line's configuration."""
        file = self.site_toml.parent / "steel.toml"
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new), encoding="utf-8")

    def send(self, frames: range, *, floor_every: int = 2, received_at: float = 0.0) -> list[str]:
        """Put every patch of some frames into the pool as a node without a release would, and return the ids."""
        line = self.line
        strip = simulated_camera(line, node="press-01", camera="top")
        arrivals = []
        for number in frames:
            image = strip.frame(number).image
            for place, patch in enumerate(line.grid.patches(*image.shape)):
                crop = encode_image(line.grid.crop(image, patch), form="jpeg", quality=95)
                seq = number * 1000 + place
                candidate = Candidate(
                    id=str(CandidateId.make(node="press-01", boot="0badcafe", seq=seq, crop=crop)),
                    camera="top",
                    frame=number,
                    captured_at=float(number),
                    row=patch.row,
                    col=patch.col,
                    inside=line.grid.inside(patch, *image.shape),
                    release=None,
                    score=None,
                    reason="floor" if place % floor_every == 0 else "novel",
                    gain=None,
                    space=None,
                    embedding=None,
                    crop_format="jpeg",
                    crop=crop,
                )
                arrivals.append(Arrival("steel", "press-01", candidate, received_at + seq))
        with Pool.open(self.directory) as pool:
            pool.add(arrivals)
        return [arrival.candidate.id for arrival in arrivals]


def make_steel_site(folder: Path) -> SteelSite:
    site_toml = folder / "site.toml"
    site_toml.write_text(STEEL_SITE_TOML, encoding="utf-8")
    (folder / "steel.toml").write_text(STEEL_LINE_TOML, encoding="utf-8")
    return SteelSite(site_toml)


@pytest.fixture
def steel_site(tmp_path: Path) -> SteelSite:
    """A small simulated line; nothing was sent yet."""
    return make_steel_site(tmp_path)


@dataclass(frozen=True)
class FinishedSite(SteelSite):
    """A small line that held its two rounds in a worker process, and what the worker told."""

    events: tuple[dict[str, Any], ...]

    def copy_to(self, folder: Path) -> SteelSite:
        """Return a copy that a test may change."""
        shutil.copytree(self.site_toml.parent, folder, dirs_exist_ok=True)
        return SteelSite(folder / "site.toml")


@pytest.fixture(scope="session")
def finished_site(tmp_path_factory: pytest.TempPathFactory) -> FinishedSite:
    """Hold both rounds once for all tests that look at what rounds leave behind; they must not change it."""
    site = make_steel_site(tmp_path_factory.mktemp("finished"))
    site.send(range(10))
    command = [sys.executable, "-W", "error", "-m", "trainer.rounds", str(site.site_toml), "--line", "steel", "--json"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    return FinishedSite(site.site_toml, tuple(json.loads(line) for line in done.stdout.splitlines()))
