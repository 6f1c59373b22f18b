"""From an accepted patch to the bytes of its candidate."""

import itertools
import threading
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from edge_agent.inspection.cameras.camera import Frame
from edge_agent.inspection.loading import LoadedRelease
from edge_agent.stream.filter import Verdict
from shared import codec, topics
from shared.config import LineConfig
from shared.geometry import Patch
from shared.identity import CandidateId
from shared.images import encode_image
from shared.messages import Candidate

_LOWEST_QUALITY: Final = 50
_QUALITY_STEP: Final = 10


class CandidateMaker:
    """Names and packs the candidates of one start of a node; its cameras share the sequence.

    A candidate is made to fit what the broker takes. One that was spooled before the broker said so is the courier's.
    """

    def __init__(self, *, site: str, node: str, boot: str) -> None:
        #: What the broker takes at most, where it says so.
        self.max_packet_bytes: int | None = None
        self._site = site
        self._node = node
        self._boot = boot
        self._sequence = itertools.count()
        self._lock = threading.Lock()

    def make(
        self,
        line: LineConfig,
        *,
        camera: str,
        frame: Frame,
        patch: Patch,
        verdict: Verdict,
        embedding: NDArray[np.float32] | None,
        release: LoadedRelease | None,
        seen: int,
        ids: Mapping[str, str],
    ) -> bytes | None:
        """Pack one candidate; None when it is larger than a message may be, whatever the JPEG quality."""
        with self._lock:
            seq = next(self._sequence)
        pixels = line.grid.crop(frame.image, patch)
        space = None if release is None or release.manifest.space is None else release.manifest.space.id
        limit = topics.room(topics.candidates(self._site, self._node, line.line), self.max_packet_bytes)
        for quality in _qualities(line):
            crop = encode_image(pixels, form=line.crop.format, quality=quality)
            message = Candidate(
                id=str(CandidateId.make(node=self._node, boot=self._boot, seq=seq, crop=crop)),
                camera=camera,
                frame=frame.number,
                captured_at=frame.captured_at,
                row=patch.row,
                col=patch.col,
                inside=line.grid.inside(patch, *frame.image.shape[:2]),
                release=None if release is None else release.manifest.release,
                score=verdict.score,
                reason=verdict.reason,
                gain=verdict.gain,
                space=None if embedding is None else space,
                embedding=None if embedding is None else codec.pack(embedding.astype(np.float16)),
                crop_format=line.crop.format,
                crop=crop,
                seen=seen,
                ids=dict(ids),
            )
            data = codec.encode(message)
            if len(data) <= limit:
                return data
        return None


def _qualities(line: LineConfig) -> list[int]:
    """The JPEG qualities to try, best first; PNG has one."""
    if line.crop.format == "png":
        return [line.crop.quality]
    return [*range(line.crop.quality, _LOWEST_QUALITY, -_QUALITY_STEP), _LOWEST_QUALITY]
