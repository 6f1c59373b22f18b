"""Small video files, made by PyAV's own encoders."""

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np


def write_video(path: Path, greys: Sequence[int], *, codec: str = "mpeg4", height: int = 48, width: int = 64) -> None:
    """Write one plain picture for each grey, ten a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height = width, height
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for grey in greys:
            picture = av.VideoFrame.from_ndarray(np.full((height, width, 3), grey, dtype=np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
