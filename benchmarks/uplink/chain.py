"""The chain that is measured: a real courier process, a real trainer process, and the spool by itself.

The courier is started as the supervisor starts it and is handed candidates over its socket; a round ends when it says
that nothing is left, which it says only after the trainer has committed and acknowledged everything.
"""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, cast

import msgspec
import numpy as np

from edge_agent.courier.process import GROUP
from edge_agent.courier.spool import Item, Spool
from edge_agent.handoff import Drained, FromCourier, Handed, Stop, frame_handed, read_lines, write_line
from edge_agent.paths import NodePaths, dial
from shared import codec
from shared.config import LineConfig, load_agent, load_line
from shared.identity import CandidateId
from shared.images import encode_image
from shared.messages import Candidate
from shared.steel_line import SteelLine
from trainer.pool.pool import Pool

NODE: Final = "press-01"
LINE: Final = "strip"
CANDIDATE_BYTES: Final = 30_000
_CROPS: Final = 32
_CONFIG: Final = {
    "line.toml": f'line = "{LINE}"\nclasses = [{{name = "background"}}, {{name = "scratch"}}]\n',
    "site.toml": 'site = "bench"\nlines = ["line.toml"]\n[broker]\nport = {port}\n[trainer]\nhttp_port = 0\n',
    "agent.toml": f'node = "{NODE}"\nsite = "bench"\nlines = ["line.toml"]\nheartbeat_s = 60.0\n'
    'releases_url = "store"\n[broker]\nport = {port}\n[[cameras]]\nname = "top"\n'
    f'line = "{LINE}"\nsource = {{type = "folder", path = "images"}}\n',
}


def write_config(root: Path, port: int) -> None:
    """Write a site, a line and a node with everything at its default but the ports."""
    for name, text in _CONFIG.items():
        (root / name).write_text(text.replace("{port}", str(port)).replace("store", f"file://{root}"), encoding="utf-8")


class Candidates:
    """Candidates of about 30 kB with crops of the line's own size, as a node packs them; no two have one id."""

    def __init__(self, line: LineConfig) -> None:
        side = line.grid.crop_px
        steel = SteelLine(20, "uplink", height_px=side, width_px=side, scale=1.0)
        colours = np.array((1.0, 0.97, 0.92)[: line.geometry.channels])
        images = [
            (steel.frame(number).image[..., None] * colours).astype(np.uint8) for number in range(0, 7 * _CROPS, 7)
        ]
        self.quality = _quality(images[0])
        self._crops = [encode_image(image, form="jpeg", quality=self.quality) for image in images]
        self._dim = 128
        self._seq = 0

    def make(self, count: int, *, boot: str) -> list[Candidate]:
        """Make the next ones."""
        vector = np.zeros(self._dim, dtype=np.float16)
        vector[0] = 1.0
        made = []
        for seq in range(self._seq, self._seq + count):
            crop = self._crops[seq % _CROPS]
            made.append(
                Candidate(
                    id=str(CandidateId.make(node=NODE, boot=boot, seq=seq, crop=crop)),
                    camera="top",
                    frame=seq,
                    captured_at=1.7e9 + seq,
                    row=1,
                    col=1,
                    inside=(256, 256),
                    release="strip-0001",
                    score=0.5,
                    reason="novel",
                    gain=(seq % 97) / 97,
                    space="a" * 64,
                    embedding=codec.pack(vector),
                    crop_format="jpeg",
                    crop=crop,
                    seen=seq,
                )
            )
        self._seq += count
        return made


def _quality(image: np.ndarray[Any, Any]) -> int:
    """Find the JPEG quality whose crops come nearest to the size that is asked for."""
    return min(range(50, 97), key=lambda q: abs(len(encode_image(image, form="jpeg", quality=q)) - CANDIDATE_BYTES))


def accepted_per_s(spool: Spool, candidates: Sequence[Candidate], payloads: Sequence[bytes]) -> float:
    """Commit candidates to a spool in the courier's groups; each is on disk when its group returns."""
    items = [
        Item(id=found.id, line=LINE, value=found.gain or 0.0, payload=payload)
        for found, payload in zip(candidates, payloads, strict=True)
    ]
    start = time.perf_counter()
    for first in range(0, len(items), GROUP):
        spool.accept(items[first : first + GROUP])
    rate = len(items) / (time.perf_counter() - start)
    spool.confirm([item.id for item in items])
    return rate


def cpu_s(pid: int | None) -> float:
    """Read how long a process has worked so far; 0 where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Courier:
    """The courier process, and the supervisor's end of its pipes."""

    def __init__(self, root: Path, *, boot: str) -> None:
        agent_toml = root / "agent.toml"
        agent, _ = load_agent(agent_toml)
        self._paths = NodePaths.of(agent_toml, agent)
        self._paths.make()
        self._words: queue.Queue[int] = queue.Queue()
        command = [sys.executable, "-m", "edge_agent.courier", str(agent_toml), "--boot", boot]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pid = self._process.pid
        self._listener = threading.Thread(target=self._listen, name="courier-words", daemon=True)
        self._listener.start()

    def __enter__(self) -> Self:
        self._until(0)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        write_line(cast(BinaryIO, self._process.stdin), Stop())
        self._process.stdin.close()
        self._process.wait(30)
        self._listener.join()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for message in read_lines(cast(BinaryIO, self._process.stdout), FromCourier):
            if isinstance(message, Drained):
                self._words.put(message.spooled)

    def _until(self, left: int) -> None:
        while self._words.get(timeout=300) != left:
            continue

    def delivered_per_s(self, candidates: Sequence[Candidate], payloads: Sequence[bytes]) -> float:
        """Hand candidates over and wait until the trainer has acknowledged every one."""
        while not self._words.empty():
            self._words.get_nowait()
        frames = [
            frame_handed(Handed(LINE, found.gain or 0.0, payload))
            for found, payload in zip(candidates, payloads, strict=True)
        ]
        start = time.perf_counter()
        with dial(self._paths.handoff_socket) as connection:
            for frame in frames:
                connection.sendall(frame)
        self._until(0)
        return len(frames) / (time.perf_counter() - start)


@contextmanager
def trainer(root: Path) -> Iterator[int]:
    """Run the trainer's service in a process of its own, and give its number."""
    command = [sys.executable, "-m", "deploy.cli", "trainer", "serve", str(root / "site.toml"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            event: dict[str, object] = msgspec.json.decode(line)
            if event["event"] == "broker" and event["connected"]:
                break
        reader = threading.Thread(target=child.stdout.read, name="trainer-words", daemon=True)
        reader.start()
        try:
            yield child.pid
        finally:
            child.terminate()
            child.wait(60)
            reader.join()


def received(root: Path) -> int:
    """Say how many candidates the pool took, each counted once."""
    with Pool.open(root / "trainer") as pool:
        return pool.counters(LINE)["received"]


def config_line(root: Path) -> LineConfig:
    """Read the line."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return load_line(root / "line.toml")
