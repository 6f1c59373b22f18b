"""The gate of a line that held its rounds: what it tells, and what a limit on the time of a graph does."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.clock import SystemClock
from tests.trainer.rounds.test_stages import opened
from trainer.learning.evaluate import evaluate, reliability
from trainer.learning.metrics import iou
from trainer.learning.snapshot import freeze
from trainer.learning.weights import load_run
from trainer.rounds.gating import judge_run
from trainer.rounds.machine import HeldBack, Passed, Stage
from trainer.rounds.worker import current_round

pytestmark = pytest.mark.slow


@pytest.fixture
def site(finished_site: Any, tmp_path: Path) -> Any:
    return finished_site.copy_to(tmp_path)


def judged(site: Any) -> Passed | HeldBack:
    """Judge the second run again, beside the first."""
    with opened(site, SystemClock()) as bench:  # a real clock: graphs take real time
        done = current_round(bench)
        first = bench.pool.rounds("steel")[0].detail["run"]
        fact = judge_run(bench, replace(done, stage=Stage.GATE, serving=str(first)))
    assert isinstance(fact, (Passed, HeldBack))
    return fact


def test_what_the_gate_keeps_is_measured_on_the_reference_set(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    found = judged(site)

    with opened(site) as bench:
        model, _ = load_run(bench.paths.runs / str(current_round(bench).run))
        reference = freeze(bench.pool, bench.line, purposes=("reference",))
    counts = evaluate(model, reference.crops, reference.masks, classes=3)
    values = iou(counts.sum(axis=0))
    assert [found.classes[name].value for name in ("background", "scratch", "inclusion")] == [
        None if np.isnan(value) else pytest.approx(float(value)) for value in values
    ]
    holding = [sum(bool((mask == value).any()) for mask in reference.masks) for value in range(3)]
    assert [bounds.patches for bounds in found.classes.values()] == holding
    assert found.ece == pytest.approx(reliability(model, reference.crops, reference.masks).ece)
    told = next(event for event in map(json.loads, capsys.readouterr().out.splitlines()) if event["event"] == "gate")
    assert list(told["class_patches"].values()) == holding
    assert (told["latency_ms"], told["patches"]) == (None, len(reference.ids))


def test_a_graph_over_the_limit_is_held_back_with_its_time_beside_the_one_in_service(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.set("max_ece = 1.0", "max_ece = 1.0\nlatency_ms = 0.001")

    found = judged(site)

    assert isinstance(found, HeldBack)
    (reason,) = found.reasons
    assert reason.startswith("a tile takes ")
    assert "on cpu with 1 threads, the release in service " in reason
    assert reason.endswith("allowed are 0.001 ms")
    told = next(event for event in map(json.loads, capsys.readouterr().out.splitlines()) if event["event"] == "gate")
    assert told["latency_ms"] > 0
    assert told["latency_before_ms"] > 0
