"""Grey pictures as files, and what a camera made of them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edge_agent.inspection.cameras.camera import Away, BadFrame, Frame, Seen
from shared.images import encode_image


def write_image(path: Path, grey: int, *, shape: tuple[int, ...] = (20, 30)) -> None:
    path.write_bytes(encode_image(np.full(shape, grey, dtype=np.uint8)))


def greys(frames: Iterator[Seen]) -> list[int | str]:
    words = {BadFrame: "bad", Away: "away"}
    return [int(seen.image[0, 0, 0]) if isinstance(seen, Frame) else words[type(seen)] for seen in frames]
