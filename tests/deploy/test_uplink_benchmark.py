"""The benchmark of the uplink: how it judges, and that the chain it measures is whole."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module("benchmarks.uplink.__main__")


def rates(published: float, accepted: float, delivered: float, committed: float) -> dict[str, float]:
    return {"published": published, "accepted": accepted, "delivered": delivered, "committed": committed}


def test_a_ratio_is_the_median_of_the_rounds_and_not_a_ratio_of_medians(bench: ModuleType) -> None:
    rounds = [rates(100, 10, 50, 5), rates(200, 80, 40, 6), rates(1000, 300, 10, 7)]

    figures = bench.summary(rounds)

    assert figures["published"] == 200
    assert figures["accepted"] == 80
    assert figures["accepted/published"] == 0.3
    assert figures["committed/delivered"] == 0.15


@pytest.mark.parametrize(
    ("accepted", "committed", "missed"),
    [
        (25, 500, []),
        (24, 500, ["accepted/published: 0.24, the target is at least 0.25"]),
        (25, 499, ["committed: 499/s, the target is at least 500/s"]),
    ],
)
def test_each_missed_target_is_named(bench: ModuleType, accepted: int, committed: int, missed: list[str]) -> None:
    assert bench.missed(bench.summary([rates(100, accepted, 1000, committed)])) == missed


def test_the_whole_chain_is_measured_and_everything_arrives(bench: ModuleType) -> None:
    result = bench.run(rounds=1, count=40)

    assert result["figures"].keys() >= {*bench.RATES, "accepted/published", "committed/delivered", "cores"}
    assert all(figure > 0 for name, figure in result["figures"].items() if name in bench.RATES)
    assert 28_000 < result["candidate_bytes"] < 32_000
