"""Greedy MAP against determinants worked out one by one."""

import tracemalloc
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from trainer.selection.kernels.eq3 import Eq3DistanceKernel
from trainer.selection.kernels.kernel import Kernel
from trainer.selection.kernels.quality import QualityKernel, quality
from trainer.selection.kernels.similarity import NUGGET, similarity_kernel
from trainer.selection.neighbourhoods import Neighbourhoods, cut
from trainer.selection.numbers import Floats, Ints, Vectors
from trainer.selection.problem import Problem, SelectionError
from trainer.selection.samplers import conditioning, greedy
from trainer.selection.samplers.conditioning import Leaf, nearest_known
from trainer.selection.samplers.greedy import _sequence, take_from_blocks, take_lazily
from trainer.selection.strategies.greedy import Greedy

SEEDS = range(6)


def unit_rows(rng: np.random.Generator, n: int, d: int) -> Vectors:
    rows = rng.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def weighed(seed: int, *, n: int = 40, d: int = 6, labelled: int = 0, tau: float = 0.4) -> QualityKernel:
    rng = np.random.default_rng(seed)
    rows = unit_rows(rng, n + labelled, d)
    return QualityKernel(rows[labelled:], quality(rng.random(n), a=0.4, b=0.6), tau, rows[:labelled])


def whole(kernel: Kernel) -> Floats:
    return kernel.among(np.arange(len(kernel.embeddings)))


def with_labelled(kernel: QualityKernel) -> Floats:
    """The kernel of the labelled, with the weight that cancels, followed by the pool."""
    everything = np.concatenate([kernel.labelled, kernel.embeddings])
    weights = np.concatenate([np.ones(len(kernel.labelled)), kernel.weights])
    joint = similarity_kernel(everything, everything, tau=kernel.tau)
    known = np.arange(len(kernel.labelled))
    joint[known, known] += NUGGET
    return weights[:, None] * joint * weights


def by_determinants(kernel: Floats, k: int, *, given: int = 0) -> tuple[list[int], list[float]]:
    """Take, ``k`` times over, what makes the determinant of all taken largest; the first ``given`` are taken before."""
    taken, gains = list(range(given)), []
    for _ in range(k):
        logs = {
            item: np.linalg.slogdet(kernel[np.ix_([*taken, item], [*taken, item])])[1]
            for item in range(given, len(kernel))
            if item not in taken
        }
        best = max(logs, key=lambda item: logs[item])
        before = np.linalg.slogdet(kernel[np.ix_(taken, taken)])[1] if taken else 0.0
        gains.append(float(np.exp(logs[best] - before)))
        taken.append(best)
    return [item - given for item in taken[given:]], gains


def leaves_of(kernel: Kernel, most: int, seed: int = 0) -> Neighbourhoods:
    return cut(kernel.embeddings, most=most, rng=np.random.default_rng(seed))


def masked(kernel: Floats, home: Ints) -> Floats:
    return np.where(home[:, None] == home[None, :], kernel, 0.0)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_lazy_greedy_takes_what_determinants_take(seed: int) -> None:
    kernel = weighed(seed)

    taken = take_lazily(kernel, 25)

    indices, gains = by_determinants(whole(kernel), 25)
    assert taken.indices.tolist() == indices
    np.testing.assert_allclose(taken.gains, gains, rtol=1e-6)


