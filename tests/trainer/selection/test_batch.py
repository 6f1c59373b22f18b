"""Batches: what strategies choose, and what is said of it."""

import numpy as np
import pytest
from scipy.stats import chisquare

from shared.config import SelectionTable
from trainer.selection.batch import Embedded, choose_batch, choose_reference, is_reserved, reference_count
from trainer.selection.build import build_strategy
from trainer.selection.strategies.kdpp import Kdpp
from trainer.selection.strategies.strategy import Problem

STRATEGIES = ("kdpp", "random")


def unit_rows(rng: np.random.Generator, n: int, d: int = 8) -> np.ndarray:
    rows = rng.normal(size=(n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def embedded(rng: np.random.Generator, n: int, prefix: str) -> Embedded:
    return Embedded(tuple(f"{prefix}{index}" for index in range(n)), unit_rows(rng, n))


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_batch_has_the_size_asked_for_and_no_patch_twice(name: str) -> None:
    rng = np.random.default_rng(0)
    problem = Problem(unit_rows(rng, 60), rng.random(60), unit_rows(rng, 10), tau=0.3)

    choice = build_strategy(SelectionTable(strategy=name)).choose(problem, 12, rng)

    assert len(set(choice.indices.tolist())) == len(choice.marginals) == 12
    assert choice.notes == ()


@pytest.mark.parametrize("name", STRATEGIES)
def test_a_pool_smaller_than_the_batch_is_taken_whole_and_said_so(name: str) -> None:
    rng = np.random.default_rng(1)
    problem = Problem(unit_rows(rng, 5), None, unit_rows(rng, 0), tau=0.3)

    choice = build_strategy(SelectionTable(strategy=name)).choose(problem, 12, rng)

    assert sorted(choice.indices.tolist()) == [0, 1, 2, 3, 4]
    assert "12 were asked for" in choice.notes[0]


@pytest.mark.parametrize("name", STRATEGIES)
def test_an_empty_pool_gives_an_empty_batch(name: str) -> None:
    rng = np.random.default_rng(2)
    problem = Problem(np.zeros((0, 0)), None, np.zeros((0, 0)), tau=0.3)

    assert len(build_strategy(SelectionTable(strategy=name)).choose(problem, 4, rng).indices) == 0


def test_twins_in_the_pool_do_not_fill_the_batch_of_a_kdpp() -> None:
    rng = np.random.default_rng(3)
    rows = np.repeat(unit_rows(rng, 4), 10, axis=0)

    choice = Kdpp(a=0.4, b=0.6).choose(Problem(rows, None, rows[:0], tau=0.3), 6, rng)

    assert len(choice.indices) == 4
    assert sorted(index // 10 for index in choice.indices.tolist()) == [0, 1, 2, 3]
    assert "only 4 of 40 patches can be told apart" in choice.notes[0]


def test_uncertain_patches_are_chosen_more_often_and_labelled_ones_are_not_chosen_again() -> None:
    rng = np.random.default_rng(4)
    rows = unit_rows(rng, 300)
    scores = np.linspace(0.02, 0.6, 300)
    labelled = rows[200:300]

    drawn = np.concatenate(
        [Kdpp(a=0.4, b=0.6).choose(Problem(rows, scores, labelled, tau=0.2), 30, rng).indices for _ in range(5)]
    )

    new = drawn[drawn < 200]
    assert len(new) > 140
    assert scores[new].mean() > scores[:200].mean() + 0.05


def test_a_sharper_exponent_chooses_higher_scores() -> None:
    rng = np.random.default_rng(5)
    rows, scores = unit_rows(rng, 300), rng.random(300)
    problem = Problem(rows, scores, rows[:0], tau=0.2)

    mild = scores[Kdpp(a=0.2, b=0.8).choose(problem, 30, np.random.default_rng(0)).indices].mean()
    sharp = scores[Kdpp(a=1.0, b=0.2).choose(problem, 30, np.random.default_rng(0)).indices].mean()

    assert sharp > mild + 0.1


def test_a_pool_too_large_for_the_exact_draw_is_thinned_and_said_so() -> None:
    rng = np.random.default_rng(6)
    scores = np.arange(100) / 100

    choice = Kdpp(a=0.4, b=0.6, limit=40).choose(
        Problem(unit_rows(rng, 100), scores, np.zeros((0, 8)), tau=0.3), 40, rng
    )

    assert set(range(80, 100)) <= set(choice.indices.tolist())
    assert len(choice.indices) == 40
    assert (
        "100 patches in the pool, the exact draw takes 40: the best 20 by score and 20 of the others by lot"
        in choice.notes
    )


def test_each_pick_says_why_it_was_chosen() -> None:
    rng = np.random.default_rng(7)
    pool, labelled, scores = embedded(rng, 50, "p"), embedded(rng, 6, "l"), rng.random(50)

    batch = choose_batch(pool, scores=scores, labelled=labelled, settings=SelectionTable(tau=0.3), k=8, rng=rng)

    for name, why in zip(batch.ids, batch.explanations, strict=True):
        index = pool.ids.index(name)
        cosines = labelled.embeddings @ pool.embeddings[index]
        beside = {
            other: pool.embeddings[pool.ids.index(other)] @ pool.embeddings[index]
            for other in batch.ids
            if other != name
        }
        assert why["strategy"] == "kdpp"
        assert why["score"] == scores[index]
        assert why["nearest_labelled"] == labelled.ids[cosines.argmax()]
        assert why["nearest_labelled_cos"] == pytest.approx(cosines.max())
        assert why["nearest_chosen"] == max(beside, key=beside.__getitem__)
        assert why["nearest_chosen_cos"] == pytest.approx(max(beside.values()))
        assert 0 < why["marginal"] <= 1
        assert 0 < why["novelty"] < 1


def test_the_same_seed_gives_the_same_batch() -> None:
    pool = embedded(np.random.default_rng(8), 80, "p")
    nothing = Embedded((), np.zeros((0, 0)))

    batches = [
        choose_batch(
            pool, scores=None, labelled=nothing, settings=SelectionTable(), k=10, rng=np.random.default_rng(seed)
        )
        for seed in (1, 1, 2)
    ]

    assert batches[0].ids == batches[1].ids
    assert batches[0].ids != batches[2].ids
    assert all(why["novelty"] == 1.0 and why["nearest_labelled"] is None for why in batches[0].explanations)


def test_reference_patches_are_drawn_uniformly() -> None:
    rng = np.random.default_rng(9)
    floor = [f"f{index}" for index in range(12)]
    drawn = dict.fromkeys(floor, 0)
    for _ in range(6_000):
        for name in choose_reference(floor, 4, rng)[0]:
            drawn[name] += 1

    assert chisquare(list(drawn.values())).pvalue > 1e-4
    assert choose_reference(floor[:2], 4, rng)[0] != ()
    assert len(choose_reference(floor[:2], 4, rng)[0]) == 2


def test_about_the_first_share_of_the_floor_is_reserved_whatever_the_order_it_comes_in() -> None:
    settings = SelectionTable(reference_share_first=0.3, reference_share=0.1)
    names = [f"node-0badcafe-{seq}-0123456789abcdef" for seq in range(4_000)]

    reserved = {name for name in names if is_reserved(name, settings)}

    assert len(reserved) / len(names) == pytest.approx(0.3, abs=0.03)
    assert reserved == {name for name in reversed(names) if is_reserved(name, settings)}
    assert not any(is_reserved(name, SelectionTable(reference_share_first=0.0, reference_share=0.0)) for name in names)


def test_the_first_round_reserves_the_larger_share() -> None:
    settings = SelectionTable(batch=200)

    assert [reference_count(settings, number) for number in range(3)] == [60, 20, 20]
