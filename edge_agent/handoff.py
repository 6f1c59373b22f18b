"""What the node's three processes say to each other.

Supervisor and children speak JSON lines over the child's standard input and output, one tagged struct a line.
Inspection hands candidates to the courier over a unix socket, each behind its length. End of input means that
the other side is gone.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO, Final, TypeVar

import msgspec
from msgspec import Struct

from shared.errors import WireError
from shared.messages import CameraState, LineReport
from shared.release import Rollout

#: One candidate with its crop, never more: the socket's reader allocates this much at most.
MAX_HANDED_BYTES: Final = 1 << 22
_LENGTH: Final = struct.Struct(">I")


class Swap(Struct, frozen=True, tag=True):
    """Supervisor to inspection: run this verified release from the next frame that its sessions are ready for."""

    line: str
    directory: str
    manifest_sha256: str


class Stop(Struct, frozen=True, tag=True):
    """Supervisor to a child: finish what is in hand and end."""


class Fetch(Struct, frozen=True, tag=True):
    """Supervisor to courier: bring a release into ``incoming/``."""

    line: str
    release: str
    manifest_sha256: str


class Report(Struct, frozen=True, tag=True):
    """Supervisor to courier: tell the fleet what each line runs."""

    lines: tuple[LineReport, ...]


class Beat(Struct, frozen=True, tag=True):
    """Supervisor to courier: inspection's counters, for the next heartbeat."""

    cameras: tuple[CameraState, ...]
    handoff_dropped: int
    inspecting: bool
    provider: str


class Swapped(Struct, frozen=True, tag=True):
    """Inspection to supervisor: the release runs since before this frame."""

    line: str
    release: str
    frame: int


class SwapRefused(Struct, frozen=True, tag=True):
    """Inspection to supervisor: the release did not come up; the old one runs on."""

    line: str
    release: str
    reason: str
    #: False when the node, not the release, is at fault.
    blamed: bool


class Counters(Struct, frozen=True, tag=True):
    """Inspection to supervisor, once a heartbeat."""

    cameras: tuple[CameraState, ...]
    handoff_dropped: int
    inspecting: bool
    provider: str


class Finished(Struct, frozen=True, tag=True):
    """Inspection to supervisor: every source has ended and everything is handed over."""


class RolloutSeen(Struct, frozen=True, tag=True):
    """Courier to supervisor: a rollout document that names this node."""

    rollout: Rollout


class Fetched(Struct, frozen=True, tag=True):
    """Courier to supervisor: the release lies complete in ``directory``, not yet trusted."""

    line: str
    release: str
    directory: str


class FetchFailed(Struct, frozen=True, tag=True):
    """Courier to supervisor: the release could not be brought, and why."""

    line: str
    release: str
    reason: str


class Drained(Struct, frozen=True, tag=True):
    """Courier to supervisor, with each heartbeat: how much is still in the spool."""

    spooled: int


class Troubled(Struct, frozen=True, tag=True):
    """Courier to supervisor: why it ends; the next one tells the fleet."""

    reason: str


class PacketLimit(Struct, frozen=True, tag=True):
    """Courier to supervisor to inspection: the largest packet the broker takes, None when it names none."""

    max_packet_bytes: int | None


ToInspection = Swap | Stop | PacketLimit
ToCourier = Fetch | Report | Beat | Stop
FromInspection = Swapped | SwapRefused | Counters | Finished
FromCourier = RolloutSeen | Fetched | FetchFailed | Drained | Troubled | PacketLimit


class Handed(Struct, frozen=True, array_like=True):
    """One candidate on its way from inspection to the spool."""

    line: str
    #: What the spool evicts by: the smallest first.
    value: float
    candidate: bytes


T = TypeVar("T")


def write_line(stream: BinaryIO, message: Struct) -> None:
    """Send one struct; a ``BrokenPipeError`` when the other side is gone."""
    stream.write(msgspec.json.encode(message) + b"\n")
    stream.flush()


def read_lines(stream: BinaryIO, kind: type[T]) -> Iterator[T]:
    """Read structs until the other side is gone."""
    decoder = msgspec.json.Decoder(kind)
    for line in stream:
        try:
            yield decoder.decode(line)
        except msgspec.DecodeError as error:
            raise WireError(
                f"pipe between the node's processes: {error}; the process ends and is started again"
            ) from None


def frame_handed(handed: Handed) -> bytes:
    """Put a candidate behind its length."""
    data = msgspec.msgpack.encode(handed)
    return _LENGTH.pack(len(data)) + data


def read_handed(stream: BinaryIO) -> Handed | None:
    """Read one candidate; None when the other side is gone, also in the middle of one."""
    header = stream.read(_LENGTH.size)
    if len(header) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(header)
    if length > MAX_HANDED_BYTES:
        raise WireError(
            f"hand-off: {length} bytes announced, the limit is {MAX_HANDED_BYTES}; the connection is closed"
        )
    data = stream.read(length)
    if len(data) < length:
        return None
    try:
        return msgspec.msgpack.decode(data, type=Handed)
    except msgspec.DecodeError as error:
        raise WireError(f"hand-off: {error}; the connection is closed") from None
