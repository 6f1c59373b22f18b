"""Publishing: a release's folder in the store, written durably, the manifest last.

A folder without a manifest is no release: a publisher that dies leaves nothing that a node could take for one, and the
next publishing of the same number starts over.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.config import LineConfig
from shared.errors import ReleaseError, StateError
from shared.files import read_bounded, sync_directory, write_durably
from shared.golden import Golden, write_golden, write_labelled
from shared.identity import sha256_hex
from shared.release import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    FileEntry,
    Lineage,
    Manifest,
    Role,
    SpaceEntry,
    read_manifest,
    release_name,
    release_path,
    write_json,
)
from trainer.release.graph import read_metadata

_NAMES: Final[Mapping[Role, str]] = {
    "task": "task.onnx",
    "mask": "mask.onnx",
    "space": "space.onnx",
    "golden": "golden.bin",
    "labelled": "labelled.bin",
}


def publish(
    store: Path,
    line: LineConfig,
    *,
    number: int,
    graphs: Mapping[Role, bytes],
    space: SpaceEntry | None,
    golden: Golden,
    labelled: NDArray[np.floating] | None,
    lineage: Lineage,
    now: float,
) -> Manifest:
    """Write a line's release with this number and return its manifest.

    Args:
        store: The root that is served; the release goes to ``releases/<line>/<name>/``.
        line: Whose release it is.
        number: As ``next_number`` gave it; a number that has a manifest is refused.
        graphs: By role: task, mask, space.
        space: The id, width and temperature of the space graph, when there is one.
        golden: The self-test for the graphs given.
        labelled: Embeddings ``(n, d)`` of what is labelled, where nodes' novelty memories start.
        lineage: Where the release comes from.
        now: The time of publishing.
    """
    name = release_name(line.line, number)
    folder = (store / release_path(line.line, name)).parent
    if (folder / MANIFEST_NAME).exists():
        raise StateError(f"release {name}: it exists; releases are never changed, take number {number + 1}")
    files: dict[Role, bytes] = {**graphs, "golden": write_golden(golden)}
    if labelled is not None and len(labelled):
        files["labelled"] = write_labelled(labelled)
    _check_graphs(graphs, name, space)
    manifest = Manifest(
        line=line.line,
        release=name,
        number=number,
        created=now,
        classes=line.class_names,
        geometry=line.grid,
        files={
            role: FileEntry(name=_NAMES[role], sha256=sha256_hex(data), bytes=len(data)) for role, data in files.items()
        },
        space=space,
        lineage=lineage,
    )
    written = write_json(manifest)
    # What nodes would refuse must not be published.
    read_manifest(written, sha256=sha256_hex(written), what=f"manifest of {name}")
    for role, data in files.items():
        write_durably(folder / _NAMES[role], data)
    for parent in (folder.parent, folder.parent.parent, store):
        sync_directory(parent)
    write_durably(folder / MANIFEST_NAME, written)
    return manifest


def list_manifests(store: Path, line: str) -> list[Manifest]:
    """Read the manifests of a line's releases, the lowest number first."""
    folder = (store / release_path(line, "any")).parent.parent
    paths = sorted(folder.glob(f"*/{MANIFEST_NAME}")) if folder.is_dir() else []
    found = [read_manifest(read_bounded(path, limit=MAX_MANIFEST_BYTES), sha256=None, what=str(path)) for path in paths]
    return sorted(found, key=lambda manifest: manifest.number)


def next_number(store: Path, line: str) -> int:
    """Return the number a line's next release takes: one above the highest that exists."""
    return max((manifest.number for manifest in list_manifests(store, line)), default=0) + 1


def release_of_run(store: Path, line: str, run: str) -> Manifest | None:
    """Find the release a run was published as, so that a stage killed after publishing does not publish twice."""
    matching = [manifest for manifest in list_manifests(store, line) if manifest.lineage.run == run]
    return matching[-1] if matching else None


def _check_graphs(graphs: Mapping[Role, bytes], name: str, space: SpaceEntry | None) -> None:
    if unknown := set(graphs) - {"task", "mask", "space"}:
        raise ReleaseError(f"release {name}: {', '.join(sorted(unknown))} is no graph; it is not published")
    if ("space" in graphs) != (space is not None):
        raise ReleaseError(f"release {name}: a space graph and its entry must come together; it is not published")
    if space is not None and sha256_hex(graphs["space"]) != space.id:
        raise ReleaseError(
            f"release {name}: the space graph is {sha256_hex(graphs['space'])[:12]}…, its entry says {space.id[:12]}…; it is not published"
        )
    for role in ("task", "mask"):
        made_for = read_metadata(graphs[role]).get("release") if role in graphs else name
        if made_for != name:
            raise ReleaseError(f"release {name}: the {role} graph was exported for {made_for}; it is not published")
