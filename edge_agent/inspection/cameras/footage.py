"""Moving pictures, from a file or over the network: the one door to PyAV.

Whatever FFmpeg says comes out as a ``LinkError`` of one line that names the source as the caller wants it
named: the address that FFmpeg is given, and quotes, may hold a password.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

import av
import av.container
import av.error
import numpy as np

from shared.errors import LinkError
from shared.geometry import Image
from shared.images import MAX_PIXELS

#: Its own log goes past ours, and quotes addresses.
av.logging.set_level(None)
#: Damaged pictures in a row after which a source counts as gone.
_MOST_DAMAGED: Final = 100


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One decoded picture; none where the bytes are damaged."""

    image: Image | None
    #: From the beginning of the footage.
    seconds: float


class Footage:
    """An open video file or stream."""

    def __init__(self, container: av.container.InputContainer, *, what: str, channels: int) -> None:
        self._container = container
        self._what = what
        self._format = "gray" if channels == 1 else "rgb24"

    @classmethod
    def open(
        cls,
        address: str,
        *,
        what: str,
        channels: int,
        timeout_s: float | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Self:
        """Open a source; a ``LinkError`` says why it cannot be.

        Args:
            address: What FFmpeg opens: a path or a URL.
            what: What errors call it.
            channels: 1 for grey, 3 for RGB.
            timeout_s: The longest wait for an answer and for each picture; a file needs none.
            options: FFmpeg's own.
        """
        try:
            container = av.open(address, timeout=timeout_s, options=dict(options or {}))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise LinkError(f"{what}: {_reason(error, timeout_s)}") from None
        if not container.streams.video:
            container.close()
            raise LinkError(f"{what}: there is no video in it")
        return cls(container, what=what, channels=channels)

    def pictures(self) -> Iterator[Picture]:
        """Decode picture after picture to the end; a ``LinkError`` when the source breaks off."""
        stream = self._container.streams.video[0]
        damaged = 0
        seconds = 0.0
        packets = self._container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                frames = packet.decode()
            except av.error.InvalidDataError:
                damaged += 1
                if damaged >= _MOST_DAMAGED:
                    raise LinkError(f"{self._what}: {damaged} damaged pictures in a row") from None
                yield Picture(None, seconds)
                continue
            except av.error.EOFError:
                return
            except (av.error.FFmpegError, OSError, ValueError) as error:
                raise LinkError(f"{self._what}: {_reason(error, None)}") from None
            for frame in frames:
                damaged = 0
                seconds = frame.time if frame.time is not None else seconds
                if frame.width * frame.height > MAX_PIXELS:
                    raise LinkError(
                        f"{self._what}: {frame.height} x {frame.width} pixels, the limit is {MAX_PIXELS}; it is not read"
                    )
                yield Picture(self._converted(frame), seconds)

    def _converted(self, frame: av.VideoFrame) -> Image:
        try:
            pixels: Image = np.ascontiguousarray(frame.to_ndarray(format=self._format))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise LinkError(f"{self._what}: {_reason(error, None)}") from None
        return pixels[..., None] if pixels.ndim == 2 else pixels

    def close(self) -> None:
        """Let go of the source."""
        self._container.close()


def _reason(error: Exception, timeout_s: float | None) -> str:
    """Say in a few words what FFmpeg says, without the address that it quotes."""
    if isinstance(error, av.error.ExitError):
        return "no answer in time" if timeout_s is None else f"no answer within {timeout_s:g} s"
    said = getattr(error, "strerror", None) or type(error).__name__
    return said[:1].lower() + said[1:]
