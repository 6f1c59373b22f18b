"""From settings to strategies."""

from typing import get_args

import msgspec
import numpy as np
import pytest

from shared.config import SelectionTable
from trainer.selection.auto import DENSE_UP_TO
from trainer.selection.build import build_strategy, plan
from trainer.selection.problem import Problem, SelectionError
from trainer.selection.strategies.strategy import Strategy

STRATEGIES = get_args(next(field.type for field in msgspec.structs.fields(SelectionTable) if field.name == "strategy"))


def unit_rows(rng: np.random.Generator, n: int, d: int = 8) -> np.ndarray:
    rows = rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def problem(seed: int = 0) -> Problem:
    rng = np.random.default_rng(seed)
    return Problem(unit_rows(rng, 60), rng.random(60), unit_rows(rng, 10), tau=0.3)


def settled(name: str) -> Strategy:
    return plan(SelectionTable(strategy=name), n=60, k=12, known=10, scored=True).strategy


def test_every_strategy_has_the_name_it_is_asked_for_by() -> None:
    assert [settled(name).name for name in STRATEGIES] == list(STRATEGIES)


@pytest.mark.slow
@pytest.mark.parametrize("name", STRATEGIES)
def test_a_batch_has_the_size_asked_for_no_patch_twice_and_is_the_seed_s(name: str) -> None:
    strategies = [settled(name) for _ in range(2)]

    first, again = (strategy.choose(problem(), 12, np.random.default_rng(3)) for strategy in strategies)

    assert len(set(first.indices.tolist())) == len(first.indices) == 12
    assert set(first.indices.tolist()) <= set(range(60))
    assert first.indices.tolist() == again.indices.tolist()
    assert first.marginals is None or len(first.marginals) == 12
    assert first.gains is None or len(first.gains) == 12


@pytest.mark.parametrize("name", STRATEGIES)
@pytest.mark.parametrize("k", [0, 61])
def test_a_size_that_the_pool_cannot_give_is_refused_by_every_strategy(name: str, k: int) -> None:
    with pytest.raises(SelectionError, match=f"batch: {k} patches asked for"):
        settled(name).choose(problem(), k, np.random.default_rng(3))


@pytest.mark.parametrize("name", ["kdpp", "greedy", "kmeans", "meal", "meal-ft", "stride", "top", "proportional"])
def test_scores_that_are_all_one_are_refused_by_every_strategy_that_weighs_them(name: str) -> None:
    flat = Problem(problem().embeddings, np.full(60, 0.5), problem().labelled, tau=0.3)

    with pytest.raises(SelectionError, match=r"all 60 are 0.5"):
        settled(name).choose(flat, 5, np.random.default_rng(3))


def test_what_is_left_to_us_is_settled_with_the_reason() -> None:
    small = plan(SelectionTable(strategy="kdpp"), n=DENSE_UP_TO, k=10, known=0, scored=True)
    large = plan(SelectionTable(strategy="kdpp"), n=DENSE_UP_TO + 1, k=10, known=0, scored=True)
    greedy = plan(SelectionTable(strategy="greedy"), n=60_000, k=8_000, known=0, scored=True)

    assert (small.sampler, large.sampler, greedy.sampler) == ("dense", "block", "block")
    assert all(how.notes[0].startswith(f"sampler {how.sampler}: ") for how in (small, large, greedy))


def test_a_sampler_that_the_line_names_is_taken_without_a_word() -> None:
    how = plan(SelectionTable(strategy="kdpp", sampler="block"), n=50, k=10, known=0, scored=True)

    assert (how.strategy.name, how.sampler, how.notes) == ("kdpp", "block", ())


def test_labelled_patches_count_for_greedy_choice_only_where_it_keeps_away_from_them() -> None:
    near = plan(SelectionTable(strategy="greedy"), n=1_000, k=10, known=100_000, scored=True)
    far = plan(SelectionTable(strategy="greedy", conditioned=False), n=1_000, k=10, known=100_000, scored=True)

    assert (near.sampler, far.sampler) == ("block", "lazy")


@pytest.mark.parametrize("name", ["meal", "meal-ft", "stride", "top", "proportional"])
def test_a_strategy_by_scores_draws_by_lot_while_there_are_none_and_says_so(name: str) -> None:
    how = plan(SelectionTable(strategy=name), n=50, k=10, known=0, scored=False)

    assert how.strategy.name == "random"
    assert how.notes == (f"no scores yet for {name}: this batch is drawn by lot",)


@pytest.mark.parametrize(
    ("strategy", "sampler"), [("kdpp", "lazy"), ("kdpp", "auto"), ("greedy", "dense"), ("greedy", "lowrank")]
)
def test_a_sampler_of_the_other_kind_or_none_yet_is_refused(strategy: str, sampler: str) -> None:
    with pytest.raises(SelectionError, match=f"sampler {sampler}: .*nothing was chosen"):
        build_strategy(SelectionTable(strategy=strategy, sampler=sampler))
