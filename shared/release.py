"""Releases and rollout documents: immutable files, their hashes, and the one door that verifies them.

A release is a folder ``releases/<line>/<name>/`` with a manifest and the files it lists. A rollout document
``rollouts/<line>.json`` says which release a line's nodes should run; its number only goes up, and a
rollback is a newer document that points at an older release. Whoever wants to load a file passes its bytes
through :func:`verify` and loads those same bytes.
"""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Final, Literal, TypeVar

import msgspec
from msgspec import Struct, field

from shared.errors import ConfigError, ReleaseError
from shared.geometry import PatchGrid
from shared.identity import is_name, sha256_hex
from shared.precision import Precision, Provider

MANIFEST_SCHEMA: Final = 1
ROLLOUT_SCHEMA: Final = 1
MANIFEST_NAME: Final = "manifest.json"
MAX_MANIFEST_BYTES: Final = 1 << 20
MAX_FILE_BYTES: Final = 1 << 30
#: The most numbers an embedding may have.
MAX_DIM: Final = 4096

T = TypeVar("T")

#: task: scores per patch; mask: the same with the mask, both also in other precisions; space: embeddings; golden:
#: self-test inputs and outputs; labelled: embeddings of what is labelled, where a node's novelty memory starts.
Role = Literal["task", "task_fp16", "task_int8", "mask", "mask_fp16", "mask_int8", "space", "golden", "labelled"]
_IN_PRECISION: Final[Mapping[tuple[str, Precision], Role]] = {
    ("task", "fp32"): "task",
    ("task", "fp16"): "task_fp16",
    ("task", "int8"): "task_int8",
    ("mask", "fp32"): "mask",
    ("mask", "fp16"): "mask_fp16",
    ("mask", "int8"): "mask_int8",
}


class FileEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of a release."""

    name: str
    sha256: str
    bytes: int


class SpaceEntry(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The embedding space a release was made in: the sha256 of its graph."""

    id: str
    dim: int
    #: The temperature of the novelty kernel in this space.
    tau: float


class Override(Struct, frozen=True, kw_only=True):
    """Why a run serves that the gate held back."""

    reason: str
    by: str
    #: When, in seconds since 1970.
    at: float


class Lineage(Struct, frozen=True, kw_only=True):
    """Where a release comes from."""

    round: int | None = None
    run: str | None = None
    labels: int = 0
    miou: float | None = None
    reference_patches: int = 0
    override: Override | None = None


class Manifest(Struct, frozen=True, kw_only=True):
    """What a release is."""

    schema: int = MANIFEST_SCHEMA
    line: str
    release: str
    number: int
    created: float
    classes: tuple[str, ...]
    geometry: PatchGrid
    files: dict[Role, FileEntry]
    space: SpaceEntry | None = None
    lineage: Lineage = Lineage()
    #: How far a graph's outputs may lie from the golden ones.
    tolerance: float = 1e-3
    #: The same for the graphs that have one of their own.
    tolerances: dict[Role, float] = field(default_factory=dict)
    #: What each provider runs; fp32 where it is not named.
    precision: dict[Provider, Precision] = field(default_factory=dict)
    #: By graph and output: how far it lay from the network it was made of when it was released.
    parity: dict[Role, dict[str, float]] = field(default_factory=dict)

    def graph_for(self, graph: Literal["task", "mask"], provider: Provider) -> Role:
        """Say which file a provider runs as the task or the mask graph."""
        return in_precision(graph, self.precision.get(provider, "fp32"))

    def tolerance_of(self, role: Role) -> float:
        """Say how far this graph's outputs may lie from the golden ones."""
        return self.tolerances.get(role, self.tolerance)


class Rollout(Struct, frozen=True, kw_only=True):
    """Which release the nodes of a line should run."""

    schema: int = ROLLOUT_SCHEMA
    line: str
    rollout: int
    release: str
    number: int
    manifest_sha256: str
    min_release: int = 0
    #: The nodes meant; empty means all.
    nodes: tuple[str, ...] = ()
    issued: float = 0.0


