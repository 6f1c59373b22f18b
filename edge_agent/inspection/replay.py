"""A replay: what a camera's frames would send and why, without sending anything."""

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from msgspec.structs import replace

from edge_agent.inspection.cameras.build import build_camera, find_camera, leaving_no_trace
from edge_agent.inspection.cameras.camera import Away, BadFrame, Frame
from edge_agent.inspection.inspector import Inspector
from edge_agent.inspection.loading import LoadedRelease
from edge_agent.stream.filter import Verdict
from shared.clock import ManualClock
from shared.config import load_agent
from shared.errors import InputError
from shared.geometry import Patch
from shared.sources import FolderSource, VideoSource

#: The budget needs a pace; a camera that names none is taken to give one frame a second.
_DEFAULT_FRAMES_PER_S: Final = 1.0


def replay(
    agent_toml: Path,
    camera: str,
    *,
    release: Path | None,
    frames: int | None,
    clip: Path | None = None,
    seed: int = 0,
) -> Iterator[tuple[Frame, Patch, Verdict] | BadFrame]:
    """Judge a camera's frames by their own time, as fast as they come.

    Args:
        agent_toml: The node.
        camera: Which of its cameras.
        release: A folder with a release; without one the node is cold and sends the random floor alone.
        frames: How many frames to judge; None goes on until the camera ends.
        clip: A folder of images or a video file to look at instead of what the camera looks at.
        seed: The random floor's.

    Yields:
        One verdict per patch, frame by frame, and the frames that cannot be read.
    """
    agent, lines = load_agent(agent_toml)
    table = leaving_no_trace(find_camera(agent, camera, agent_toml))
    if clip is not None:
        path = str(clip.resolve())
        table = replace(table, source=FolderSource(path=path) if clip.is_dir() else VideoSource(path=path))
    line = lines[table.line]
    clock = ManualClock()
    source = build_camera(table, line, node=agent.node, base=agent_toml.resolve().parent, clock=clock, until_done=True)
    inspector = Inspector(line, rng=np.random.default_rng(seed))
    if release is not None:
        inspector.take_over(LoadedRelease.load(release, manifest_sha256=None, line=line, runtime=agent.runtime))
    for frame in itertools.islice(source.frames(threading.Event()), frames):
        if isinstance(frame, Away):
            raise InputError(f"camera {camera}: {frame.reason}")
        if isinstance(frame, BadFrame):
            yield frame
            continue
        now = frame.number / (table.frames_per_s or _DEFAULT_FRAMES_PER_S)
        recipe = {**table.ids, **frame.ids}.get("recipe")
        judged = inspector.judge(frame.image, now=now, recipe=recipe)
        for index, verdict in enumerate(judged.verdicts):
            yield frame, judged.patch(index), verdict
