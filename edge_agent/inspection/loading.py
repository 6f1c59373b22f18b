"""A release that runs: its manifest and graphs, loaded from bytes that were verified just before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edge_agent.inspection.runtime import SpaceGraph, TaskGraph
from shared.config import LineConfig, RuntimeTable
from shared.errors import ConfigError, InputError, ReleaseError
from shared.files import read_bounded
from shared.geometry import Image
from shared.golden import read_labelled
from shared.release import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest, Role, read_manifest, verify

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedRelease:
    """The graphs that one line runs; cameras of the line share them."""

    manifest: Manifest
    task: TaskGraph | None
    space: SpaceGraph | None
    #: Embeddings of what is labelled, ``(n, d)``.
    labelled: Floats | None

    @classmethod
    def load(cls, directory: Path, *, manifest_sha256: str | None, line: LineConfig, runtime: RuntimeTable) -> Self:
        """Verify every file that is used and make its graph; a ``ReleaseError`` says what does not fit.

        A ``ConfigError`` says why this node could not run any release made for the line.
        Without a hash (an operator replays a release on the node) the manifest itself is taken on trust.
        """
        what = f"release {directory.name}"
        manifest = read_manifest(
            _read(directory / MANIFEST_NAME, limit=MAX_MANIFEST_BYTES),
            sha256=manifest_sha256,
            what=f"{what}: {MANIFEST_NAME}",
        )
        if manifest.line != line.line:
            raise ReleaseError(f'{what}: made for line "{manifest.line}", the node has "{line.line}"; it is not used')
        if manifest.geometry != line.grid:
            # The trainer makes releases for its line.toml: a node whose own was edited refuses them all.
            raise ConfigError(
                f'{what}: made for {manifest.geometry}, line.toml of "{line.line}" says {line.grid}; it is not used'
            )
        task = _verified(directory, manifest, "task")
        space = _verified(directory, manifest, "space")
        labelled = _verified(directory, manifest, "labelled")
        loaded = cls(
            manifest,
            None if task is None else TaskGraph.open(task, line.grid, runtime, what=f"{what}: task graph"),
            None
            if space is None or manifest.space is None
            else SpaceGraph.open(space, line.grid, runtime, dim=manifest.space.dim, what=f"{what}: space graph"),
            None if labelled is None else read_labelled(labelled, what=f"{what}: labelled summary"),
        )
        loaded._check_labelled(what)
        return loaded

    @property
    def provider(self) -> str:
        """What the graphs run on."""
        graph = self.task or self.space
        return "" if graph is None else graph.graph.provider

    def scores(self, frame: Image) -> Floats | None:
        """Score a frame's patches, ``(rows, cols)``; None without a task graph."""
        if self.task is None:
            return None
        height, width = frame.shape[:2]
        grid = self.manifest.geometry
        return grid.frame_scores(self.task.scores(grid.tiles(frame)), height, width)

    def _check_labelled(self, what: str) -> None:
        if self.labelled is None:
            return
        if self.manifest.space is None or self.labelled.shape[1] != self.manifest.space.dim:
            raise ReleaseError(
                f"{what}: labelled summary of shape {self.labelled.shape} for the space {self.manifest.space}; it is not used"
            )


def _verified(directory: Path, manifest: Manifest, role: Role) -> bytes | None:
    entry = manifest.files.get(role)
    if entry is None:
        return None
    data = _read(directory / entry.name, limit=entry.bytes)
    return verify(data, sha256=entry.sha256, what=f"release {manifest.release}: {entry.name}", size=entry.bytes)


def _read(path: Path, *, limit: int) -> bytes:
    try:
        return read_bounded(path, limit=limit)
    except InputError as error:
        raise ReleaseError(f"{error}; the release is not used") from None
