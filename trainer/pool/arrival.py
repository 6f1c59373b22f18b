"""The checks that a candidate passes before anything is stored: pure, and every refusal has a kind and a reason.

The node and the line are the topic's, and a node can only name candidates of its own. What the centre's
configuration or version may cure is put off: the node keeps it and sends it again later.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

import msgspec
import numpy as np

from shared import topics
from shared.codec import MAX_MESSAGE_BYTES, decode, unpack
from shared.config import LineConfig
from shared.errors import InputError, WireError
from shared.geometry import PatchGrid
from shared.identity import CandidateId, is_name, sha256_hex
from shared.images import UnreadImage
from shared.marks import faults_of_ids
from shared.messages import SCHEMA, Candidate, Message
from trainer.pool.records import SEED_NODE, Arrival

MAX_EMBEDDING_DIM: Final = 4096
#: What an integer of the wire may reach: exact in every database and language on the way.
_MAX_INTEGER: Final = 2**53
_MAX_GRID: Final = 1_000_000
#: float16 keeps a unit vector's length to a few thousandths.
_LENGTH_SLACK: Final = 0.02
_MAGIC: Final = {"jpeg": b"\xff\xd8\xff", "png": b"\x89PNG\r\n\x1a\n"}
_WORD: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_ID: Final = re.compile(rb"[a-z0-9][a-z0-9_-]{0,39}-[0-9a-f]{8}-[0-9]{1,12}-[0-9a-f]{16}")
#: The id stands in front of every candidate; it is looked for no further.
_ID_WITHIN_BYTES: Final = 200
#: The longest id there can be; no more of a wrong one is sent back.
_LONGEST_ID: Final = 79


@dataclass(frozen=True, slots=True)
class Refusal:
    """A candidate that is not stored; ``id`` is None where not even its name could be read."""

    node: str | None
    line: str | None
    id: str | None
    kind: str
    reason: str
    #: Whether the centre can cure it, or time: a nack would end the candidate on its node, so it is put off.
    curable: bool = False


class _RefusedError(Exception):
    """Carries a refusal out of the checks; never leaves this file."""

    def __init__(self, kind: str, reason: str, *, curable: bool = False) -> None:
        super().__init__(reason)
        self.kind = kind
        self.curable = curable


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose candidate a message is, by its topic: the only identity that counts."""

    node: str
    line: str


def sender_of(topic: str, *, site: str) -> Sender | Refusal:
    """Read a topic of the ingest subscription."""
    try:
        found = topics.parse(topic)
    except WireError as error:
        return Refusal(None, None, None, "topic", str(error))
    if found.site != site or found.what != "cand" or found.line is None:
        return Refusal(None, None, None, "topic", f'topic "{topic[:120]}": not a candidate of site {site}')
    return Sender(found.node, found.line)


def check(
    sender: Sender, payload: bytes, *, site: str, lines: Mapping[str, LineConfig], now: float
) -> Arrival | Refusal:
    """Read one message of the ingest subscription, and either accept it whole or say why not."""
    name: str | None = _salvaged_id(payload)
    try:
        _check_sender(sender.node, sender.line, lines, site=site)
        candidate = _decoded(payload)
        name = candidate.id[:_LONGEST_ID]
        _check_identity(candidate, node=sender.node)
        # The crop before the numbers: a node of other geometry breaks their bounds too, and only that is curable.
        _check_crop(candidate, lines[sender.line].grid)
        _check_numbers(candidate, lines[sender.line].grid)
        _check_words(candidate)
        _check_embedding(candidate)
    except _RefusedError as refused:
        known_line = sender.line if sender.line in lines else None
        return Refusal(sender.node, known_line, name, refused.kind, str(refused), curable=refused.curable)
    return Arrival(line=sender.line, node=sender.node, candidate=candidate, received_at=now)


def over_quota(sender: Sender, payload: bytes, *, lines: Mapping[str, LineConfig], spent: str) -> Refusal:
    """Put off a message of a node that has brought enough, without a look at what is in it."""
    known_line = sender.line if sender.line in lines else None
    reason = f"node {sender.node}: has brought the {spent} that [ingest] in site.toml allows"
    return Refusal(sender.node, known_line, _salvaged_id(payload), "quota", reason, curable=True)


def _salvaged_id(payload: bytes) -> str | None:
    """Find the id in bytes that may be no message, so that the node can put the broken item aside."""
    found = _ID.search(payload[:_ID_WITHIN_BYTES])
    return None if found is None else found[0].decode("ascii")


def _check_sender(node: str, line: str, lines: Mapping[str, LineConfig], *, site: str) -> None:
    if node == SEED_NODE:
        raise _RefusedError("node", f'node "{SEED_NODE}": the name is kept for labelled images; rename the node')
    if line not in lines:
        known = ", ".join(sorted(lines))
        raise _RefusedError("line", f'line "{line}": not a line of site {site}; known lines are {known}', curable=True)


