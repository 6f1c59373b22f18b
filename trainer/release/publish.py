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
from shared.precision import Precision, Provider
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

_DATA: Final = ("golden", "labelled")


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
    precision: Mapping[Provider, Precision] | None = None,
    tolerances: Mapping[Role, float] | None = None,
    parity: Mapping[Role, Mapping[str, float]] | None = None,
) -> Manifest:
    """Write a line's release with this number and return its manifest.

    Args:
        store: The root that is served; the release goes to ``releases/<line>/<name>/``.
        line: Whose release it is.
        number: As ``next_number`` gave it; a number that has a manifest is refused.
        graphs: By role: task and mask, also in other precisions, and space.
        space: The id, width and temperature of the space graph, when there is one.
        golden: The self-test for the graphs given.
        labelled: Embeddings ``(n, d)`` of what is labelled, where nodes' novelty memories start.
        lineage: Where the release comes from.
        now: The time of publishing.
        precision: What each provider runs, where it is not fp32.
        tolerances: How far a graph may lie from the golden outputs, where it is not the manifest's own.
        parity: By graph and output, how far it lay from the network.
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
            role: FileEntry(name=_name(role), sha256=sha256_hex(data), bytes=len(data)) for role, data in files.items()
        },
        space=space,
        lineage=lineage,
        precision=dict(precision or {}),
        tolerances=dict(tolerances or {}),
        parity={role: dict(found) for role, found in (parity or {}).items()},
    )
    written = write_json(manifest)
    # What nodes would refuse must not be published.
    read_manifest(written, sha256=sha256_hex(written), what=f"manifest of {name}")
    for role, data in files.items():
        write_durably(folder / _name(role), data)
    for parent in (folder.parent, folder.parent.parent, store):
        sync_directory(parent)
    write_durably(folder / MANIFEST_NAME, written)
    return manifest


def _name(role: Role) -> str:
    return f"{role}.bin" if role in _DATA else f"{role}.onnx"


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
    if unknown := set(graphs) & set(_DATA):
        raise ReleaseError(f"release {name}: {', '.join(sorted(unknown))} is no graph; it is not published")
    if ("space" in graphs) != (space is not None):
        raise ReleaseError(f"release {name}: a space graph and its entry must come together; it is not published")
    if space is not None and sha256_hex(graphs["space"]) != space.id:
        raise ReleaseError(
            f"release {name}: the space graph is {sha256_hex(graphs['space'])[:12]}…, its entry says {space.id[:12]}…; it is not published"
        )
    for role in (role for role in graphs if role != "space"):
        made_for = read_metadata(graphs[role]).get("release")
        if made_for != name:
            raise ReleaseError(f"release {name}: the {role} graph was exported for {made_for}; it is not published")
