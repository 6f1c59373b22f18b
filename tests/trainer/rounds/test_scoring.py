"""Scoring the pool by what the line names, and weighing rare classes."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from shared.acquisition import LineAcquisitionTable
from shared.clock import ManualClock
from shared.console import Console
from shared.errors import ConfigError
from trainer.learning.model import TaskModel, build_model
from trainer.learning.weights import RunRecord, save_run
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pool
from trainer.rounds.scoring import pool_classes, pool_scores, score_pool, weighed_scores
from trainer.rounds.session import working
from trainer.rounds.workbench import Workbench

RUN = "steel-r000-0badcafe"


@pytest.fixture
def ids(steel_site: Any) -> list[str]:
    found: list[str] = steel_site.send(range(2))
    return found


@pytest.fixture
def bench(steel_site: Any, ids: list[str]) -> Iterator[Workbench]:  # noqa: ARG001  # the pool they came into
    line, paths = steel_site.line, TrainerPaths(steel_site.directory)
    paths.make()
    record = RunRecord(
        run=RUN,
        line=line.line,
        round=0,
        snapshot="",
        samples=0,
        seed=3,
        classes=line.class_names,
        channels=1,
        learning=line.learning,
    )
    save_run(paths.runs / RUN, untrained(line.learning), record)
    with Pool.open(paths.directory) as pool:
        yield Workbench(pool, line, paths, ManualClock(), Console(as_json=True), threading.Event())


def untrained(learning: Any) -> TaskModel:
    return build_model(learning, classes=3, channels=1, seed=3).eval()


def asking(bench: Workbench, **asked: Any) -> Workbench:
    return replace(bench, line=msgspec.structs.replace(bench.line, acquisition=LineAcquisitionTable(**asked)))


def test_the_pool_is_scored_by_the_measure_and_aggregation_that_the_line_names(
    bench: Workbench, ids: list[str]
) -> None:
    asked = asking(bench, measure="margin", aggregation="mean")

    score_pool(asked, RUN, 1, ids)

    crops = np.stack([crop for _, crop in bench.pool.crops(ids, channels=1)])
    with torch.inference_mode():
        shares = torch.softmax(untrained(bench.line.learning)(torch.from_numpy(crops).permute(0, 3, 1, 2)), dim=1)
    best, second = shares.topk(2, dim=1).values.unbind(dim=1)
    wanted = (1 - (best - second))[:, 16:48, 16:48].mean(dim=(1, 2)).numpy()
    np.testing.assert_allclose(pool_scores(asked, RUN, ids), wanted, atol=1e-5)


def test_scores_of_one_measure_are_not_taken_for_those_of_another(bench: Workbench, ids: list[str]) -> None:
    score_pool(bench, RUN, 1, ids)
    plain = pool_scores(bench, RUN, ids)
    asked = asking(bench, measure="least-confidence")

    score_pool(asked, RUN, 1, ids)

    assert not np.allclose(pool_scores(asked, RUN, ids), plain)
    assert np.array_equal(pool_scores(bench, RUN, ids), plain)
    assert np.array_equal(bench.pool.scores(ids, RUN), plain)


def test_a_rare_class_is_worth_more_where_the_line_asks_for_it(bench: Workbench, ids: list[str]) -> None:
    score_pool(bench, RUN, 1, ids)
    # An untrained network sees one class everywhere; what it saw is not the point here.
    seen = [number % 4 == 0 for number in range(len(ids))]
    bench.pool.store_scores(RUN, ids, np.full(len(ids), 0.5), [2 * one for one in seen])
    balanced = asking(bench, class_balanced=True)

    worth = weighed_scores(balanced, RUN, ids)

    wanted = [0.5 * np.exp(-1 / 4) if one else 0.5 * np.exp(-3 / 4) for one in seen]
    np.testing.assert_allclose(worth, wanted)
    assert np.array_equal(weighed_scores(bench, RUN, ids), np.full(len(ids), 0.5))
    assert pool_classes(bench, RUN, ids).tolist() == [2 * one for one in seen]


def test_a_line_whose_network_cannot_be_asked_holds_no_round(steel_site: Any, tmp_path: Path) -> None:
    steel_site.set(
        "[learning]", '[acquisition]\nmeasure = "bald"\ncommittee = "mc-dropout"\non_node = "entropy"\n[learning]'
    )

    with (
        pytest.raises(ConfigError, match="CompactNet has no dropout"),
        working(tmp_path / "site.toml", None, Console(as_json=True)),
    ):
        pass

    assert not (steel_site.directory / "pool.db").exists()