def test_a_long_lazy_run_goes_on_across_its_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greedy, "_PANEL", 3)
    monkeypatch.setattr(greedy, "_STALE_AT_ONCE", 2)
    kernel = weighed(7)

    taken = take_lazily(kernel, 30)

    assert taken.indices.tolist() == by_determinants(whole(kernel), 30)[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_block_greedy_takes_what_determinants_of_the_block_kernel_take(seed: int) -> None:
    kernel = weighed(seed)
    neighbourhoods = leaves_of(kernel, 12)

    taken = take_from_blocks(kernel, 25, neighbourhoods)

    indices, gains = by_determinants(masked(whole(kernel), neighbourhoods.place(kernel.embeddings)), 25)
    assert len(neighbourhoods.leaves) == 4
    assert taken.indices.tolist() == indices
    np.testing.assert_allclose(taken.gains, gains, rtol=1e-6)


def test_one_neighbourhood_of_all_is_the_whole_kernel() -> None:
    kernel = weighed(3, n=300, labelled=20)

    lazily, blocked = take_lazily(kernel, 120), take_from_blocks(kernel, 120, leaves_of(kernel, 300))

    assert lazily.indices.tolist() == blocked.indices.tolist()
    np.testing.assert_allclose(lazily.gains, blocked.gains, rtol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_labelled_patches_count_as_taken_first(seed: int) -> None:
    kernel = weighed(seed, labelled=12)

    lazily = take_lazily(kernel, 20)

    indices, gains = by_determinants(with_labelled(kernel), 20, given=12)
    assert lazily.indices.tolist() == indices
    np.testing.assert_allclose(lazily.gains, gains, rtol=1e-5)
    assert indices != by_determinants(whole(kernel), 20)[0]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_neighbourhood_sees_the_labelled_that_fall_into_it(seed: int) -> None:
    kernel = weighed(seed, labelled=12)
    neighbourhoods = leaves_of(kernel, 14)

    taken = take_from_blocks(kernel, 20, neighbourhoods)

    home = neighbourhoods.place(np.concatenate([kernel.labelled, kernel.embeddings]))
    indices, gains = by_determinants(masked(with_labelled(kernel), home), 20, given=12)
    assert taken.indices.tolist() == indices
    np.testing.assert_allclose(taken.gains, gains, rtol=1e-5)


@dataclass(frozen=True, slots=True)
class Asked(QualityKernel):
    """Remembers for how many patches beside how many labelled ones it was asked, each time."""

    pieces: list[tuple[int, int]] = field(default_factory=list)

    def explained(self, items: Ints, known: Ints) -> Floats:
        self.pieces.append((len(items), len(known)))
        return QualityKernel.explained(self, items, known)


def asked(kernel: QualityKernel) -> Asked:
    return Asked(kernel.embeddings, kernel.weights, kernel.tau, kernel.labelled)


def nearest_of_each(kernel: QualityKernel, each: int) -> set[int]:
    cosines = kernel.embeddings.astype(float) @ kernel.labelled.astype(float).T
    return set(np.argsort(-cosines, axis=1)[:, :each].ravel().tolist())


def test_of_too_many_labelled_the_nearest_of_each_patch_count_and_it_is_said() -> None:
    kernel = weighed(1, n=12, labelled=200)

    known, notes = nearest_known(kernel, most=40)

    assert known.tolist() == sorted(nearest_of_each(kernel, 3))
    assert notes == (f"of 200 labelled patches the 3 nearest of each patch count, {len(known)} in all",)
    assert nearest_known(kernel, most=200)[0].tolist() == list(range(200))
    assert nearest_known(kernel, most=200)[1] == ()


def test_where_one_labelled_of_each_patch_is_too_many_those_nearest_to_any_count() -> None:
    kernel = weighed(1, n=60, labelled=50)

    known, notes = nearest_known(kernel, most=5)

    cosines = kernel.embeddings.astype(float) @ kernel.labelled.astype(float).T
    nearest = sorted(nearest_of_each(kernel, 1), key=lambda item: -cosines[:, item].max())
    assert len(nearest) > 5
    assert known.tolist() == sorted(nearest[:5])
    assert notes == ("of 50 labelled patches the 5 nearest to any patch count",)


def test_a_few_patches_beside_very_many_labelled_are_taken_lazily_by_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(greedy, "LAZY_KNOWN", 60)
    monkeypatch.setattr(greedy, "LAZY_LIMIT", 20 * (60 + 10))
    kernel = asked(weighed(2, n=20, labelled=3_000))
    near = replace(kernel, labelled=kernel.labelled[sorted(nearest_of_each(kernel, 3))], pieces=[])

    taken = take_lazily(kernel, 10)

    assert kernel.pieces == [(20, len(near.labelled))]
    assert taken.indices.tolist() == by_determinants(with_labelled(near), 10, given=len(near.labelled))[0]
    assert len(taken.notes) == 1
    assert "of 3,000 labelled patches the 3 nearest of each patch count" in taken.notes[0]


def test_the_labelled_are_taken_apart_once_however_many_patches_wait() -> None:
    kernel = asked(weighed(2, n=9_000, d=3, labelled=5))

    take_lazily(kernel, 3)

    assert kernel.pieces == [(9_000, 5)]


def test_a_neighbourhood_full_of_labelled_sees_the_nearest_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditioning, "KNOWN_LIMIT", 7)
    kernel = asked(weighed(3, n=30, labelled=50))
    nearness = (kernel.labelled @ kernel.embeddings.T).max(axis=1)
    near = replace(kernel, labelled=kernel.labelled[np.argsort(-nearness)[:7]], pieces=[])

    taken = take_from_blocks(kernel, 12, leaves_of(kernel, 30))

    assert kernel.pieces == [(30, 7)]
    assert taken.indices.tolist() == by_determinants(with_labelled(near), 12, given=7)[0]
    assert taken.notes == (
        "50 labelled patches in 1 neighbourhoods; each is conditioned on the 7 nearest to one of its patches",
    )


def test_what_is_held_of_a_neighbourhood_grows_by_what_is_taken_alone() -> None:
    kernel = weighed(4, n=60, d=12, labelled=1_000)
    sequence = _sequence(kernel, kernel.diagonal(), Leaf(np.arange(60), np.arange(1_000)))
    next(sequence)

    tracemalloc.start()
    for _ in range(20):
        next(sequence)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    # Room for 32 taken and 32 kernel columns, not for the labelled once more.
    assert 60 * 8 * 20 < grown < 60 * 8 * 100


@pytest.mark.parametrize("sampler", ["lazy", "block"])
def test_the_strategy_tells_which_labelled_counted(sampler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greedy, "LAZY_KNOWN", 9)
    monkeypatch.setattr(conditioning, "KNOWN_LIMIT", 9)
    rows = unit_rows(np.random.default_rng(4), 60, 8)
    problem = Problem(rows[30:], None, rows[:30], tau=0.3)
    strategy = Greedy(a=0.4, b=0.6, sampler=sampler, conditioned=True)

    choice = strategy.choose(problem, 5, np.random.default_rng(0))

    assert "30 labelled patches" in choice.notes[-1]


@pytest.mark.parametrize("seed", SEEDS)
def test_eq3_read_as_a_distance_is_taken_greedily_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kernel = Eq3DistanceKernel(unit_rows(rng, 30, 4), rng.random(30), a=0.4, b=0.6)
    neighbourhoods = leaves_of(kernel, 10)

    lazily, blocked = take_lazily(kernel, 20), take_from_blocks(kernel, 20, neighbourhoods)

    # All variances begin at one: of equal ones the first patch is taken by both.
    assert lazily.indices.tolist() == by_determinants(whole(kernel), 20)[0]
    home = neighbourhoods.place(kernel.embeddings)
    assert blocked.indices.tolist() == by_determinants(masked(whole(kernel), home), 20)[0]


@pytest.mark.parametrize("sampler", ["lazy", "block"])
def test_a_batch_beyond_what_can_be_told_apart_is_refused_with_what_could_be(sampler: str) -> None:
    rng = np.random.default_rng(0)
    rows = unit_rows(rng, 10, 4)[np.arange(40) % 10]
    kernel = QualityKernel(rows, np.ones(40), 0.2, rows[:0])
    take = take_lazily if sampler == "lazy" else lambda kernel, k: take_from_blocks(kernel, k, leaves_of(kernel, 40))

    with pytest.raises(
        SelectionError, match="greedy: 10 of 40 patches can be told apart, 11 were asked for"
    ) as refused:
        take(kernel, 11)

    assert refused.value.possible == 10
    assert len({tuple(rows[item]) for item in take(kernel, 10).indices}) == 10


@pytest.mark.parametrize("sampler", ["lazy", "block"])
def test_a_batch_beyond_the_known_rank_is_refused_before_any_work(
    sampler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = weighed(0)
    neighbourhoods = leaves_of(kernel, 10)
    worked: list[str] = []
    for piece in ("diagonal", "across"):
        monkeypatch.setattr(QualityKernel, piece, lambda *_: worked.append("asked"))

    with pytest.raises(SelectionError, match="greedy: 40 of 40 patches can be told apart, 41 were asked for"):
        take_lazily(kernel, 41) if sampler == "lazy" else take_from_blocks(kernel, 41, neighbourhoods)

    assert worked == []


@pytest.mark.parametrize("sampler", ["lazy", "block"])
def test_a_kernel_that_runs_out_on_the_way_is_refused_with_what_could_be(sampler: str) -> None:
    """Certain patches in three dimensions: their features carry three, whatever a first look says."""
    rng = np.random.default_rng(0)
    kernel = Eq3DistanceKernel(unit_rows(rng, 20, 3), np.zeros(20), a=0.0, b=1.0)
    take = take_lazily if sampler == "lazy" else lambda kernel, k: take_from_blocks(kernel, k, leaves_of(kernel, 20))

    with pytest.raises(SelectionError, match="greedy: 3 of 20 patches can be told apart, 4 were") as refused:
        take(kernel, 4)

    assert refused.value.possible == 3


def test_what_would_not_fit_is_refused_lazily_and_points_to_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(greedy, "LAZY_LIMIT", 40 * 9)
    kernel = weighed(0, labelled=4)

    with pytest.raises(
        SelectionError, match=r"are 400 numbers, lazily it holds 360; .* selection\.sampler = \"block\""
    ):
        take_lazily(kernel, 6)

    assert len(take_lazily(kernel, 5).indices) == 5


@pytest.mark.parametrize("sampler", ["lazy", "block"])
def test_the_strategy_takes_k_different_patches_the_same_again(sampler: str) -> None:
    rng = np.random.default_rng(4)
    rows = unit_rows(rng, 120, 8)
    problem = Problem(rows[20:], rng.random(100), rows[:20], tau=0.3)
    strategy = Greedy(a=0.4, b=0.6, sampler=sampler, conditioned=True)

    first, again = (strategy.choose(problem, 30, np.random.default_rng(5)) for _ in range(2))

    assert len(set(first.indices.tolist())) == 30
    assert first.indices.tolist() == again.indices.tolist()
    assert first.gains is not None
    assert (np.diff(first.gains) <= 1e-12).all()


def test_without_scores_or_condition_only_the_places_count() -> None:
    rng = np.random.default_rng(6)
    rows = unit_rows(rng, 50, 5)
    problem = Problem(rows[10:], None, rows[:10], tau=0.3)

    choice = Greedy(a=0.4, b=0.6, sampler="lazy", conditioned=False).choose(problem, 15, np.random.default_rng(0))

    assert choice.indices.tolist() == by_determinants(similarity_kernel(rows[10:], rows[10:], tau=0.3), 15)[0]


def test_equal_scores_are_refused() -> None:
    rows = unit_rows(np.random.default_rng(0), 10, 4)

    with pytest.raises(SelectionError, match=r"all 10 are 0\.5"):
        Greedy(a=0.4, b=0.6, sampler="lazy", conditioned=True).choose(
            Problem(rows, np.full(10, 0.5), rows[:0], tau=0.3), 3, np.random.default_rng(0)
        )
