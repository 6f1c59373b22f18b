import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ReleaseError
from shared.geometry import PatchGrid
from shared.identity import sha256_hex
from shared.release import (
    MAX_MANIFEST_BYTES,
    FileEntry,
    Lineage,
    Manifest,
    Rollout,
    SpaceEntry,
    read_manifest,
    read_rollout,
    release_name,
    release_path,
    rollout_path,
    verify,
    write_json,
)

SPACE = FileEntry(name="space.onnx", sha256="ab" * 32, bytes=10)
MANIFEST = Manifest(
    line="strip",
    release="strip-0003",
    number=3,
    created=1.0,
    classes=("steel", "scratch"),
    geometry=PatchGrid(tile_px=160, patch_px=64, margin_px=16, cell_px=16),
    files={"space": SPACE, "task": FileEntry(name="task.onnx", sha256="cd" * 32, bytes=20)},
    space=SpaceEntry(id="ab" * 32, dim=64, tau=0.1),
    lineage=Lineage(round=1, run="r1", labels=60, miou=0.5, reference_patches=12),
)
ROLLOUT = Rollout(line="strip", rollout=4, release="strip-0003", number=3, manifest_sha256="ef" * 32, nodes=("n1",))


def changed(value: msgspec.Struct, **changes: object) -> bytes:
    """Write a document with some of its fields replaced, by dotted path."""
    tree = json.loads(write_json(value))
    for path, new in changes.items():
        *way, last = path.split("__")
        place = tree
        for step in way:
            place = place[step]
        if new is ...:
            del place[last]
        else:
            place[last] = new
    return json.dumps(tree).encode()


@given(st.binary(min_size=1, max_size=200), st.data())
def test_one_flipped_bit_anywhere_is_refused(content: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, 8 * len(content) - 1))
    flipped = bytearray(content)
    flipped[place // 8] ^= 1 << place % 8

    assert verify(content, sha256=sha256_hex(content), what="model", size=len(content)) is content
    with pytest.raises(ReleaseError, match=r"^model: sha256 .* it is not used"):
        verify(bytes(flipped), sha256=sha256_hex(content), what="model", size=len(content))


def test_a_truncated_file_is_refused_with_both_sizes() -> None:
    with pytest.raises(ReleaseError, match="model: 3 bytes, the manifest says 4"):
        verify(b"abc", sha256=sha256_hex(b"abcd"), what="model", size=4)


def test_a_manifest_reads_back_and_is_the_same_bytes_each_time() -> None:
    data = write_json(MANIFEST)

    read = read_manifest(data, sha256=sha256_hex(data), what="strip-0003")

    assert read == MANIFEST
    assert write_json(read) == data


def test_the_same_manifest_is_the_same_bytes_in_whatever_order_it_was_made() -> None:
    turned = msgspec.structs.replace(MANIFEST, files=dict(reversed(MANIFEST.files.items())))

    assert list(turned.files) != list(MANIFEST.files)
    assert write_json(turned) == write_json(MANIFEST)


def test_a_manifest_that_is_not_the_promised_one_is_refused() -> None:
    data = write_json(MANIFEST)

    with pytest.raises(ReleaseError, match="sha256"):
        read_manifest(data, sha256=sha256_hex(data + b" "), what="strip-0003")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "schema 2, this version reads 1"),
        ({"release": "strip-0004"}, 'release "strip-0004" is not number 3'),
        ({"release": "other-0003"}, "is not number 3 of line"),
        ({"release": "strip-00003"}, "is not number 3 of line"),
        ({"release": "../strip-0003"}, "is not number 3 of line"),
        ({"line": "other"}, 'of line "other"'),
        ({"files__task__name": "../task.onnx"}, "no plain name"),
        ({"files__task__name": "/etc/passwd"}, "no plain name"),
        ({"files__task__name": "task.onnx/"}, "no plain name"),
        ({"files__task__name": "manifest.json"}, "no plain name"),
        ({"files__task__sha256": "CD" * 32}, "no plain name, sha256"),
        ({"files__task__sha256": "cd"}, "no plain name, sha256"),
        ({"files__task__bytes": -1}, "size up to"),
        ({"files__task__bytes": 1 << 31}, "size up to"),
        ({"files__virus": {"name": "a.bin", "sha256": "ab" * 32, "bytes": 1}}, "virus"),
        ({"files": {}}, "neither a task graph nor a space graph"),
        ({"files__space": ...}, "must come together"),
        ({"space": None}, "must come together"),
        ({"space__dim": 0}, "space of dim 0"),
        ({"space__dim": 1 << 20}, "space of dim"),
        ({"space__tau": 0.0}, "tau above 0"),
        ({"tolerance": 0.0}, "tolerance 0.0"),
        ({"tolerance": 5.0}, "tolerance 5.0"),
        ({"geometry__cell_px": 7}, "not used"),
        ({"geometry__tile_px": 100_000}, "not used"),
        ({"classes": "steel"}, "classes"),
    ],
)
def test_a_manifest_that_says_what_cannot_be_is_refused(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ReleaseError, match=r"^strip-0003: ") as refused:
        read_manifest(changed(MANIFEST, **changes), sha256=None, what="strip-0003")

    assert reason in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_bytes_that_are_no_manifest_are_refused(data: bytes) -> None:
    with pytest.raises(ReleaseError, match="it is not used"):
        read_manifest(data, sha256=None, what="strip-0003")


