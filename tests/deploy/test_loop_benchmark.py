"""The benchmark of the loop: how it compares, not what it measures."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SOURCE = Path(__file__).parents[2] / "benchmarks" / "loop.py"


@pytest.fixture(scope="module")
def loop() -> ModuleType:
    spec = importlib.util.spec_from_file_location("loop_benchmark", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _run(seed: int, winnow: tuple[float, ...], stream: tuple[float, ...], pool: tuple[float, ...]) -> dict[str, Any]:
    rounds = [
        {"labels": 48 * (i + 1), "miou": a, "miou_random_stream": b, "miou_random_pool": c}
        for i, (a, b, c) in enumerate(zip(winnow, stream, pool, strict=True))
    ]
    rest = {"seconds": 100.0, "peak_memory_bytes": 1, "patches_seen": 10, "patches_sent": 1, "settings": {}}
    return {"seed": seed, "rounds": rounds, "machine": {"processor": "p", "cores used": "2"}, "versions": {}, **rest}


def test_winnow_must_be_ahead_of_both_baselines_on_average(loop: ModuleType) -> None:
    ahead = loop.compare([_run(0, (0.2, 0.6), (0.2, 0.3), (0.3, 0.4)), _run(1, (0.1, 0.3), (0.2, 0.3), (0.1, 0.2))])

    assert ahead["beats_both"] is True
    assert ahead["beats_both_in_runs"] == 1
    assert ahead["curve_mean"]["winnow"]["mean"] == pytest.approx(0.3)
    assert ahead["winnow_ahead"]["random stream"]["mean"] == pytest.approx(0.05)
    assert ahead["winnow_ahead"]["random stream"]["min"] == pytest.approx(-0.05)


def test_losing_to_one_of_them_is_losing(loop: ModuleType) -> None:
    assert loop.compare([_run(0, (0.2, 0.4), (0.1, 0.1), (0.3, 0.4))])["beats_both"] is False


def test_one_run_has_no_spread(loop: ModuleType) -> None:
    assert loop.compare([_run(0, (0.2,), (0.1,), (0.1,))])["curve_mean"]["winnow"]["sd"] == 0.0
