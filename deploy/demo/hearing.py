"""How each event changes the record of a demo.

An event told twice (a trainer that was started again repeats itself) changes nothing the second time.
"""

from collections.abc import Callable
from typing import Final

from deploy.demo.record import ArmResult, Change, Record, RolloutRecord, Told

#: Points of the traffic curve are at least this far apart.
_SAMPLE_S: Final = 1.0


def take_in(record: Record, told: Told) -> None:
    """Take in one event; one that is not known changes nothing."""
    react = _REACTIONS.get((told.source, told.name))
    if react is not None:
        react(record, told)


def _heartbeat(record: Record, told: Told) -> None:
    node = record.node(told.fields["node"])
    node.beats[told.fields["boot"]] = told.fields
    node.beat_at = told.at
    total = record.total
    if not record.traffic or told.at - record.traffic[-1].at >= _SAMPLE_S:
        record.traffic.append(total)


def _state(record: Record, told: Told) -> None:
    record.node(told.fields["node"]).online = bool(told.fields["online"])


def _reported(record: Record, told: Told) -> None:
    node = record.node(told.fields["node"])
    for line in told.fields["lines"]:
        node.state = line["state"]
        release = line["release"]
        if release != node.release:
            node.history.append(Change(told.at, release, node.release, line["rollout"], line["reason"]))
            node.release = release


def _stage(record: Record, told: Told) -> None:
    round_ = record.round(told.fields["round"])
    round_.stages.setdefault(told.fields["stage"], told.at)
    record.stage = f"round {round_.number}: {told.fields['stage']}"
    record.work = None


def _progress(record: Record, told: Told) -> None:
    record.work = (str(told.fields["work"]), int(told.fields["done"]), int(told.fields["total"]))


def _selected(record: Record, told: Told) -> None:
    round_ = record.round(told.fields["round"])
    if not round_.selected:
        round_.selected = told.fields
        round_.seen = record.frames_by_camera()


def _trained(record: Record, told: Told) -> None:
    record.round(told.fields["round"]).trained = told.fields


def _gate(record: Record, told: Told) -> None:
    record.round(told.fields["round"]).gate = told.fields


def _released(record: Record, told: Told) -> None:
    record.releases.setdefault(told.fields["release"], {**told.fields, "at": told.at})


def _round_done(record: Record, told: Told) -> None:
    round_ = record.round(told.fields["round"])
    if round_.done_at is None:
        round_.done, round_.done_at = told.fields, told.at
        round_.seen = round_.seen or record.frames_by_camera()


def _all_done(record: Record, told: Told) -> None:
    if record.all_done_at is None:
        record.all_done_at = told.at
        record.stage = "all rounds done"


def _arm(record: Record, told: Told) -> None:
    fields = told.fields
    result = ArmResult(int(fields["labels"]), float(fields["miou"]), dict(fields["per_class"]), told.at)
    record.round(fields["round"]).arms.setdefault(fields["arm"], result)


def _rollout(record: Record, told: Told) -> None:
    fields = told.fields
    name = fields["release"]
    rollout = record.rollouts.setdefault(name, RolloutRecord(fields["rollout"], name, told.at))
    rollout.number = fields["rollout"]
    rollout.done, rollout.meant = tuple(fields["done"]), int(fields["meant"])


def _rollout_ended(record: Record, told: Told) -> None:
    fields = told.fields
    name = fields["release"]
    rollout = record.rollouts.setdefault(name, RolloutRecord(0, name, told.at))
    rollout.ended, rollout.error = told.at, fields["error"]


def _restarted(record: Record, told: Told) -> None:
    record.restarts.append((told.at, told.fields["child"]))
    _said(record, told)


def _said(record: Record, told: Told) -> None:
    record.notes.append((told.at, told.fields["text"]))


def _memory(record: Record, told: Told) -> None:
    record.peak_memory_bytes = max(record.peak_memory_bytes, int(told.fields["bytes"]))


def _ended(record: Record, told: Told) -> None:
    record.ended_at = told.at


_REACTIONS: Final[dict[tuple[str, str], Callable[[Record, Told], None]]] = {
    ("bus", "heartbeat"): _heartbeat,
    ("bus", "state"): _state,
    ("bus", "reported"): _reported,
    ("trainer", "stage"): _stage,
    ("trainer", "progress"): _progress,
    ("trainer", "selected"): _selected,
    ("trainer", "trained"): _trained,
    ("trainer", "gate"): _gate,
    ("trainer", "released"): _released,
    ("trainer", "round_done"): _round_done,
    ("trainer", "all_done"): _all_done,
    ("arms", "arm"): _arm,
    ("conductor", "rollout"): _rollout,
    ("conductor", "rollout_ended"): _rollout_ended,
    ("driver", "restarted"): _restarted,
    ("driver", "said"): _said,
    ("driver", "memory"): _memory,
    ("driver", "ended"): _ended,
}
