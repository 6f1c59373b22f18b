"""dppy behind our protocol: its law where it has one, and a refusal or a cure for each way in which it fails."""

import subprocess
import sys
import warnings
from dataclasses import replace

import numpy as np
import pytest

from tests.trainer.selection.law import analytic_inclusion, assert_follows, rejects
from trainer.selection.kernels.similarity import similarity_kernel
from trainer.selection.numbers import Floats
from trainer.selection.problem import SelectionError
from trainer.selection.samplers.dense import DenseKdpp
from trainer.selection.samplers.dppy import CHAIN_LIMIT, EXACT_LIMIT, draws_by_chain, draws_exactly, enough_steps

with warnings.catch_warnings(action="ignore"):
    from dppy.finite_dpps import FiniteDPP

#: dppy takes a millisecond for each.
DRAWS = 4_000
CHAINS = 1_000


def spread_kernel(n: int, seed: int, tau: float = 0.5) -> Floats:
    rows = unit_rows(n, 3, seed)
    return similarity_kernel(rows, rows, tau=tau)


def unit_rows(n: int, d: int, seed: int) -> Floats:
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def cosine_kernel(n: int, nugget: float) -> Floats:
    rows = unit_rows(n, 16, 5)
    return rows @ rows.T + nugget * np.eye(n)


@pytest.mark.parametrize(("n", "k", "scale"), [(7, 2, 1.0), (7, 4, 1e8), (7, 6, 1e-8), (6, 6, 1.0)])
def test_exact_draws_follow_the_determinants_whatever_the_scale(n: int, k: int, scale: float) -> None:
    kernel = spread_kernel(n, seed=n + k)

    law = draws_exactly(scale * kernel, k)

    assert law.k == k
    assert law.inclusion() is None
    assert_follows(law.draw, kernel, k, rng=np.random.default_rng(1), draws=DRAWS)


@pytest.mark.soak
@pytest.mark.parametrize("k", [2, 4, 7])
def test_many_exact_draws_follow_the_determinants(k: int) -> None:
    kernel = spread_kernel(8, seed=k)

    law = draws_exactly(kernel, k)

    assert_follows(law.draw, kernel, k, rng=np.random.default_rng(k))


def test_a_batch_as_large_as_the_rank_is_drawn_by_its_law() -> None:
    features = np.random.default_rng(3).normal(size=(7, 3))
    kernel = features @ features.T

    law = draws_exactly(kernel, 3)

    assert_follows(law.draw, kernel, 3, rng=np.random.default_rng(2), draws=DRAWS)


def test_exact_draws_of_another_kernel_are_told_apart() -> None:
    law = draws_exactly(spread_kernel(7, seed=9), 3)

    assert rejects(law.draw, spread_kernel(7, seed=10), 3, rng=np.random.default_rng(3), draws=DRAWS)


def test_chains_end_where_the_determinants_say_whatever_the_scale() -> None:
    kernel = spread_kernel(6, seed=11)

    law = draws_by_chain(1e-150 * kernel, 3, steps=60)

    assert_follows(law.draw, kernel, 3, rng=np.random.default_rng(4), draws=CHAINS)


def test_a_chain_that_was_cut_short_is_told_apart() -> None:
    kernel = spread_kernel(6, seed=11)

    law = draws_by_chain(kernel, 3, steps=6)

    assert rejects(law.draw, kernel, 3, rng=np.random.default_rng(4), draws=DRAWS)


def test_a_chain_takes_the_steps_it_was_asked_for_in_portions() -> None:
    taken = []

    class Counting(FiniteDPP):
        def sample_mcmc_k_dpp(self, size: int, **settings: object) -> list[int]:
            assert abs(np.linalg.slogdet(self.L[np.ix_(settings["s_init"], settings["s_init"])]).logabsdet) < 1e-6
            taken.append(settings["nb_iter"] - 1)
            return super().sample_mcmc_k_dpp(size, **settings)

    law = draws_by_chain(cosine_kernel(60, 0.1), 20, steps=enough_steps(60, 20))

    drawn = replace(law, finite_dpp=Counting).draw(np.random.default_rng(5))

    assert len(set(drawn.tolist())) == 20
    assert sum(taken) == 2_400
    assert max(taken) == 500


def test_a_chain_from_the_whole_pool_has_nothing_to_exchange() -> None:
    law = draws_by_chain(spread_kernel(5, seed=1), 5, steps=10)

    assert sorted(law.draw(np.random.default_rng(0)).tolist()) == [0, 1, 2, 3, 4]


def test_the_same_seed_gives_the_same_draw_and_numpys_own_luck_is_left_alone() -> None:
    kernel = cosine_kernel(40, 0.1)
    exact, chain = draws_exactly(kernel, 10), draws_by_chain(kernel, 10, steps=1_200)
    np.random.seed(1)  # noqa: NPY002  # the global state is what this is about
    before = np.random.get_state()[1].copy()  # noqa: NPY002  # the state that a library may not touch

    draws = [law.draw(np.random.default_rng(seed)).tolist() for law in (exact, chain) for seed in (6, 6, 7)]

    assert draws[0] == draws[1] != draws[2]
    assert draws[3] == draws[4] != draws[5]
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002  # the state that a library may not touch


def test_sums_that_dppy_would_let_overflow_are_refused() -> None:
    # Two thirds of many: no scale makes room for their sums.
    kernel = cosine_kernel(1_300, 1.0)
    before = kernel.copy()

    with pytest.raises(SelectionError, match=r'870 of 1300, its sums would reach 1e\d+, a double holds 1e308.*"dense"'):
        draws_exactly(kernel, 870)

    assert (kernel == before).all()
    # The sampler that the refusal names does it.
    assert len(set(DenseKdpp.of(kernel).sized(870).draw(np.random.default_rng(0)).tolist())) == 870


