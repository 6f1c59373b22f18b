"""Whatever a line shows, a camera sends no more than its budget: in patches, in bytes, and in any stretch of time."""

from collections import deque
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_agent.stream.filter import Reason, StreamFilter
from shared.config import BudgetTable, FilterTable, SelectionTable
from shared.release import SpaceEntry

D = 8
SPACES = [SpaceEntry(id=letter * 64, dim=D, tau=0.2) for letter in "ab"]


@st.composite
def streams(draw: st.DrawFn) -> dict[str, Any]:
    """A stream that means harm: bursts and pauses, frames of any size, scores that climb, releases in between."""
    return {
        "seed": draw(st.integers(0, 2**32 - 1)),
        "gaps": draw(st.lists(st.sampled_from([0.0, 0.01, 0.5, 1.0, 30.0, 4000.0, -5.0]), min_size=5, max_size=60)),
        "patches": draw(st.integers(1, 40)),
        "scores": draw(st.sampled_from(["none", "climbing", "equal", "random"])),
        "rows": draw(st.sampled_from(["news", "one", "news after peace"])),
        "swaps": draw(st.sets(st.integers(0, 59), max_size=4)),
        "unclear": draw(st.booleans()),
        "size": draw(st.sampled_from([1, 500, 20_000])),
        "per_hour": draw(st.sampled_from([0.5, 60.0, 3600.0, 100_000.0])),
        "burst": draw(st.sampled_from([1, 7, 50])),
        "floor_share": draw(st.sampled_from([0.0, 0.05, 0.5, 1.0])),
        "bytes_per_hour": draw(st.sampled_from([None, 1e4, 1e7])),
    }


def play(stream: dict[str, Any]) -> list[tuple[float, int, int]]:
    """Play a stream; for each frame its time, and how many patches and bytes were sent."""
    rng = np.random.default_rng(stream["seed"])
    budget = BudgetTable(
        patches_per_hour=stream["per_hour"],
        burst=stream["burst"],
        floor_share=stream["floor_share"],
        bytes_per_hour=stream["bytes_per_hour"],
    )
    stream_filter = StreamFilter(budget, FilterTable(memory=32), SelectionTable(), rng=rng)
    now, count = 0.0, stream["patches"]
    still = rng.normal(size=(count, D))
    sent = []
    scored = False
    for number, gap in enumerate(stream["gaps"]):
        now += gap
        if number in stream["swaps"]:
            scored = stream["scores"] != "none"
            stream_filter.swap(scored=scored, space=SPACES[number % 2])
        peace = stream["rows"] == "one" or (stream["rows"] == "news after peace" and number < 20)
        rows = still if peace else rng.normal(size=(count, D))
        rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
        scores = {
            "none": None,
            "climbing": number / 1000 + np.arange(count) / 1e5,
            "equal": np.ones(count),
            "random": rng.random(count),
        }[stream["scores"]]
        unclear = rng.random(count) < 0.5 if stream["unclear"] else None
        screening = stream_filter.screen(now, count, scores if scored else None, unclear)
        verdicts = stream_filter.judge(now, screening, rows[screening.wanted] if len(screening.wanted) else None)
        taken = [verdict for verdict in verdicts if verdict.accepted]
        for verdict in taken:
            stream_filter.charge(verdict, stream["size"])
        sent.append((now, len(taken), len(taken) * stream["size"]))
    return sent


@given(streams())
def test_no_stretch_of_any_stream_costs_more_than_burst_and_rate(stream: dict[str, Any]) -> None:
    sent = play(stream)

    # Two shares of the budget, each of at least one patch; what comes in is counted from one frame to another.
    burst = max(1.0, stream["burst"] * stream["floor_share"]) + max(1.0, stream["burst"] * (1 - stream["floor_share"]))
    # A clock that steps back mints nothing, but no more than the time that really passed can be told from it.
    forward = np.cumsum([0.0, *(max(0.0, b - a) for (a, *_), (b, *_) in pairwise(sent))])
    mean_bytes = 0.0 if stream["bytes_per_hour"] is None else stream["bytes_per_hour"] / stream["per_hour"]
    for start in range(len(sent)):
        patches = size = 0
        for stop in range(start, len(sent)):
            patches += sent[stop][1]
            size += sent[stop][2]
            hours = (forward[stop] - forward[start]) / 3600.0
            assert patches <= burst + stream["per_hour"] * hours + 1e-6
            if stream["bytes_per_hour"] is not None:
                # The debt of one frame: bytes are known when a patch was sent.
                most = burst * mean_bytes + stream["bytes_per_hour"] * hours + debt(stream)
                assert size <= most + 1e-6


def debt(stream: dict[str, Any]) -> float:
    """What one frame may overdraw: each share sends until its bytes are gone by what it took a patch for."""
    return float(2 * stream["patches"] * stream["size"])


@pytest.mark.parametrize("in_bytes", [False, True])
@pytest.mark.parametrize("burst", [5, 50])
def test_a_stream_that_always_looks_better_gets_burst_and_rate_and_no_more(burst: int, *, in_bytes: bool) -> None:
    """Every patch is unlike all before it and scores higher, so that only the budget holds it back."""
    seconds, size = 600, 1000
    stream = {
        "seed": 3,
        "gaps": [1.0] * seconds,
        "patches": 40,
        "scores": "climbing",
        "rows": "news",
        "swaps": {0},
        "unclear": False,
        "size": size,
        # The tighter of the two allows one patch a second.
        "per_hour": 36_000.0 if in_bytes else 3600.0,
        "burst": burst * 10 if in_bytes else burst,
        "floor_share": 0.0,
        "bytes_per_hour": 3.6e6 if in_bytes else None,
    }

    sent = sum(count for _, count, _ in play(stream))

    allowed = seconds + (burst * 10 * 100.0 / size if in_bytes else burst)
    # A patch's bytes are known when it was sent: a frame may overdraw by what it took its patches for.
    assert 0.9 * allowed <= sent <= allowed + (5 if in_bytes else 0)


@pytest.mark.parametrize("rows", ["news", "one"])
def test_every_patch_of_every_stream_has_one_reason_that_is_known(rows: str) -> None:
    known = set(Reason.__args__)
    rng = np.random.default_rng(5)
    stream_filter = StreamFilter(BudgetTable(), FilterTable(gate_share=0.5), SelectionTable(), rng=rng)
    reasons: deque[str] = deque()
    for number in range(60):
        if number == 20:
            stream_filter.swap(scored=True, space=SPACES[0])
        fresh = rng.normal(size=(16, D)) if rows == "news" else np.ones((16, D))
        unit = (fresh / np.linalg.norm(fresh, axis=1, keepdims=True)).astype(np.float32)
        screening = stream_filter.screen(
            number * 1.0, 16, rng.random(16) if number >= 20 else None, rng.random(16) < 0.1 if number > 40 else None
        )
        verdicts = stream_filter.judge(number * 1.0, screening, unit[screening.wanted] if number >= 20 else None)
        assert len(verdicts) == 16
        assert all(verdict.accepted == (verdict.reason in {"floor", "novel"}) for verdict in verdicts)
        reasons.extend(verdict.reason for verdict in verdicts)

    assert set(reasons) <= known
    assert len(set(reasons)) >= 5
