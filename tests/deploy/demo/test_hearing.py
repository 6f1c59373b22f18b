"""What a demo's events add up to."""

import copy
import dataclasses
from typing import Any

from deploy.demo.hearing import take_in
from deploy.demo.record import Record, Told


def _beat(node: str, boot: str, at: float, *, frames: int, sent: int) -> Told:
    camera = {"camera": "top", "line": "steel", "frames": frames, "frame_number": frames - 1, "patches": 16 * frames}
    camera |= {"bytes_seen": 65536 * frames, "verdicts": {"novel": sent}}
    fields: dict[str, Any] = {"node": node, "boot": boot, "at": at, "cameras": [camera], "spooled": 0}
    return Told(at, "bus", "heartbeat", {**fields, "sent": sent, "sent_bytes": 100 * sent})


def _reported(node: str, at: float, release: str | None) -> Told:
    line = {"line": "steel", "state": "idle", "release": release, "rollout": 1, "reason": ""}
    return Told(at, "bus", "reported", {"node": node, "lines": [line]})


def test_events_told_twice_change_nothing(record: Record, story: list[Told]) -> None:
    before = copy.deepcopy(record)

    for told in story:
        if told.source in {"trainer", "arms"}:
            take_in(record, dataclasses.replace(told, at=told.at + 1000))

    assert (record.rounds, record.releases, record.all_done_at) == (before.rounds, before.releases, before.all_done_at)


def test_counters_of_a_node_that_started_again_are_added_up() -> None:
    record = Record()
    take_in(record, _beat("n1", "aa", 5.0, frames=20, sent=4))
    take_in(record, _beat("n1", "aa", 6.0, frames=24, sent=5))
    take_in(record, _beat("n1", "bb", 9.0, frames=3, sent=1))
    take_in(record, _beat("n2", "cc", 9.0, frames=10, sent=2))

    total = record.total

    assert (total.frames, total.patches, total.sent, total.bytes_sent) == (37, 16 * 37, 8, 800)
    assert record.node("n1").verdicts == {"novel": 6}


def test_a_random_baseline_may_draw_from_every_frame_up_to_the_last_one_seen() -> None:
    record = Record()
    take_in(record, _beat("n2", "aa", 5.0, frames=20, sent=4))
    take_in(record, _beat("n1", "aa", 5.0, frames=0, sent=0))

    assert record.frames_by_camera() == {"n2/top": 20}


def test_what_the_cameras_had_seen_is_kept_from_the_moment_of_selection() -> None:
    record = Record()
    take_in(record, _beat("n1", "aa", 5.0, frames=20, sent=4))
    take_in(record, Told(6.0, "trainer", "selected", {"round": 0, "labels_total": 8}))
    take_in(record, _beat("n1", "aa", 9.0, frames=40, sent=4))
    take_in(record, Told(9.5, "trainer", "selected", {"round": 0, "labels_total": 8}))
    take_in(record, Told(10.0, "trainer", "round_done", {"round": 0, "labels_total": 8, "train_total": 6, "run": "r"}))

    assert record.round(0).seen == {"n1/top": 20}
    assert record.round(0).done_at == 10.0


def test_a_node_s_history_holds_changes_alone() -> None:
    record = Record()
    for at, release in enumerate((None, None, "steel-0001", "steel-0001", "steel-0002", "steel-0001")):
        take_in(record, _reported("n1", float(at), release))

    history = record.node("n1").history

    assert [(change.at, change.release, change.previous) for change in history] == [
        (2.0, "steel-0001", None),
        (4.0, "steel-0002", "steel-0001"),
        (5.0, "steel-0001", "steel-0002"),
    ]


def test_events_of_a_later_version_are_passed_over() -> None:
    record = Record()

    take_in(record, Told(1.0, "trainer", "something_new", {"round": 3}))

    assert record == Record()
