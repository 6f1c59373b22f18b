"""Golden tiles and labelled embeddings: what a release carries beside its graphs.

Golden tiles are self-test inputs with the outputs the trainer got for them; a node runs them before it trusts
a release. The labelled summary is where a node's novelty memory starts. Both are MessagePack with bounds on
everything that is read; what does not fit is a ``ReleaseError``.
"""

from dataclasses import dataclass
from typing import Final, TypeVar

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from shared.codec import pack, unpack
from shared.errors import ReleaseError, WireError
from shared.geometry import Image
from shared.messages import PackedArray

GOLDEN_SCHEMA: Final = 1
MAX_GOLDEN_BYTES: Final = 64 << 20
#: The most labelled embeddings a release carries: half of the largest novelty memory.
MAX_LABELLED: Final = 512
MAX_LABELLED_BYTES: Final = 8 << 20

Floats = NDArray[np.float32]
T = TypeVar("T", bound=Struct)


@dataclass(frozen=True, slots=True, eq=False)
class Golden:
    """Self-test inputs and the outputs expected for them; a graph a release lacks has no pair here."""

    #: ``(n, tile_px, tile_px, c)`` uint8 and ``(n, g, g)``.
    tiles: Image | None = None
    score: Floats | None = None
    #: ``(m, patch_px, patch_px, c)`` uint8 and ``(m, d)`` of unit length.
    patches: Image | None = None
    embedding: Floats | None = None


class _GoldenFile(Struct, frozen=True, kw_only=True):
    schema: int = GOLDEN_SCHEMA
    tiles: PackedArray | None = None
    score: PackedArray | None = None
    patches: PackedArray | None = None
    embedding: PackedArray | None = None


class _LabelledFile(Struct, frozen=True, kw_only=True):
    schema: int = GOLDEN_SCHEMA
    embeddings: PackedArray


def write_golden(golden: Golden) -> bytes:
    """Write ``golden.bin``."""
    _check(golden, what="golden tiles")
    return msgspec.msgpack.encode(
        _GoldenFile(
            tiles=None if golden.tiles is None else pack(golden.tiles),
            score=None if golden.score is None else pack(golden.score),
            patches=None if golden.patches is None else pack(golden.patches),
            embedding=None if golden.embedding is None else pack(golden.embedding),
        )
    )


def read_golden(data: bytes, *, what: str) -> Golden:
    """Read ``golden.bin`` from bytes that passed ``verify``."""
    file = _decode(data, _GoldenFile, limit=MAX_GOLDEN_BYTES, what=what)
    golden = Golden(
        tiles=_pixels(file.tiles, what=what),
        score=_floats(file.score, what=what),
        patches=_pixels(file.patches, what=what),
        embedding=_floats(file.embedding, what=what),
    )
    _check(golden, what=what)
    return golden


def write_labelled(embeddings: NDArray[np.floating]) -> bytes:
    """Write ``labelled.bin``: up to ``MAX_LABELLED`` embeddings ``(n, d)`` as half floats."""
    if embeddings.ndim != 2 or len(embeddings) > MAX_LABELLED:
        raise ReleaseError(f"labelled summary: shape {embeddings.shape}; expected (n, d) with n at most {MAX_LABELLED}")
    return msgspec.msgpack.encode(_LabelledFile(embeddings=pack(embeddings.astype(np.float16))))


def read_labelled(data: bytes, *, what: str) -> Floats:
    """Read ``labelled.bin`` as ``(n, d)`` rows of unit length."""
    file = _decode(data, _LabelledFile, limit=MAX_LABELLED_BYTES, what=what)
    rows = _array(file.embeddings, limit=MAX_LABELLED_BYTES, what=what)
    if rows.dtype != np.float16 or rows.ndim != 2 or len(rows) > MAX_LABELLED:
        raise ReleaseError(
            f"{what}: {rows.dtype} of shape {rows.shape}; expected float16 (n, d) with n at most {MAX_LABELLED}; it is not used"
        )
    wide = rows.astype(np.float32)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    if not (np.isfinite(lengths).all() and (lengths > 0).all()):
        raise ReleaseError(f"{what}: an embedding of no finite length; it is not used")
    return np.asarray(wide / lengths, dtype=np.float32)


def _check(golden: Golden, *, what: str) -> None:
    pairs = (("tiles", golden.tiles, golden.score, 3), ("patches", golden.patches, golden.embedding, 2))
    for name, inputs, outputs, sides in pairs:
        if inputs is None and outputs is None:
            continue
        if inputs is None or outputs is None:
            raise ReleaseError(f"{what}: {name} without their outputs or the reverse; it is not used")
        if inputs.ndim != 4 or outputs.ndim != sides or len(inputs) != len(outputs) or len(inputs) == 0:
            raise ReleaseError(
                f"{what}: {name} of shape {inputs.shape} with outputs of shape {outputs.shape}; it is not used"
            )
        if not np.isfinite(outputs).all():
            raise ReleaseError(f"{what}: the outputs for {name} are not finite; it is not used")


def _pixels(packed: PackedArray | None, *, what: str) -> Image | None:
    if packed is None:
        return None
    array = _array(packed, limit=MAX_GOLDEN_BYTES, what=what)
    if array.dtype != np.uint8:
        raise ReleaseError(f"{what}: inputs of type {array.dtype}, expected uint8; it is not used")
    return np.asarray(array, dtype=np.uint8)


def _floats(packed: PackedArray | None, *, what: str) -> Floats | None:
    if packed is None:
        return None
    array = _array(packed, limit=MAX_GOLDEN_BYTES, what=what)
    if array.dtype != np.float32:
        raise ReleaseError(f"{what}: outputs of type {array.dtype}, expected float32; it is not used")
    return np.asarray(array, dtype=np.float32)


def _array(packed: PackedArray, *, limit: int, what: str) -> NDArray[np.generic]:
    try:
        return unpack(packed, limit=limit)
    except WireError as error:
        raise ReleaseError(f"{what}: {error}; it is not used") from None


def _decode(data: bytes, kind: type[T], *, limit: int, what: str) -> T:
    if len(data) > limit:
        raise ReleaseError(f"{what}: {len(data)} bytes, the limit is {limit}; it is not used")
    try:
        file = msgspec.msgpack.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ReleaseError(f"{what}: {error}; it is not used") from None
    schema = getattr(file, "schema", None)
    if schema != GOLDEN_SCHEMA:
        raise ReleaseError(f"{what}: schema {schema}, this version reads {GOLDEN_SCHEMA}; it is not used")
    return file
