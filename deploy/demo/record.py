"""What happened in a demo: the live view, the summary and the report read nothing else."""

from dataclasses import dataclass, field
from typing import Any

ARMS = ("winnow", "random_stream", "random_pool")


@dataclass(frozen=True, slots=True)
class Told:
    """One event: when, in seconds since the demo began, who told it, and what."""

    at: float
    source: str
    name: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Counters of one or more nodes at one moment."""

    at: float = 0.0
    frames: int = 0
    patches: int = 0
    bytes_seen: int = 0
    sent: int = 0
    bytes_sent: int = 0

    def plus(self, other: "Traffic") -> "Traffic":
        """Add counters; the moment is the later one."""
        return Traffic(
            at=max(self.at, other.at),
            frames=self.frames + other.frames,
            patches=self.patches + other.patches,
            bytes_seen=self.bytes_seen + other.bytes_seen,
            sent=self.sent + other.sent,
            bytes_sent=self.bytes_sent + other.bytes_sent,
        )


@dataclass(frozen=True, slots=True)
class Change:
    """A node reports another release than before."""

    at: float
    release: str | None
    previous: str | None
    rollout: int
    reason: str


@dataclass
class NodeRecord:
    """One node: its last heartbeat of every boot, and every release it reported."""

    online: bool = False
    beats: dict[str, dict[str, Any]] = field(default_factory=dict)
    beat_at: float = 0.0
    release: str | None = None
    state: str = ""
    history: list[Change] = field(default_factory=list)

    @property
    def last_beat(self) -> dict[str, Any]:
        return next(reversed(self.beats.values()), {})

    @property
    def traffic(self) -> Traffic:
        """Everything the node saw and sent, over all of its boots."""
        total = Traffic()
        for beat in self.beats.values():
            total = total.plus(_traffic(self.beat_at, beat))
        return total

    @property
    def verdicts(self) -> dict[str, int]:
        """How often the stream filter gave each verdict."""
        counts: dict[str, int] = {}
        for beat in self.beats.values():
            for camera in beat["cameras"]:
                for reason, count in camera["verdicts"].items():
                    counts[reason] = counts.get(reason, 0) + count
        return counts


@dataclass(frozen=True, slots=True)
class ArmResult:
    """One arm's model after one round, on the fixed validation set."""

    labels: int
    miou: float
    per_class: dict[str, float | None]
    at: float


@dataclass
class RoundRecord:
    """One round: when each stage began, what it cost, what came of it."""

    number: int
    stages: dict[str, float] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    selected: dict[str, Any] = field(default_factory=dict)
    trained: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    done: dict[str, Any] = field(default_factory=dict)
    done_at: float | None = None
    arms: dict[str, ArmResult] = field(default_factory=dict)

    @property
    def labels(self) -> int | None:
        """Labels spent up to and with this round, for training and for the reference set."""
        found = self.done.get("labels_total", self.selected.get("labels_total"))
        return None if found is None else int(found)

    @property
    def answered(self) -> bool:
        """Say whether all arms have been measured for this round."""
        return all(arm in self.arms for arm in ARMS)


@dataclass
class RolloutRecord:
    """One rollout: from the document to the last node."""

    number: int
    release: str
    began: float
    done: tuple[str, ...] = ()
    meant: int = 0
    ended: float | None = None
    error: str | None = None


@dataclass
class Record:
    """Everything told so far."""

    nodes: dict[str, NodeRecord] = field(default_factory=dict)
    rounds: dict[int, RoundRecord] = field(default_factory=dict)
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)
    rollouts: dict[str, RolloutRecord] = field(default_factory=dict)
    traffic: list[Traffic] = field(default_factory=list)
    restarts: list[tuple[float, str]] = field(default_factory=list)
    notes: list[tuple[float, str]] = field(default_factory=list)
    stage: str = "starting"
    work: tuple[str, int, int] | None = None
    all_done_at: float | None = None
    ended_at: float | None = None
    peak_memory_bytes: int = 0

    def node(self, name: str) -> NodeRecord:
        return self.nodes.setdefault(name, NodeRecord())

    def round(self, number: int) -> RoundRecord:
        return self.rounds.setdefault(number, RoundRecord(number))

    @property
    def total(self) -> Traffic:
        """What all nodes together saw and sent."""
        total = Traffic()
        for record in self.nodes.values():
            total = total.plus(record.traffic)
        return total

    def frames_by_camera(self) -> dict[str, int]:
        """How many frames each camera has shown, by `node/camera`: what a random baseline may draw from."""
        return {
            f"{name}/{camera['camera']}": int(camera["frame_number"]) + 1
            for name, record in sorted(self.nodes.items())
            for camera in record.last_beat.get("cameras", ())
            if camera["frame_number"] >= 0
        }

    def rounds_in_order(self) -> list[RoundRecord]:
        return [self.rounds[number] for number in sorted(self.rounds)]


def _traffic(at: float, beat: dict[str, Any]) -> Traffic:
    cameras = beat["cameras"]
    return Traffic(
        at=at,
        frames=sum(camera["frames"] for camera in cameras),
        patches=sum(camera["patches"] for camera in cameras),
        bytes_seen=sum(camera["bytes_seen"] for camera in cameras),
        sent=beat["sent"],
        bytes_sent=beat["sent_bytes"],
    )
