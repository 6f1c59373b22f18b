"""A demo as its processes would have told it: two rounds on two nodes, one restart."""

import random

import pytest

from deploy.demo.hearing import take_in
from deploy.demo.record import Record, Told

CLASSES = ("scratch", "rolled-in-scale", "inclusion", "pitting", "oil-spot", "dent", "crack", "hole")
NODES = ("press-01", "press-02", "press-03")


def heartbeat(node: str, at: float, *, boot: str = "aa") -> Told:
    frames = int(4 * at)
    camera = {
        "camera": "top",
        "line": "steel",
        "frames": frames,
        "frame_number": frames - 1,
        "patches": 16 * frames,
        "bytes_seen": 65536 * frames,
        "verdicts": {"novel": int(0.5 * at), "floor": int(0.1 * at), "dull": 14 * frames},
    }
    fields = {"node": node, "boot": boot, "at": at, "cameras": [camera], "spooled": 1, "sent": int(0.6 * at)}
    return Told(at, "bus", "heartbeat", {**fields, "sent_bytes": 4200 * int(0.6 * at), "inspecting": at > 50})


def reported(node: str, at: float, release: str | None, *, rollout: int = 0) -> Told:
    line = {"line": "steel", "state": "idle", "release": release, "rollout": rollout, "reason": ""}
    return Told(at, "bus", "reported", {"node": node, "lines": [line]})


def round_told(number: int, began: float, *, labels: int, release: str | None) -> list[Told]:
    rng = random.Random(number)  # noqa: S311  # a made-up curve
    stages = ["space"] if number == 0 else []
    stages += ["collect", "select", "label", "train", "gate", "release"]
    told = [
        Told(began + 4 * i + (30 if number == 0 and i else 0), "trainer", "stage", {"round": number, "stage": stage})
        for i, stage in enumerate(stages)
    ]
    end = told[-1].at + 2
    selected = {"round": number, "train": 40, "reference": 8, "labels_total": labels}
    done = {
        "round": number,
        "labels_total": labels,
        "train_total": labels - 8,
        "run": f"run-{number}",
        "released": True,
    }
    told.append(Told(told[-4].at, "trainer", "selected", selected))
    told.append(Told(end - 2, "trainer", "gate", {"round": number, "passed": release is not None, "reasons": []}))
    if release is not None:
        told.append(Told(end - 1, "trainer", "released", {"release": release, "round": number, "labels": labels}))
        told += rollout_told(release, end, number + 1)
    told.append(Told(end, "trainer", "round_done", done))
    for shift, arm in enumerate(("random_pool", "random_stream", "winnow")):
        miou = 0.1 + 0.08 * number + 0.06 * shift
        ious: dict[str, float | None] = {name: min(1.0, miou * rng.uniform(0.2, 1.8)) for name in CLASSES}
        ious["hole"] = None if number == 0 else 0.1
        fields = {"round": number, "arm": arm, "labels": labels - 8, "miou": miou, "per_class": ious}
        told.append(Told(end + 5 + shift, "arms", "arm", fields))
    return told


def rollout_told(release: str, at: float, number: int) -> list[Told]:
    told = []
    for i in range(len(NODES) + 1):
        fields = {"release": release, "rollout": number, "done": list(NODES[:i]), "meant": len(NODES)}
        told.append(Told(at + i, "conductor", "rollout", fields))
        if i:
            told.append(reported(NODES[i - 1], at + i - 0.5, release, rollout=number))
    told.append(Told(at + 3.2, "conductor", "rollout_ended", {"release": release, "error": None}))
    return told


@pytest.fixture
def story() -> list[Told]:
    """Every event of a short demo, in order."""
    told = [Told(0.5, "bus", "state", {"node": node, "online": True}) for node in NODES]
    told += [reported(node, 0.6, None) for node in NODES]
    told += [heartbeat(node, float(at)) for at in range(1, 200) for node in NODES]
    told += rollout_told("steel-0001", 28, 1)
    for number in range(5):
        told += round_told(
            number,
            (0 if number == 0 else 35) + 30.0 * number,
            labels=48 * (number + 1),
            release=f"steel-{number + 2:04d}",
        )
    told.append(
        Told(60, "driver", "restarted", {"child": "trainer", "text": "trainer ended (status -9) and is started again"})
    )
    told.append(Told(195, "trainer", "all_done", {"line": "steel"}))
    told.append(Told(199, "driver", "memory", {"bytes": 2_900_000_000}))
    told.append(Told(205, "driver", "ended", {}))
    return sorted(told, key=lambda event: event.at)


@pytest.fixture
def record(story: list[Told]) -> Record:
    """The record of that demo."""
    record = Record()
    for told in story:
        take_in(record, told)
    return record
