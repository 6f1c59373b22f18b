"""A release that runs: its manifest and graphs, loaded from bytes that were verified just before."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from edge_agent.inspection.graph_cache import GraphCache
from edge_agent.inspection.runtime import MaskGraph, SpaceGraph, TaskGraph, first_provider
from shared.config import LineConfig, RuntimeTable
from shared.console import Step
from shared.errors import ConfigError, InputError, ReleaseError
from shared.files import read_bounded
from shared.geometry import Image
from shared.golden import read_labelled
from shared.precision import Precision, Provider
from shared.release import MANIFEST_NAME, MAX_MANIFEST_BYTES, Manifest, Role, read_manifest, verify

Floats = NDArray[np.float32]
#: Where the optimised graphs of a release lie, beside its files: they come and go with it.
CACHE_NAME: Final = "optimised"


@dataclass(frozen=True, slots=True, eq=False)
class LoadedRelease:
    """The graphs that one line runs; cameras of the line share them."""

    manifest: Manifest
    task: TaskGraph | None
    space: SpaceGraph | None
    #: Embeddings of what is labelled, ``(n, d)``.
    labelled: Floats | None
    #: Which of the release's task graphs: the one in the precision that the provider runs.
    task_role: Role = "task"

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        manifest_sha256: str | None,
        line: LineConfig,
        runtime: RuntimeTable,
        cached: bool = False,
        step: Step | None = None,
    ) -> Self:
        """Verify every file that is used and make its graph; a ``ReleaseError`` says what does not fit.

        A ``ConfigError`` says why this node could not run any release made for the line.
        Without a hash (an operator replays a release on the node) the manifest itself is taken on trust.

        Args:
            directory: Where the release lies.
            manifest_sha256: Of its manifest.
            line: The node's own configuration of it.
            runtime: What the graphs should run on.
            cached: Whether optimised graphs are kept beside the release, and taken from there.
            step: Told the progress.
        """
        what = f"release {directory.name}"
        step = step or (lambda _done, _total: None)
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
        cache = GraphCache(directory / CACHE_NAME) if cached else None
        labelled = _verified(directory, manifest, "labelled")
        step(0, 2)
        task, role = _task(directory, manifest, line, runtime, cache=cache)
        step(1, 2)
        loaded = cls(
            manifest,
            task,
            _space(directory, manifest, line, runtime, cache=cache),
            None if labelled is None else read_labelled(labelled, what=f"{what}: labelled summary"),
            role,
        )
        step(2, 2)
        loaded._check_labelled(what)
        return loaded

    @property
    def provider(self) -> str:
        """What the graphs run on."""
        graph = self.task or self.space
        return "" if graph is None else graph.graph.provider

    @property
    def precision(self) -> Precision:
        """In which numbers the task graph's network computes."""
        return self.manifest.precision.get(self.task.graph.provider, "fp32") if self.task else "fp32"

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


def open_mask(directory: Path, manifest: Manifest, line: LineConfig, runtime: RuntimeTable) -> MaskGraph:
    """Make the graph that also says the class of each pixel, which no frame loop needs."""
    for provider, wanted in _providers(runtime):
        role = manifest.graph_for("mask", provider)
        data = _verified(directory, manifest, role)
        if data is None:
            raise ReleaseError(f"release {manifest.release}: no mask graph; it says no classes")
        mask = MaskGraph.open(data, line.grid, wanted, what=f"release {manifest.release}: {role} graph")
        if mask.graph.provider == provider:
            break
    return mask


def _task(
    directory: Path, manifest: Manifest, line: LineConfig, runtime: RuntimeTable, *, cache: GraphCache | None
) -> tuple[TaskGraph | None, Role]:
    """Make the task graph in the precision of the provider that really runs it."""
    if "task" not in manifest.files:
        return None, "task"
    for provider, wanted in _providers(runtime):
        role = manifest.graph_for("task", provider)
        data = _verified(directory, manifest, role)
        assert data is not None
        task = TaskGraph.open(data, line.grid, wanted, what=f"release {directory.name}: {role} graph", cache=cache)
        if task.graph.provider == provider:
            break
    return task, role


def _space(
    directory: Path, manifest: Manifest, line: LineConfig, runtime: RuntimeTable, *, cache: GraphCache | None
) -> SpaceGraph | None:
    data = _verified(directory, manifest, "space")
    if data is None or manifest.space is None:
        return None
    what = f"release {directory.name}: space graph"
    return SpaceGraph.open(data, line.grid, runtime, dim=manifest.space.dim, what=what, cache=cache)


def _providers(runtime: RuntimeTable) -> list[tuple[Provider, RuntimeTable]]:
    """Name the providers in the order they are tried; a GPU that turned out not to run is not tried again."""
    on_cpu: tuple[Provider, RuntimeTable] = ("cpu", replace(runtime, provider="cpu"))
    return [("cuda", runtime), on_cpu] if first_provider(runtime) == "cuda" else [("cpu", runtime)]


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
