"""The demo's profile: every size and rate of it, and the configuration files of its site.

Small tiles, a small encoder and short trainings, so that a whole campaign of rounds fits into minutes on two
cores. The files are ordinary ones; `load_site` and `load_agent` read them like any other.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from shared.config import load_agent, load_site
from shared.files import write_durably
from shared.steel_line import DEFECTS

SITE: Final = "demo"
LINE: Final = "steel"
CAMERA: Final = "top"

#: The classes of the demo and how often each turns up in a frame: a long tail, tiny ones among the rare.
_RATES: Final = {
    "scratch": 0.060,
    "rolled-in-scale": 0.045,
    "inclusion": 0.030,
    "pitting": 0.022,
    "oil-spot": 0.015,
    "dent": 0.010,
    "crack": 0.007,
    "hole": 0.005,
}


@dataclass(frozen=True, slots=True)
class Profile:
    """What one demo does."""

    seed: int
    #: How many rounds are held, the seed set's included.
    rounds: int = 5
    batch: int = 48
    learning_steps: int = 250
    space_steps: int = 120
    space_patches: int = 128
    min_pool: int = 130
    min_new: int = 60
    frames_per_s: float = 4.0
    patches_per_hour: float = 3600.0
    encoder: str = "compact-32-64"
    nodes: tuple[str, ...] = ("press-01", "press-02", "press-03")
    #: A demo that is not over by then has got stuck.
    deadline_s: float = 1800.0


def quick(seed: int) -> Profile:
    """Make the shortest demo that still goes through every part; its curves mean nothing."""
    return Profile(
        seed=seed,
        rounds=2,
        batch=12,
        learning_steps=12,
        space_steps=8,
        space_patches=48,
        min_pool=48,
        min_new=8,
        deadline_s=600.0,
    )


@dataclass(frozen=True, slots=True)
class DemoFiles:
    """Where the configuration of a demo stands."""

    site: Path
    agents: dict[str, Path]


def write_files(profile: Profile, directory: Path, *, broker_port: int, http_port: int) -> DemoFiles:
    """Write the site's, the line's and every node's file, and read them back as their owners will."""
    files = DemoFiles(directory / "site.toml", {node: directory / f"agent-{node}.toml" for node in profile.nodes})
    write_durably(directory / "steel.toml", line_text(profile).encode())
    write_durably(files.site, site_text(broker_port=broker_port, http_port=http_port).encode())
    for node, path in files.agents.items():
        text = agent_text(profile, node, broker_port=broker_port, http_port=http_port)
        write_durably(path, text.encode())
        load_agent(path)
    load_site(files.site)
    return files


def child_environment(inherited: dict[str, str]) -> dict[str, str]:
    """Give each child one thread: a dozen processes share the machine."""
    one = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    return inherited | dict.fromkeys(one, "1") | {"PYTHONUNBUFFERED": "1", "MPLBACKEND": "Agg"}


def site_text(*, broker_port: int, http_port: int) -> str:
    """Write `site.toml`."""
    return f"""\
site = "{SITE}"
lines = ["steel.toml"]

[broker]
host = "127.0.0.1"
port = {broker_port}

[trainer]
directory = "trainer"
http_port = {http_port}
"""


def line_text(profile: Profile) -> str:
    """Write the line's file."""
    colours = {defect.name: defect.colour for defect in DEFECTS}
    classes = "\n".join(f'[[classes]]\nname = "{name}"\ncolour = "{colours[name]}"\n' for name in _RATES)
    rates = "\n".join(f"{name} = {rate}" for name, rate in _RATES.items())
    return f"""\
line = "{LINE}"

[[classes]]
name = "background"
colour = "#202020"

{classes}
[geometry]
tile_px = 160
patch_px = 64
margin_px = 16
cell_px = 16
channels = 1

[budget]
patches_per_hour = {profile.patches_per_hour}
burst = 50
floor_share = 0.2

[filter]
gate_share = 0.25

[selection]
batch = {profile.batch}

[labelling]
source = "oracle"

[space]
encoder = "{profile.encoder}"
steps = {profile.space_steps}
minibatch = 64
min_patches = {profile.space_patches}

[learning]
architecture = "compact"
encoder = "{profile.encoder}"
steps = {profile.learning_steps}
minibatch = 16
learning_rate = 0.006
threads = 1

[rounds]
auto = true
min_pool = {profile.min_pool}
min_new = {profile.min_new}
max_rounds = {profile.rounds}
seed = {profile.seed}

[simulator]
seed = {profile.seed}
height_px = 256
width_px = 256
scale = 0.5

[simulator.rates]
{rates}
"""


def agent_text(profile: Profile, node: str, *, broker_port: int, http_port: int) -> str:
    """Write one node's file."""
    return f"""\
node = "{node}"
site = "{SITE}"
lines = ["steel.toml"]
directory = "{node}"
releases_url = "http://127.0.0.1:{http_port}"
poll_s = 2.0
heartbeat_s = 1.0

[[cameras]]
name = "{CAMERA}"
line = "{LINE}"
frames_per_s = {profile.frames_per_s}
source = {{ type = "steel_line" }}

[broker]
host = "127.0.0.1"
port = {broker_port}

[runtime]
provider = "cpu"
threads = 1
"""


def class_names() -> tuple[str, ...]:
    """Name the defect classes, the most frequent first."""
    return tuple(_RATES)


def settings(profile: Profile) -> dict[str, Any]:
    """Give the profile for the summary."""
    return asdict(profile)