_RELEASE = re.compile(r"(?P<line>[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?)-(?P<number>[0-9]{4,8})")
_FILE = re.compile(r"[a-z0-9_]{1,40}\.[a-z0-9]{1,10}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def in_precision(graph: Literal["task", "mask"], precision: Precision) -> Role:
    """Name the role of a graph in one precision."""
    return _IN_PRECISION[graph, precision]


def release_name(line: str, number: int) -> str:
    """Name a line's n-th release."""
    return f"{line}-{number:04d}"


def _is_release(text: str, *, line: str, number: int) -> bool:
    """Say whether ``text`` is the one name of a line's n-th release; a name becomes a folder, so its form counts too."""
    return _RELEASE.fullmatch(text) is not None and text == release_name(line, number)


def release_path(line: str, release: str, file: str = MANIFEST_NAME) -> str:
    """The path of a release's file below the store's root."""
    return f"releases/{line}/{release}/{file}"


def rollout_path(line: str) -> str:
    """The path of a line's rollout document below the store's root."""
    return f"rollouts/{line}.json"


def verify(data: bytes, *, sha256: str, what: str, size: int | None = None) -> bytes:
    """Return ``data`` if it is exactly what was promised; no model bytes are used that did not pass here."""
    if size is not None and len(data) != size:
        raise ReleaseError(f"{what}: {len(data)} bytes, the manifest says {size}; it is not used")
    found = sha256_hex(data)
    if found != sha256:
        raise ReleaseError(f"{what}: sha256 {found[:12]}…, expected {sha256[:12]}…; it is not used")
    return data


def read_manifest(data: bytes, *, sha256: str | None, what: str) -> Manifest:
    """Verify and read a manifest; without a hash (a listing at the trainer) it is only read."""
    if len(data) > MAX_MANIFEST_BYTES:
        raise ReleaseError(f"{what}: {len(data)} bytes, the limit is {MAX_MANIFEST_BYTES}; it is not used")
    if sha256 is not None:
        verify(data, sha256=sha256, what=what)
    manifest = _read(data, Manifest, what=what)
    if manifest.schema != MANIFEST_SCHEMA:
        raise ReleaseError(f"{what}: schema {manifest.schema}, this version reads {MANIFEST_SCHEMA}; it is not used")
    if not _is_release(manifest.release, line=manifest.line, number=manifest.number):
        raise ReleaseError(
            f'{what}: release "{manifest.release[:60]}" is not number {manifest.number} of line "{manifest.line[:60]}"'
        )
    _check_files(manifest, what=what)
    if not ({"task", "space"} & set(manifest.files)):
        raise ReleaseError(f"{what}: neither a task graph nor a space graph; it is not used")
    _check_space(manifest, what=what)
    _check_precision(manifest, what=what)
    return manifest


def _check_files(manifest: Manifest, *, what: str) -> None:
    for role, entry in manifest.files.items():
        if (
            not _FILE.fullmatch(entry.name)
            or entry.name == MANIFEST_NAME
            or not _SHA256.fullmatch(entry.sha256)
            or not 0 <= entry.bytes <= MAX_FILE_BYTES
        ):
            raise ReleaseError(
                f"{what}: the entry for {role} has no plain name, sha256 or size up to {MAX_FILE_BYTES}; it is not used"
            )


def _check_precision(manifest: Manifest, *, what: str) -> None:
    for tolerance in (manifest.tolerance, *manifest.tolerances.values()):
        if not (isfinite(tolerance) and 0 < tolerance <= 0.1):
            raise ReleaseError(f"{what}: tolerance {tolerance}, expected above 0 and at most 0.1; it is not used")
    for provider, precision in manifest.precision.items():
        if "task" in manifest.files and manifest.graph_for("task", provider) not in manifest.files:
            raise ReleaseError(f"{what}: {provider} runs {precision}, but it has no such task graph; it is not used")


def _check_space(manifest: Manifest, *, what: str) -> None:
    if ("space" in manifest.files) != (manifest.space is not None):
        raise ReleaseError(f"{what}: space graph and space entry must come together; it is not used")
    if manifest.space is not None and not (manifest.space.tau > 0 and 1 <= manifest.space.dim <= MAX_DIM):
        raise ReleaseError(
            f"{what}: space of dim {manifest.space.dim} and tau {manifest.space.tau}, expected dim 1 to {MAX_DIM} and tau above 0; it is not used"
        )


def read_rollout(data: bytes, *, line: str) -> Rollout:
    """Read a line's rollout document."""
    what = f'rollout document of line "{line}"'
    if len(data) > MAX_MANIFEST_BYTES:
        raise ReleaseError(f"{what}: {len(data)} bytes, the limit is {MAX_MANIFEST_BYTES}; it is ignored")
    rollout = _read(data, Rollout, what=what)
    if rollout.schema != ROLLOUT_SCHEMA:
        raise ReleaseError(f"{what}: schema {rollout.schema}, this version reads {ROLLOUT_SCHEMA}; it is ignored")
    if rollout.line != line or not _SHA256.fullmatch(rollout.manifest_sha256) or rollout.rollout < 1:
        raise ReleaseError(f'{what}: line "{rollout.line[:60]}", number {rollout.rollout}; it is ignored')
    if not _is_release(rollout.release, line=line, number=rollout.number):
        raise ReleaseError(
            f'{what}: release "{rollout.release[:60]}" is not number {rollout.number} of the line; it is ignored'
        )
    if not all(is_name(node) for node in rollout.nodes):
        raise ReleaseError(f"{what}: a node in it has no name; it is ignored")
    return rollout


def write_json(value: Struct) -> bytes:
    """Write a manifest or a rollout document: sorted, indented, the same bytes for the same value."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2) + b"\n"


def _read(data: bytes, kind: type[T], *, what: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{what}: {error}; it is not used") from None
    except ConfigError as error:
        raise ReleaseError(f"{what}: {error}; it is not used") from None
