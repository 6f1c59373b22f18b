"""What measurements mean: each judgment at both sides of its bound, and what is to be done."""

import msgspec
import pytest

from edge_agent.courier.room import RESERVE_BYTES as SPOOL_RESERVE_BYTES
from edge_agent.courier.room import Disk
from edge_agent.doctor.findings import (
    ENOUGH_HOURS,
    LEAST_PACKET_BYTES,
    RESERVE_BYTES,
    SLOW_SYNC_MS,
    judge_broker,
    judge_broker_away,
    judge_clock,
    judge_disk,
    judge_packages,
    judge_provider,
    judge_spool,
    judge_trial,
)
from edge_agent.releases.trial import Outcome
from shared.codec import MAX_MESSAGE_BYTES
from shared.config import AgentConfig, BudgetTable, ClassTable, LineConfig
from shared.sources import CameraTable, FolderSource
from shared.transport import SpoolTable

LINE = LineConfig(line="strip", classes=(ClassTable(name="steel"), ClassTable(name="scratch")))
GB = 10**9


def agent(cap_bytes: int, cameras: int = 1) -> AgentConfig:
    tables = tuple(CameraTable(name=f"c{n}", line="strip", source=FolderSource(path="images")) for n in range(cameras))
    return AgentConfig(node="n1", site="s", lines=("line.toml",), cameras=tables, spool=SpoolTable(cap_bytes=cap_bytes))


def lines(**budget: float) -> dict[str, LineConfig]:
    return {"strip": msgspec.structs.replace(LINE, budget=BudgetTable(**budget))}


@pytest.mark.parametrize(
    ("found", "state", "text"),
    [
        ({"onnxruntime": "1.32.0"}, "ok", "onnxruntime 1.32.0"),
        ({}, "fault", "install winnow[edge,cpu] or winnow[edge,gpu]"),
        ({"onnxruntime": "1", "onnxruntime-gpu": "1"}, "fault", "uninstall both, then install one of them"),
    ],
)
def test_one_runtime_must_be_installed(found: dict[str, str], state: str, text: str) -> None:
    finding = judge_packages(found)

    assert finding.state == state
    assert text in str(finding)


def test_a_provider_that_does_not_run_is_a_fault_whether_or_not_the_node_goes_on() -> None:
    assert judge_provider("auto", "cpu", device="EPYC", strict=True).state == "ok"
    assert judge_provider("cuda", "cuda", device="H100", strict=True).state == "ok"
    assert str(judge_provider("cuda", "cpu", device="EPYC", strict=True)) == (
        'fault provider: asked for cuda, cpu runs on EPYC; install winnow[gpu] and the driver, or set runtime.provider to "auto"'
    )
    assert "inspects more slowly" in judge_provider("cuda", "cpu", device="EPYC", strict=False).advice


def test_a_trial_says_how_far_apart_and_how_fast() -> None:
    outcome = Outcome("cpu", "int8", 0.0123, None, 41.7)

    assert str(judge_trial("strip", "strip-0007", outcome)) == (
        "ok    trial strip: strip-0007 answers its golden tiles on cpu in int8, scores 1.2e-02 apart, 42 ms a tile"
    )


def test_the_spool_s_autonomy_is_its_room_over_the_budget_s_rate() -> None:
    # 200 crops of 512 x 512 at 0.31 bytes a pixel an hour, by hand: 16.25 MB/h.
    finding = judge_spool(agent(2 * GB), lines(), held_bytes=0, disk=Disk(1000 * GB, 100 * GB))

    assert finding.state == "ok"
    assert f"room for {2 * GB / (200 * 0.31 * 512 * 512):.0f} h" in finding.text


def test_a_spool_that_fills_in_less_than_a_day_is_a_fault() -> None:
    rate = 1e7
    enough = int(ENOUGH_HOURS * rate)

    at_bound = judge_spool(
        agent(enough), lines(bytes_per_hour=rate, patches_per_hour=1e6), held_bytes=0, disk=Disk(100 * GB, 10 * GB)
    )
    below = judge_spool(
        agent(enough, 2), lines(bytes_per_hour=rate, patches_per_hour=1e6), held_bytes=0, disk=Disk(100 * GB, 10 * GB)
    )

    assert at_bound.state == "ok"
    assert (below.state, below.advice) == ("fault", "raise spool.cap_bytes or lower the budget")
    assert "room for 12 h" in below.text


def test_a_disk_without_room_counts_instead_of_the_cap() -> None:
    disk = Disk(total_bytes=100 * GB, free_bytes=SPOOL_RESERVE_BYTES + 10**8)

    finding = judge_spool(agent(2 * GB), lines(bytes_per_hour=1e7, patches_per_hour=1e6), held_bytes=10**8, disk=disk)

    # 100 MB held and 100 MB beyond the reserve that the courier keeps.
    assert "room for 20 h" in finding.text
    assert finding.advice == "free the disk"


def test_the_disk_must_hold_what_the_spool_may_still_take() -> None:
    whole = {"cap_bytes": 2 * GB, "held_bytes": GB, "sync_ms": 1.0}

    assert judge_disk("/d", free_bytes=GB + RESERVE_BYTES, **whole).state == "ok"
    short = judge_disk("/d", free_bytes=GB + RESERVE_BYTES - 1, **whole)
    assert (short.state, short.advice) == ("fault", "free the disk or lower spool.cap_bytes")
    slow = judge_disk("/d", free_bytes=99 * GB, **(whole | {"sync_ms": SLOW_SYNC_MS + 1}))
    assert slow.state == "fault"
    assert "disk's health" in slow.advice


@pytest.mark.parametrize(
    ("skew_s", "state", "text"),
    [
        (None, "note", "compared with nobody"),
        (0.7, "ok", "as http://t"),
        (-12.0, "ok", "12 s behind http://t"),
        (31.0, "fault", "31 s ahead of http://t"),
        (-3600.0, "fault", "set up NTP"),
    ],
)
def test_a_clock_that_is_off_is_a_fault(skew_s: float | None, state: str, text: str) -> None:
    finding = judge_clock(skew_s, against="http://t")

    assert finding.state == state
    assert text in str(finding)


@pytest.mark.parametrize(
    ("limit", "state"),
    [
        (None, "ok"),
        (MAX_MESSAGE_BYTES, "ok"),
        (MAX_MESSAGE_BYTES - 1, "note"),
        (LEAST_PACKET_BYTES, "note"),
        (LEAST_PACKET_BYTES - 1, "fault"),
    ],
)
def test_a_broker_s_packet_size_is_judged_by_what_a_candidate_needs(limit: int | None, state: str) -> None:
    finding = judge_broker("b:1883", limit)

    assert finding.state == state
    assert (finding.advice == "") == (state == "ok")


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("Connection refused", "check broker.host and broker.port"),
        ("refuses: Not authorized", "broker.password_file"),
        ("refuses: Unsupported protocol version", "must speak MQTT 5"),
        ("its certificate is not accepted: self-signed certificate", "broker.ca_file"),
    ],
)
def test_every_reason_of_a_broker_has_its_advice(reason: str, advice: str) -> None:
    finding = judge_broker_away("b:1883", reason)

    assert finding.state == "fault"
    assert reason in finding.text
    assert advice in finding.advice