def test_a_manifest_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(ReleaseError, match=f"the limit is {MAX_MANIFEST_BYTES}"):
        read_manifest(b" " * (MAX_MANIFEST_BYTES + 1), sha256=None, what="strip-0003")


def test_fields_of_a_later_manifest_are_ignored() -> None:
    assert read_manifest(changed(MANIFEST, signed_by="alice"), sha256=None, what="m") == MANIFEST


def test_a_space_alone_is_a_release() -> None:
    data = changed(MANIFEST, files__task=...)

    assert set(read_manifest(data, sha256=None, what="m").files) == {"space"}


def test_a_rollout_document_reads_back() -> None:
    assert read_rollout(write_json(ROLLOUT), line="strip") == ROLLOUT


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"schema": 2}, "schema 2, this version reads 1"),
        ({"line": "other"}, 'line "other"'),
        ({"rollout": 0}, "number 0"),
        ({"manifest_sha256": "xyz"}, "number 4"),
        ({"release": "strip-0004"}, "is not number 3 of the line"),
        ({"release": "../../strip-0003"}, "is not number 3 of the line"),
        ({"nodes": ["n1", "N2"]}, "a node in it has no name"),
        ({"rollout": "4"}, "rollout"),
    ],
)
def test_a_rollout_document_that_says_what_cannot_be_is_ignored(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(ReleaseError, match=r'^rollout document of line "strip": ') as refused:
        read_rollout(changed(ROLLOUT, **changes), line="strip")

    assert reason in str(refused.value)


def test_a_rollout_document_over_the_limit_is_ignored_unread() -> None:
    with pytest.raises(ReleaseError, match="the limit is"):
        read_rollout(b" " * (MAX_MANIFEST_BYTES + 1), line="strip")


def test_paths_stay_below_the_store() -> None:
    assert release_name("strip", 3) == "strip-0003"
    assert release_path("strip", "strip-0003") == "releases/strip/strip-0003/manifest.json"
    assert release_path("strip", "strip-0003", "task.onnx") == "releases/strip/strip-0003/task.onnx"
    assert rollout_path("strip") == "rollouts/strip.json"


PRECISE = msgspec.structs.replace(
    MANIFEST,
    files={**MANIFEST.files, "task_int8": FileEntry(name="task_int8.onnx", sha256="aa" * 32, bytes=5)},
    precision={"cpu": "int8"},
    tolerances={"task_int8": 0.03},
    parity={"task_int8": {"score": 0.004}},
)


def test_each_provider_finds_its_own_graph_and_tolerance() -> None:
    data = write_json(PRECISE)

    read = read_manifest(data, sha256=sha256_hex(data), what="strip-0003")

    assert read == PRECISE
    assert read.graph_for("task", "cpu") == "task_int8"
    assert read.graph_for("mask", "cpu") == "mask_int8"
    assert read.graph_for("task", "cuda") == "task"
    assert read.tolerance_of("task_int8") == 0.03
    assert read.tolerance_of("task") == read.tolerance_of("space") == MANIFEST.tolerance


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"precision": {"cuda": "fp16"}}, "cuda runs fp16, but it has no such task graph"),
        ({"precision": {"cpu": "int4"}}, "int4"),
        ({"precision": {"tpu": "int8"}}, "tpu"),
        ({"tolerances": {"task_int8": 0.0}}, "tolerance 0.0"),
        ({"tolerances": {"task_int8": 5.0}}, "tolerance 5.0"),
    ],
)
def test_a_precision_that_cannot_be_run_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ReleaseError, match=message):
        read_manifest(changed(PRECISE, **changes), sha256=None, what="strip-0003")