def _decoded(payload: bytes) -> Candidate:
    try:
        return decode(payload, Candidate)
    except WireError as error:
        raise _RefusedError("payload", str(error), curable=_is_newer(payload)) from None


def _is_newer(payload: bytes) -> bool:
    """Say whether a message names a later schema than this version reads; its other fields may be anything."""
    if len(payload) > MAX_MESSAGE_BYTES:
        return False
    try:
        return msgspec.msgpack.decode(payload, type=Message).schema > SCHEMA
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return False


def _check_identity(candidate: Candidate, *, node: str) -> None:
    try:
        parsed = CandidateId.parse(candidate.id)
    except WireError as error:
        raise _RefusedError("id", str(error)) from None
    if parsed.node != node:
        raise _RefusedError("node", f"candidate {candidate.id}: sent by node {node}; a node names only its own")
    digest = sha256_hex(candidate.crop)[:16]
    if digest != parsed.digest:
        raise _RefusedError(
            "hash", f"candidate {candidate.id}: its crop hashes to {digest}…; the bytes are not its own"
        )


def _check_numbers(candidate: Candidate, grid: PatchGrid) -> None:
    subject = f"candidate {candidate.id}"
    for what, value, most in (
        ("frame", candidate.frame, _MAX_INTEGER),
        ("seen", candidate.seen, _MAX_INTEGER),
        ("row", candidate.row, _MAX_GRID),
        ("col", candidate.col, _MAX_GRID),
    ):
        if not 0 <= value <= most:
            raise _RefusedError("bounds", f"{subject}: {what} is {value}, expected 0 to {most}")
    if not all(1 <= side <= grid.patch_px for side in candidate.inside):
        raise _RefusedError("bounds", f"{subject}: inside is {candidate.inside}, expected 1 to {grid.patch_px} each")
    if candidate.score is not None and not 0.0 <= candidate.score <= 1.0:
        raise _RefusedError("bounds", f"{subject}: score is {candidate.score}, expected 0 to 1")
    if not isfinite(candidate.captured_at) or not isfinite(candidate.gain or 0.0):
        raise _RefusedError("bounds", f"{subject}: captured_at or gain is not finite")


def _check_words(candidate: Candidate) -> None:
    if not is_name(candidate.camera):
        raise _RefusedError("words", f'candidate {candidate.id}: camera "{candidate.camera[:60]}" is not a name')
    for what, word in (("reason", candidate.reason), ("release", candidate.release), ("space", candidate.space)):
        if word is not None and not _WORD.fullmatch(word):
            raise _RefusedError(
                "words", f'candidate {candidate.id}: {what} "{word[:60]}", expected 1 to 64 of a-z 0-9 _ -'
            )
    faults = faults_of_ids(candidate.ids)
    if faults:
        raise _RefusedError("words", f"candidate {candidate.id}: {faults[0]}")


def _check_embedding(candidate: Candidate) -> None:
    subject = f"candidate {candidate.id}"
    if (candidate.space is None) != (candidate.embedding is None):
        raise _RefusedError("embedding", f"{subject}: space and embedding must come together")
    if candidate.embedding is None:
        return
    try:
        vector = unpack(candidate.embedding)
    except WireError as error:
        raise _RefusedError("embedding", f"{subject}: {error}") from None
    if vector.ndim != 1 or not 1 <= len(vector) <= MAX_EMBEDDING_DIM or vector.dtype.kind != "f":
        raise _RefusedError(
            "embedding",
            f"{subject}: embedding {vector.dtype} {vector.shape}, expected 1 to {MAX_EMBEDDING_DIM} floating numbers",
        )
    with np.errstate(over="ignore"):
        length = float(np.linalg.norm(vector.astype(np.float64)))
    # Said this way round so that a length that is not a number is refused too.
    if not abs(length - 1.0) <= _LENGTH_SLACK:
        raise _RefusedError("embedding", f"{subject}: embedding of length {length:.3g}, expected 1")


def _check_crop(candidate: Candidate, grid: PatchGrid) -> None:
    subject = f"candidate {candidate.id}"
    magic = _MAGIC.get(candidate.crop_format)
    if magic is None or not candidate.crop.startswith(magic):
        raise _RefusedError("crop", f'{subject}: the crop is not "{candidate.crop_format[:20]}"; known are jpeg, png')
    try:
        image = UnreadImage(candidate.crop, what=subject)
        if image.size != (grid.crop_px, grid.crop_px):
            height, width = image.size
            raise _RefusedError(
                "crop", f"{subject}: crop {height} x {width}, the line's are {grid.crop_px} square", curable=True
            )
        if image.is_progressive:
            raise _RefusedError("crop", f"{subject}: a progressive JPEG, of any number of passes; nodes write baseline")
        # Read whole: a crop that selection or training could not open must not get in.
        image.prove()
    except InputError as error:
        raise _RefusedError("crop", str(error)) from None
