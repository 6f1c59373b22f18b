"""The summary of a demo: every figure of the report, for machines."""

from math import isnan
from statistics import fmean
from typing import Any

from deploy.demo.record import ARMS, NodeRecord, Record, RoundRecord
from deploy.demo.view import number, release_of


def summarise(record: Record, *, seed: int, seconds: float, facts: dict[str, Any]) -> dict[str, Any]:
    """Gather what happened; all of it comes out of the record."""
    total = record.total
    return {
        "seed": seed,
        "seconds": round(seconds, 1),
        "frames_seen": total.frames,
        "patches_seen": total.patches,
        "patches_sent": total.sent,
        "bytes_seen": total.bytes_seen,
        "bytes_sent": total.bytes_sent,
        "labels": max((round_.labels or 0 for round_ in record.rounds.values()), default=0),
        "rounds": [_round(record, round_) for round_ in record.rounds_in_order() if round_.done_at is not None],
        "curve_means": curve_means(record),
        "nodes": {name: _node(node) for name, node in sorted(record.nodes.items())},
        "releases": list(record.releases.values()),
        "rollouts": [
            {
                "rollout": rollout.number,
                "release": rollout.release,
                "began": round(rollout.began, 1),
                "ended": None if rollout.ended is None else round(rollout.ended, 1),
                "done": list(rollout.done),
                "meant": rollout.meant,
                "error": rollout.error,
            }
            for rollout in record.rollouts.values()
        ],
        "restarts": [{"at": round(at, 1), "child": child} for at, child in record.restarts],
        "notes": [text for _, text in record.notes],
        "peak_memory_bytes": record.peak_memory_bytes,
        **facts,
    }


def in_one_sentence(summary: dict[str, Any]) -> str:
    """Say what came out of a demo."""
    sent = f"{summary['patches_sent']:,} of {summary['patches_seen']:,} patches sent, {summary['labels']} labelled"
    if not summary["rounds"]:
        return f"{sent}; no round was finished"
    last = summary["rounds"][-1]
    return (
        f"{sent}; mIoU {number(last['miou'])} in {summary['seconds']:.0f} s, random patches of the stream give "
        f"{number(last['miou_random_stream'])}, of the pool {number(last['miou_random_pool'])}"
    )


def curve_means(record: Record) -> dict[str, float | None]:
    """Average each arm's mIoU over the rounds in which all arms were measured."""
    rounds = [round_ for round_ in record.rounds_in_order() if round_.answered]
    means: dict[str, float | None] = {}
    for arm in ARMS:
        values = [round_.arms[arm].miou for round_ in rounds if not isnan(round_.arms[arm].miou)]
        means[arm] = fmean(values) if values and len(values) == len(rounds) else None
    return means


def _round(record: Record, round_: RoundRecord) -> dict[str, Any]:
    arms = round_.arms
    return {
        "round": round_.number,
        "labels": round_.labels,
        "labels_train": round_.done.get("train_total"),
        "miou": _miou(round_, "winnow"),
        "miou_random_stream": _miou(round_, "random_stream"),
        "miou_random_pool": _miou(round_, "random_pool"),
        "per_class": {arm: result.per_class for arm, result in arms.items()},
        "gate": round_.gate,
        "release": release_of(record, round_.number),
        "done_at": round_.done_at,
    }


def _miou(round_: RoundRecord, arm: str) -> float | None:
    # JSON has no nan.
    return round_.arms[arm].miou if arm in round_.arms and not isnan(round_.arms[arm].miou) else None


def _node(node: NodeRecord) -> dict[str, Any]:
    traffic = node.traffic
    return {
        "frames_seen": traffic.frames,
        "patches_seen": traffic.patches,
        "patches_sent": traffic.sent,
        "bytes_seen": traffic.bytes_seen,
        "bytes_sent": traffic.bytes_sent,
        "verdicts": node.verdicts,
        "releases": [
            {
                "at": round(change.at, 1),
                "release": change.release,
                "previous": change.previous,
                "rollout": change.rollout,
                "reason": change.reason,
            }
            for change in node.history
        ],
    }
