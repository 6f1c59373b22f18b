"""Batches: what is chosen out of a pool by a line's settings, and what is said of each patch."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from msgspec import structs

from shared.config import QuotaTable, SelectionTable
from trainer.selection.batch import Batch, Embedded, choose_batch
from trainer.selection.problem import SelectionError


def unit_rows(rng: np.random.Generator, n: int, d: int = 8) -> np.ndarray:
    rows = rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def embedded(seed: int, n: int, prefix: str) -> Embedded:
    return Embedded(
        tuple(f"{prefix}{index}" for index in range(n)), unit_rows(np.random.default_rng(seed), n), "a" * 64
    )


NOTHING = Embedded((), np.zeros((0, 0), dtype=np.float32), "a" * 64)
POOL = embedded(7, 50, "p")
LABELLED = embedded(8, 6, "l")
SCORES = np.random.default_rng(9).random(50)
GROUPS = ["n/top", "n/top", "n/side", "m/top", "n/top"] * 10


def chosen(
    settings: SelectionTable,
    k: int,
    *,
    pool: Embedded = POOL,
    scores: np.ndarray | None = SCORES,
    labelled: Embedded = LABELLED,
    groups: list[str] | None = None,
    fit_places: bool = False,
    seed: int = 0,
) -> Batch:
    return choose_batch(
        pool,
        scores=scores,
        labelled=labelled,
        groups=groups,
        fit_places=fit_places,
        settings=settings,
        k=k,
        rng=np.random.default_rng(seed),
    )


@pytest.mark.parametrize("strategy", ["kdpp", "greedy", "kcentre", "top", "random"])
def test_each_pick_says_why_it_was_chosen(strategy: str) -> None:
    batch = chosen(SelectionTable(strategy=strategy, tau=0.3), 8)

    for name, why in zip(batch.ids, batch.explanations, strict=True):
        index = POOL.ids.index(name)
        cosines = LABELLED.embeddings @ POOL.embeddings[index]
        beside = {
            other: POOL.embeddings[POOL.ids.index(other)] @ POOL.embeddings[index]
            for other in batch.ids
            if other != name
        }
        assert why["strategy"] == strategy
        assert why["sampler"] == {"kdpp": "dense", "greedy": "lazy"}.get(strategy)
        assert why["score"] == SCORES[index]
        assert why["nearest_labelled"] == LABELLED.ids[cosines.argmax()]
        assert why["nearest_labelled_cos"] == pytest.approx(cosines.max(), abs=1e-6)
        assert why["nearest_chosen"] == max(beside, key=beside.__getitem__)
        assert why["nearest_chosen_cos"] == pytest.approx(max(beside.values()), abs=1e-6)
        assert why["novelty"] is not None
        assert 0 < why["novelty"] < 1
        assert (why["marginal"] is not None) == (strategy in {"kdpp", "random"})
        assert (why["gain"] is not None) == (strategy in {"greedy", "kcentre"})
    assert (batch.strategies, batch.pool, batch.labelled, batch.tau) == ((strategy,), 50, 6, 0.3)


def test_a_batch_of_one_beside_nothing_has_no_neighbours() -> None:
    (why,) = chosen(SelectionTable(), 1, labelled=NOTHING).explanations

    assert (why["nearest_labelled"], why["nearest_labelled_cos"]) == (None, None)
    assert (why["nearest_chosen"], why["nearest_chosen_cos"]) == (None, None)
    assert why["novelty"] == 1.0


def test_the_same_seed_gives_the_same_batch() -> None:
    first, again, other = (
        chosen(SelectionTable(strategy="kdpp"), 10, scores=None, labelled=NOTHING, seed=seed) for seed in (1, 1, 2)
    )

    assert first == again
    assert first.ids != other.ids


def test_a_temperature_of_our_choice_is_told_where_the_strategy_goes_by_it() -> None:
    ours, theirs = chosen(SelectionTable(), 10), chosen(SelectionTable(strategy="kdpp", tau=0.3), 10)
    top = chosen(SelectionTable(strategy="top"), 10)

    assert ours.notes[0] == f"tau {ours.tau:.3g}: chosen so that about 20 patches can be told apart"
    assert theirs.notes[0].startswith("sampler dense: ")
    assert top.notes == ()


def test_a_pool_too_much_alike_for_any_temperature_is_told() -> None:
    rows = POOL.embeddings[:1] + 1e-3 * POOL.embeddings
    alike = replace(POOL, embeddings=(rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))

    batch = chosen(SelectionTable(), 10, pool=alike)

    assert batch.notes[0] == "tau 0.001: the smallest; fewer than the 20 patches that were wanted can be told apart"


@pytest.mark.parametrize("tau", [1e-300, 1e-9, 1e9])
def test_any_temperature_above_nought_gives_a_batch(tau: float) -> None:
    assert len(set(chosen(SelectionTable(strategy="kdpp", tau=tau), 10).ids)) == 10


@pytest.mark.parametrize(
    ("pool", "scores", "labelled", "k", "reason"),
    [
        (POOL, SCORES, LABELLED, 0, "batch: 0 patches asked for, at least 1 was expected"),
        (POOL, SCORES, LABELLED, 51, "batch: 51 patches asked for, the pool holds 50"),
        (replace(POOL, embeddings=POOL.embeddings * np.float32(np.nan)), SCORES, LABELLED, 5, "has length nan"),
        (replace(POOL, embeddings=POOL.embeddings * np.float32(0)), SCORES, LABELLED, 5, "has length 0, 1 was expected"),
        (replace(POOL, embeddings=POOL.embeddings * np.float32(np.inf)), SCORES, LABELLED, 5, "1 was expected"),
        (replace(POOL, embeddings=POOL.embeddings * np.float32(2)), SCORES, LABELLED, 5, "has length 2, 1 was expected"),
        (POOL, -SCORES, LABELLED, 5, "a number from 0 to 1 was expected"),
        (POOL, np.full(50, 0.5), LABELLED, 5, "scores: all 50 are 0.5"),
        (POOL, SCORES, replace(LABELLED, space="b" * 64), 5, "labelled: embeddings in space bbbbbbbbbbbb, the pool's are in aaaaaaaaaaaa"),
        (POOL, SCORES, replace(LABELLED, embeddings=unit_rows(np.random.default_rng(1), 6, 5)), 5, "embeddings of 5 numbers, the pool's have 8"),
        (NOTHING, None, LABELLED, 5, "pool: it is empty"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_from_is_refused_by_name_and_left_as_it_is(
    pool: Embedded, scores: np.ndarray | None, labelled: Embedded, k: int, reason: str
) -> None:
    before = (pool.embeddings.copy(), None if scores is None else scores.copy(), labelled.embeddings.copy())

    with pytest.raises(SelectionError, match=re.escape(reason)):
        chosen(SelectionTable(), k, pool=pool, scores=scores, labelled=labelled)

    np.testing.assert_array_equal(pool.embeddings, before[0])
    np.testing.assert_array_equal(labelled.embeddings, before[2])
    assert scores is before[1] is None or np.array_equal(scores, before[1])


def test_of_near_duplicates_the_one_with_the_highest_score_stands_for_all() -> None:
    rows = np.repeat(unit_rows(np.random.default_rng(3), 5), 4, axis=0)
    pool = Embedded(tuple(f"p{index}" for index in range(20)), rows, "a" * 64)
    scores = np.random.default_rng(4).random(20)

    batch = chosen(SelectionTable(near_duplicates=0.99), 5, pool=pool, scores=scores)

    highest = {f"p{4 * group + scores[4 * group : 4 * group + 4].argmax()}" for group in range(5)}
    assert set(batch.ids) == highest
    assert "15 of 20 patches are near-duplicates above cosine 0.99 and stand behind others" in batch.notes
    with pytest.raises(
        SelectionError, match="6 patches asked for, 5 of the pool's 20 are no near-duplicates"
    ) as refused:
        chosen(SelectionTable(near_duplicates=0.99), 6, pool=pool, scores=scores)
    assert refused.value.possible == 5


def test_a_quota_shares_the_batch_and_each_group_is_told() -> None:
    settings = SelectionTable(strategy="kdpp", quota=QuotaTable(by="camera", places={"m/top": 4}))

    batch = chosen(settings, 20, groups=GROUPS)

    counts = Counter(GROUPS[POOL.ids.index(name)] for name in batch.ids)
    mass = {
        group: sum((score + 1e-3) ** (4 / 3) for score, of in zip(SCORES, GROUPS, strict=True) if of == group)
        for group in ("n/top", "n/side")
    }
    assert counts["m/top"] == 4
    assert counts["n/top"] == pytest.approx(16 * mass["n/top"] / sum(mass.values()), abs=1)
    assert sum(counts.values()) == len(set(batch.ids)) == 20
    assert "m/top: 4 of 10" in batch.notes
    assert "m/top: sampler dense: 10 patches fit one decomposition" in batch.notes


def test_another_group_s_places_do_not_change_what_a_group_draws() -> None:
    few, many = (
        chosen(SelectionTable(tau=0.3, quota=QuotaTable(by="camera", places={"m/top": 4, "n/side": side})), 4 + side + 1, groups=GROUPS)
        for side in (2, 7)
    )  # fmt: skip

    of_top = [[name for name in batch.ids if GROUPS[POOL.ids.index(name)] == "m/top"] for batch in (few, many)]
    assert of_top[0] == of_top[1]


def test_a_quota_without_groups_to_go_by_is_none() -> None:
    settings = SelectionTable(quota=QuotaTable(by="class"))

    assert chosen(settings, 10) == chosen(structs.replace(settings, quota=None), 10)


@pytest.mark.parametrize(
    ("places", "k", "reason"),
    [
        ({"m/top": 4, "n/top": 9}, 12, "quota: 13 fixed places in a batch of 12 patches"),
        ({"m/top": 11}, 12, 'quota: 11 places for "m/top", it holds 10 patches'),
        ({"x/top": 1}, 12, 'quota: 1 places for "x/top"; known groups are m/top, n/side, n/top'),
        ({"m/top": 1, "n/side": 1, "n/top": 1}, 12, "quota: 9 of 12 patches are left after the fixed places, the other groups hold 0"),
    ],
)  # fmt: skip
def test_a_quota_that_does_not_add_up_is_refused(places: dict[str, int], k: int, reason: str) -> None:
    with pytest.raises(SelectionError, match=re.escape(reason)):
        chosen(SelectionTable(quota=QuotaTable(by="camera", places=places)), k, groups=GROUPS)


def test_a_round_that_must_go_on_takes_what_a_group_has_of_its_places() -> None:
    settings = SelectionTable(quota=QuotaTable(by="camera", places={"m/top": 15, "x/top": 3}))

    batch = chosen(settings, 20, groups=GROUPS, fit_places=True)

    assert Counter(GROUPS[POOL.ids.index(name)] for name in batch.ids)["m/top"] == 10
    assert len(batch.ids) == 20
    assert "quota: m/top holds 10 patches of 15 places; the round takes those" in batch.notes
    assert "quota: x/top holds 0 patches of 3 places; the round takes those" in batch.notes


def test_a_group_whose_scores_are_all_one_goes_by_unlikeness_and_says_so() -> None:
    scores = np.where([group == "m/top" for group in GROUPS], 0.3, SCORES)
    settings = SelectionTable(quota=QuotaTable(by="camera", places={"m/top": 4}))

    batch = chosen(settings, 20, scores=scores, groups=GROUPS)

    assert Counter(GROUPS[POOL.ids.index(name)] for name in batch.ids)["m/top"] == 4
    assert "m/top: all 10 scores are 0.3 and weigh nothing here" in batch.notes


def test_a_group_that_cannot_be_told_apart_says_how_many_the_batch_could_hold() -> None:
    rows = POOL.embeddings.copy()
    rows[[index for index, group in enumerate(GROUPS) if group == "m/top"]] = rows[3]
    pool = replace(POOL, embeddings=rows)
    settings = SelectionTable(strategy="kdpp", quota=QuotaTable(by="camera", places={"m/top": 4}))

    with pytest.raises(SelectionError, match=r"quota: m/top: .*a batch of 4 from a kernel of rank 1") as refused:
        chosen(settings, 20, pool=pool, groups=GROUPS)

    assert refused.value.possible == 17
