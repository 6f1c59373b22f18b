"""A small plant for the fault tests: its files, its candidates by the thousand, and the hand that feeds a courier."""

import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pytest

from edge_agent.handoff import Handed, frame_handed
from edge_agent.paths import NodePaths, dial
from shared import codec
from shared.config import load_agent
from shared.identity import CandidateId
from shared.images import encode_image
from shared.messages import Candidate

SITE: Final = "mill"
#: Far above what anything here takes, also on a busy machine.
PATIENCE_S: Final = 300.0
#: How often a condition is looked at.
_LOOK_S: Final = 0.005
#: By line: the side of a crop, and the crop's bytes unless told otherwise.
LINES: Final = {"small": (64, 5_000), "large": (256, 60_000)}
_COMMENT_BYTES: Final = 65_000

_LINE_TOML = """
line = "{name}"
classes = [{{name = "background"}}, {{name = "scratch"}}]
geometry = {{tile_px = {tile}, patch_px = {patch}, margin_px = {margin}, cell_px = 16}}
budget = {{patches_per_hour = 1e7, burst = 100_000, floor_share = 1.0}}
simulator = {{height_px = 96, width_px = 128, scale = 0.25, rates = {{}}}}
"""
_AGENT_TOML = """
node = "{node}"
site = "{site}"
lines = ["small.toml", "large.toml"]
directory = "{directory}"
releases_url = "{store}"
poll_s = 3600.0
heartbeat_s = {heartbeat_s}
[broker]
port = {port}
[spool]
cap_bytes = {cap_bytes}
[[cameras]]
name = "top"
line = "small"
frames_per_s = {frames_per_s}
source = {{type = "steel_line"}}
"""
_SITE_TOML = """
site = "{site}"
lines = ["small.toml", "large.toml"]
[broker]
port = {port}
[trainer]
http_port = 0
"""


def write_site(folder: Path, *, port: int) -> Path:
    """Write a trainer's files into a new folder; return ``site.toml``."""
    _write_lines(folder)
    path = folder / "site.toml"
    path.write_text(_SITE_TOML.format(site=SITE, port=port), encoding="utf-8")
    return path


def write_agent(
    folder: Path,
    *,
    port: int,
    node: str = "press-01",
    cap_bytes: int = 2_000_000_000,
    heartbeat_s: float = 5.0,
    frames_per_s: float = 5.0,
    directory: Path = Path("agent"),
) -> Path:
    """Write a node's files into a new folder; return ``agent.toml``.

    The node's ``directory`` may lie elsewhere: on a small disk, say.
    """
    _write_lines(folder)
    store = folder / "store"
    store.mkdir()
    path = folder / "agent.toml"
    text = _AGENT_TOML.format(
        node=node,
        site=SITE,
        store=store.as_uri(),
        port=port,
        cap_bytes=cap_bytes,
        heartbeat_s=heartbeat_s,
        frames_per_s=frames_per_s,
        directory=directory,
    )
    path.write_text(text, encoding="utf-8")
    paths_of(path).make()
    return path


def paths_of(agent_toml: Path) -> NodePaths:
    """Say where a node's things lie."""
    agent, _ = load_agent(agent_toml)
    return NodePaths.of(agent_toml, agent)


def _write_lines(folder: Path) -> None:
    folder.mkdir(parents=True)
    for name, (crop, _) in LINES.items():
        text = _LINE_TOML.format(name=name, tile=crop, patch=crop // 2, margin=crop // 4)
        (folder / f"{name}.toml").write_text(text, encoding="utf-8")


def _pictures() -> dict[str, bytes]:
    rng = np.random.default_rng(0)
    return {
        line: encode_image(rng.integers(0, 256, (side, side, 1), dtype=np.uint8), form="jpeg", quality=50)
        for line, (side, _) in LINES.items()
    }


_PICTURES = _pictures()


def crop_of(line: str, number: int, size: int) -> bytes:
    """Make a whole JPEG of exactly this many bytes that no other number has: the rest is a comment."""
    start, rest = _PICTURES[line][:2], _PICTURES[line][2:]
    left = size - len(_PICTURES[line])
    comments = []
    while left:
        body = min(_COMMENT_BYTES, left - 4)
        assert body >= 8, f"a crop of {size} bytes cannot hold its number"
        comments.append(b"\xff\xfe" + struct.pack(">HQ", body + 2, number) + bytes(body - 8))
        left -= body + 4
    return start + b"".join(comments) + rest


def candidate_of(
    number: int, *, node: str = "press-01", boot: str = "0000abcd", line: str = "small", size: int | None = None
) -> Candidate:
    """Make the n-th candidate of one start of a node; ``size`` is its crop's, in bytes."""
    crop = crop_of(line, number, LINES[line][1] if size is None else size)
    return Candidate(
        id=str(CandidateId.make(node=node, boot=boot, seq=number, crop=crop)),
        camera="top",
        frame=number,
        captured_at=1_000.0 + number,
        row=0,
        col=1,
        inside=(LINES[line][0] // 2,) * 2,
        release=None,
        score=None,
        reason="floor",
        gain=None,
        space=None,
        embedding=None,
        crop_format="jpeg",
        crop=crop,
        seen=number + 1,
    )


def value_of(number: int) -> float:
    """Value a candidate: the order has nothing to do with the order in which they come."""
    return float(number * 7919 % 1009)


def handed(candidate: Candidate, line: str = "small") -> bytes:
    """Frame a candidate as inspection hands it over."""
    return frame_handed(Handed(line, value_of(candidate.frame), codec.encode(candidate)))


def wait_until(done: Callable[[], object], what: str, *, within_s: float = PATIENCE_S) -> None:
    """Look until something is so, and fail by its name when it never is."""
    until = time.monotonic() + within_s
    pause = threading.Event()
    while not done():
        if time.monotonic() > until:
            pytest.fail(f"it did not happen: {what}")
        pause.wait(_LOOK_S)


class Feeder:
    """Hands candidates to a courier from a thread of its own, until they are handed over or the courier is gone."""

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        #: Every id that was offered, whatever became of it.
        self.offered: set[str] = set()
        self._thread = threading.Thread()
        self._stop = threading.Event()

    def feed(self, candidates: Iterable[tuple[str, Candidate]]) -> None:
        """Begin to hand over candidates, each with its line."""
        self.join()
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, args=(iter(candidates),), name="feeder", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Hand nothing over any more."""
        self._stop.set()
        self.join()

    def join(self) -> None:
        """Wait until everything is handed over, or the courier is gone."""
        if self._thread.ident is not None:
            self._thread.join(PATIENCE_S)
            assert not self._thread.is_alive(), "the courier takes nothing"

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def _run(self, candidates: Iterator[tuple[str, Candidate]]) -> None:
        connection = None
        try:
            while connection is None:
                if self._stop.wait(_LOOK_S):
                    return
                try:
                    connection = dial(self._socket_path)
                except OSError:
                    continue
            connection.settimeout(PATIENCE_S)
            for line, candidate in candidates:
                if self._stop.is_set():
                    return
                self.offered.add(candidate.id)
                connection.sendall(handed(candidate, line))
        except OSError:
            return
        finally:
            if connection is not None:
                connection.close()
