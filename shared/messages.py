"""The messages on the wire: one type per topic, MessagePack, schema version inside.

Unknown fields are ignored, new fields get defaults, types never change. A node's identity comes from the
topic, never from a payload. Arrays travel packed by ``codec``.
"""

from msgspec import Struct

SCHEMA = 1


class Message(Struct, frozen=True, kw_only=True):
    """Everything on the wire says which schema wrote it."""

    schema: int = SCHEMA


class PackedArray(Struct, frozen=True, array_like=True):
    """An array's dtype, shape and bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class Candidate(Message, frozen=True, kw_only=True):
    """One accepted patch: what, where, when, under which release, and why it was accepted."""

    id: str
    camera: str
    frame: int
    captured_at: float
    row: int
    col: int
    #: How much of the patch lies inside the frame: rows, columns.
    inside: tuple[int, int]
    release: str | None
    #: Normalised to [0, 1]; None while no task graph runs.
    score: float | None
    reason: str
    #: The filter's gain at acceptance; None for the random floor without a space.
    gain: float | None
    space: str | None
    embedding: PackedArray | None
    crop_format: str
    crop: bytes
    #: How many patches the camera had seen when this one was accepted: what a uniform sample is uniform over.
    seen: int = 0
    #: Ids of the part, the lot or the recipe that the frame shows.
    ids: dict[str, str] = {}


class CameraState(Struct, frozen=True, kw_only=True):
    """One camera's counters since the node's boot."""

    camera: str
    line: str
    frames: int = 0
    frames_bad: int = 0
    frames_missed: int = 0
    frame_number: int = -1
    patches: int = 0
    bytes_seen: int = 0
    verdicts: dict[str, int] = {}
    frame_ms: float = 0.0
    #: Why the camera gives no frames; empty while it does.
    away: str = ""
    #: What a person should see to: dark, blurred, dirty.
    needs: tuple[str, ...] = ()
    #: How many frames showed each of these.
    faults: dict[str, int] = {}


class Heartbeat(Message, frozen=True, kw_only=True):
    """A node's counters."""

    boot: str
    at: float
    cameras: tuple[CameraState, ...] = ()
    handoff_dropped: int = 0
    spooled: int = 0
    spooled_bytes: int = 0
    evicted: int = 0
    dead: int = 0
    sent: int = 0
    sent_bytes: int = 0
    acked: int = 0
    inspecting: bool = False
    #: How often the trainer said that it takes a candidate not just now.
    deferred: int = 0
    #: What the spool may hold: the configuration's number, or less where the disk has less.
    spool_cap_bytes: int = 0


class NodeState(Message, frozen=True, kw_only=True):
    """Retained, and the last will: is this start of the node online."""

    boot: str
    online: bool
    version: str = ""
    provider: str = ""
    #: What a person should look at on the node, one line each.
    troubles: tuple[str, ...] = ()


class LineReport(Struct, frozen=True, kw_only=True):
    """What one line of a node runs, where an activation stands, and why."""

    line: str
    state: str
    release: str | None = None
    manifest_sha256: str | None = None
    previous: str | None = None
    rollout: int = 0
    reason: str = ""
    swapped_at: float | None = None


class Reported(Message, frozen=True, kw_only=True):
    """Retained: per line release, activation state and reason."""

    boot: str
    at: float
    lines: tuple[LineReport, ...] = ()


class Nack(Struct, frozen=True, kw_only=True):
    """One candidate that was not stored and the reason."""

    id: str
    reason: str


class Ack(Message, frozen=True, kw_only=True):
    """Trainer to node: these are committed, those are refused for ever, and those are not taken just now."""

    acked: tuple[str, ...] = ()
    nacked: tuple[Nack, ...] = ()
    #: They stay with the node, which sends them again later.
    deferred: tuple[Nack, ...] = ()


class Hint(Message, frozen=True, kw_only=True):
    """Deploy to nodes: a rollout document exists. Wakes the updater, decides nothing."""

    line: str
    rollout: int


class WorkerState(Message, frozen=True, kw_only=True):
    """Retained, and the last will: a trainer worker is there to commit candidates."""

    boot: str
    online: bool