def test_a_scale_at_which_dppy_overflows_without_a_word_is_taken_out() -> None:
    kernel = cosine_kernel(400, 0.1)
    alone = FiniteDPP("likelihood", L=5e4 * kernel)
    with warnings.catch_warnings(action="ignore"):
        assert len(set(alone.sample_exact_k_dpp(80, random_state=np.random.RandomState(0)))) == 80
    assert np.isinf(alone.E_poly).any()
    law = draws_exactly(5e4 * kernel, 80)
    rng = np.random.default_rng(8)

    drawn = np.array([law.draw(rng) for _ in range(200)])

    assert np.isfinite(law.dpp.E_poly).all()
    wanted = analytic_inclusion(kernel, 80)
    counted = np.bincount(drawn.ravel(), minlength=400)
    deviations = (counted - 200 * wanted) / np.sqrt(200 * wanted * (1.0 - wanted))
    assert np.abs(deviations).max() < 4.5


def test_a_scale_at_which_dppy_stops_is_taken_out() -> None:
    kernel = 1e-6 * cosine_kernel(400, 0.1)
    alone = FiniteDPP("likelihood", L=kernel)
    with warnings.catch_warnings(action="ignore"), pytest.raises(ValueError, match="sum to 1"):
        alone.sample_exact_k_dpp(80, random_state=np.random.RandomState(0))

    drawn = draws_exactly(kernel, 80).draw(np.random.default_rng(0))

    assert len(set(drawn.tolist())) == 80


def test_a_batch_above_the_rank_is_refused_before_the_kernel_is_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = cosine_kernel(200, 0.0)
    monkeypatch.setattr("scipy.linalg.eigh", None)
    monkeypatch.setattr("scipy.linalg.eigvalsh", None)

    for refused in (lambda: draws_exactly(kernel, 17), lambda: draws_by_chain(kernel, 17, steps=100)):
        with pytest.raises(SelectionError, match="a batch of 17 from a kernel of rank 16") as refusal:
            refused()
        assert refusal.value.possible == 16


def test_a_kernel_with_negative_eigenvalues_is_refused_at_any_scale() -> None:
    kernel = 1e-9 * (np.eye(12) + 1.1 * (np.ones((12, 12)) - np.eye(12)))
    kernel[:3, :3] += 1e-9 * np.eye(3)

    for refused in (lambda: draws_exactly(kernel, 2), lambda: draws_by_chain(kernel, 2, steps=100)):
        with pytest.raises(SelectionError, match=r"eigenvalues go from -1e-10 to .*none below 0"):
            refused()


def test_a_chain_starts_where_dppy_alone_finds_no_start() -> None:
    kernel = 1e-3 * cosine_kernel(200, 0.1)
    with pytest.raises(ValueError, match="no initial set"):
        FiniteDPP("likelihood", L=kernel).sample_mcmc_k_dpp(40, random_state=np.random.RandomState(0))

    drawn = draws_by_chain(kernel, 40, steps=200).draw(np.random.default_rng(0))

    assert len(set(drawn.tolist())) == 40


def test_a_chain_too_short_to_exchange_anything_is_refused() -> None:
    with pytest.raises(SelectionError, match=r"10 steps for a batch of 40, at least 80 were expected.*16000 forget"):
        draws_by_chain(cosine_kernel(200, 0.1), 40, steps=10)


def test_a_larger_batch_after_a_smaller_one_is_drawn() -> None:
    kernel = cosine_kernel(60, 0.1)
    alone = FiniteDPP("likelihood", L=kernel)
    alone.sample_exact_k_dpp(5, random_state=np.random.RandomState(0))
    with pytest.raises(IndexError):
        alone.sample_exact_k_dpp(10, random_state=np.random.RandomState(0))
    smaller, larger = draws_exactly(kernel, 5), draws_exactly(kernel, 10)
    rng = np.random.default_rng(0)

    drawn = [smaller.draw(rng), larger.draw(rng), smaller.draw(rng)]

    assert [len(set(draw.tolist())) for draw in drawn] == [5, 10, 5]


def test_a_pool_too_large_is_refused_before_any_work() -> None:
    class Large:
        def __init__(self, n: int) -> None:
            self.n = n

        def __len__(self) -> int:
            return self.n

    with pytest.raises(SelectionError, match=f"dppy-exact: a pool of {EXACT_LIMIT + 1}, at most {EXACT_LIMIT} were"):
        draws_exactly(Large(EXACT_LIMIT + 1), 5)  # nothing of it may be touched
    with pytest.raises(SelectionError, match=f"dppy-mcmc: a pool of {CHAIN_LIMIT + 1}, at most {CHAIN_LIMIT} were"):
        draws_by_chain(Large(CHAIN_LIMIT + 1), 5, steps=100)


@pytest.mark.parametrize("k", [0, 8])
def test_a_batch_that_the_pool_does_not_hold_is_refused(k: int) -> None:
    with pytest.raises(SelectionError, match=f"a batch of {k} from a pool of 7") as refusal:
        draws_exactly(spread_kernel(7, seed=1), k)
    assert refusal.value.possible == 7


def test_where_dppy_is_not_installed_the_refusal_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dppy.finite_dpps", None)

    with pytest.raises(SelectionError, match=r'not installed.*pip install "winnow\[rivals\]".*"dense"'):
        draws_exactly(spread_kernel(7, seed=1), 2)


def test_the_door_opens_only_when_something_is_asked_of_dppy() -> None:
    code = "import sys, trainer.selection.samplers.dppy; print({'dppy', 'matplotlib'} & {*sys.modules})"

    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout.strip() == "set()"
