"""One camera's frames under the release its line runs: sight, scores, filter, embeddings, verdicts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_agent.inspection.loading import LoadedRelease
from edge_agent.stream.filter import Keepsake, StreamFilter, Verdict
from edge_agent.stream.sight import Glance, Sight
from shared.config import LineConfig
from shared.geometry import Image, Patch


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """What the filter says of one frame; patches row by row."""

    shape: tuple[int, int]
    verdicts: list[Verdict]
    #: By patch, of those that were looked at closely.
    embeddings: dict[int, NDArray[np.float32]]
    #: What the frame says of its camera.
    glance: Glance

    def patch(self, index: int) -> Patch:
        """Return the place of the patch that a verdict is about."""
        return Patch(*divmod(index, self.shape[1]))


class Inspector:
    """Judges one camera's frames; the filter's memory and what the camera usually shows live here."""

    def __init__(self, line: LineConfig, *, rng: np.random.Generator) -> None:
        self.line = line
        self.release: LoadedRelease | None = None
        self._grid = line.grid
        self._sight = Sight(line.sight)
        self._filter = StreamFilter(line.budget, line.filter, line.selection, rng=rng)

    def take_over(self, release: LoadedRelease) -> None:
        """Judge the next frame with this release."""
        self.release = release
        self._filter.swap(scored=release.task is not None, space=release.manifest.space, labelled=release.labelled)

    def remember(self) -> Keepsake:
        """Return what a later start of the node should know of this camera."""
        return self._filter.remember()

    def recall(self, keepsake: Keepsake, elapsed_s: float) -> None:
        """Go on from what an earlier start remembered."""
        self._filter.recall(keepsake, elapsed_s)

    def judge(self, image: Image, *, now: float, recipe: str | None = None) -> Judged:
        """Give each patch of a frame its verdict; a ``ReleaseError`` when a graph does not run."""
        glance = self._sight.look(image, recipe=recipe)
        rows, cols = self._grid.patch_shape(*image.shape[:2])
        release = self.release
        scores = None if release is None else release.scores(image)
        flat = None if scores is None else scores.ravel().astype(np.float64)
        unclear = glance.unclear((rows, cols), (image.shape[0], image.shape[1]), self._grid.patch_px)
        screening = self._filter.screen(now, rows * cols, flat, unclear)
        embeddings = None
        if release is not None and release.space is not None and len(screening.wanted):
            patches = [self._grid.patch(image, Patch(*divmod(int(at), cols))) for at in screening.wanted]
            embeddings = release.space.embed(np.stack(patches))
        verdicts = self._filter.judge(now, screening, embeddings)
        found = {} if embeddings is None else dict(zip(screening.wanted.tolist(), embeddings, strict=True))
        return Judged((rows, cols), verdicts, found, glance)

    def charge(self, verdict: Verdict, size: int) -> None:
        """Charge the budget with the bytes of a candidate that was handed over."""
        self._filter.charge(verdict, size)
