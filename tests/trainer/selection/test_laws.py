"""Every exact sampler against its definition: covering cases by default, the full grid in the long run."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from tests.trainer.selection.law import LEVEL, analytic_inclusion, assert_follows, pinched, rejects
from trainer.selection.algebra import NumpyAlgebra
from trainer.selection.kernels.kernel import Explaining
from trainer.selection.kernels.quality import QualityKernel
from trainer.selection.kernels.similarity import NUGGET, similarity_kernel
from trainer.selection.neighbourhoods import Neighbourhoods, cut
from trainer.selection.numbers import Floats, Ints, Vectors
from trainer.selection.samplers.block import BlockKdpp
from trainer.selection.samplers.dense import DenseKdpp
from trainer.selection.samplers.law import Law
from trainer.selection.samplers.lowrank import LowRankKdpp, SizedLowRank

N, RANK = 8, 3


@dataclass(frozen=True, slots=True)
class Form:
    """``B B^T + diag(d)``, as it is and as a kernel."""

    b: Floats
    d: Floats

    @property
    def rank(self) -> int:
        return self.b.shape[1]

    def features(self, items: Ints | slice) -> Floats:
        return self.b[items]

    def nuggets(self) -> Floats:
        return self.d

    def whole(self) -> Floats:
        return self.b @ self.b.T + np.diag(self.d)


@dataclass(frozen=True, slots=True)
class Given:
    """A kernel that is given whole; where its patches stand is made up."""

    matrix: Floats

    @property
    def embeddings(self) -> Vectors:
        angles = np.linspace(0.0, np.pi, len(self.matrix), endpoint=False)
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)

    @property
    def labelled(self) -> Vectors:
        return self.embeddings[:0]

    def diagonal(self) -> Floats:
        return self.matrix.diagonal()

    def among(self, items: Ints) -> Floats:
        return self.across(items, items)

    def across(self, rows: Ints, columns: Ints) -> Floats:
        return self.matrix[np.ix_(rows, columns)]

    def explained(self, items: Ints, known: Ints) -> Floats:
        return self.explaining(known)(items)

    def explaining(self, known: Ints) -> Explaining:
        return lambda items: np.zeros((len(items), len(known)))

    def rank_bound(self) -> int:
        return len(self.matrix)


def dense(form: Form, k: int) -> tuple[Law, Floats]:
    return DenseKdpp.of(form.whole()).sized(k), form.whole()


def lowrank(form: Form, k: int) -> tuple[Law, Floats]:
    return LowRankKdpp.of(form).sized(k), form.whole()


def block(form: Form, k: int) -> tuple[Law, Floats]:
    law, _ = blocks_of(Given(form.whole()), len(form.d), k)
    return law, form.whole()


def blocks(form: Form, k: int) -> tuple[Law, Floats]:
    law, neighbourhoods = blocks_of(Given(form.whole()), 3, k)
    return law, pinched(form.whole(), neighbourhoods.leaves)


def blocks_of(kernel: Given | QualityKernel, most: int, k: int) -> tuple[Law, Neighbourhoods]:
    neighbourhoods = cut(kernel.embeddings, most=most, rng=np.random.default_rng(0))
    return BlockKdpp.of(kernel, neighbourhoods, algebra=NumpyAlgebra(), workers=1).sized(k), neighbourhoods


Sampler = Callable[[Form, int], tuple[Law, Floats]]
SAMPLERS: dict[str, Sampler] = {"dense": dense, "lowrank": lowrank, "block": block, "blocks": blocks}

#: What the diagonal adds, ``(N,)``, and how many patches then can be told apart.
NUGGETS: dict[str, tuple[Floats, int]] = {
    "none": (np.zeros(N), RANK),
    "even": (np.full(N, 0.3), N),
    "uneven": (np.exp(np.linspace(-4.0, 1.0, N)), N),
    "some": (np.array([0.5, 0.0, 0.0, 0.2, 0.0, 0.0, 0.7, 0.0]), 3 + RANK),
}


def form_of(nuggets: str, *, twins: bool, scale: float) -> Form:
    b = np.random.default_rng(7).normal(size=(N, RANK)) * np.array([1.5, 1.0, 0.4])
    if twins:
        # The second pair has no nuggets where only some have: never both.
        b[3], b[4] = b[0], b[1]
    return Form(b * np.sqrt(scale), NUGGETS[nuggets][0] * scale)


@pytest.mark.parametrize(
    ("name", "k", "nuggets", "twins", "scale"),
    [
        ("dense", 1, "uneven", False, 1.0),
        ("dense", RANK, "none", True, 1e8),
        ("dense", 5, "some", False, 1e-8),
        ("dense", N - 1, "even", False, 1.0),
        ("lowrank", RANK, "none", False, 1e8),
        ("lowrank", 5, "some", True, 1e-8),
        ("lowrank", 4, "even", True, 1.0),
        ("block", 4, "uneven", True, 1e8),
        ("blocks", 5, "some", False, 1.0),
    ],
)
def test_draws_follow_the_determinants(name: str, k: int, nuggets: str, twins: bool, scale: float) -> None:
    """Below, at and above the rank of the features; the grid in the long run has the rest."""
    law, kernel = SAMPLERS[name](form_of(nuggets, twins=twins, scale=scale), k)

    assert_follows(law.draw, kernel, k, rng=np.random.default_rng(k))


@pytest.mark.soak
@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize("twins", [False, True])
@pytest.mark.parametrize("nuggets", NUGGETS)
@pytest.mark.parametrize("k", range(1, N + 1))
@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_follow_the_determinants_on_the_whole_grid(
    name: str, k: int, nuggets: str, twins: bool, scale: float
) -> None:
    form = form_of(nuggets, twins=twins, scale=scale)
    rank = int(np.linalg.matrix_rank(form.whole() / scale))
    pinched_rank = {"blocks": lambda: int(np.linalg.matrix_rank(blocks(form, 1)[1] / scale))}
    if k > pinched_rank.get(name, lambda: rank)():
        pytest.skip(f"{k} patches cannot be told apart")
    law, kernel = SAMPLERS[name](form, k)

    assert_follows(law.draw, kernel, k, rng=np.random.default_rng(k), p=1e-5)


class Credulous(SizedLowRank):
    """A draw that keeps every first part: how probable it is that the rest fills the batch is not asked."""

    def _draw_first(self, rng: np.random.Generator) -> Ints:
        return SizedLowRank._draw_first(replace(self, bounds=None), rng)


def spread_form(order: int) -> Form:
    """Nuggets over three decades, those of the longest features largest or smallest: keeping a first part decides."""
    b = np.random.default_rng(41).normal(size=(N, RANK)) * np.linspace(0.3, 2.0, N)[:, None]
    return Form(b, np.geomspace(0.01, 10.0, N)[::order])


@pytest.mark.parametrize(
    ("k", "order"),
    [
        (3, 1),
        (5, -1),
        *(
            pytest.param(k, order, marks=pytest.mark.soak)
            for k, order in [(2, 1), (2, -1), (3, -1), (5, 1), (7, 1), (7, -1)]
        ),
    ],
)
def test_draws_follow_the_determinants_where_nuggets_are_far_apart(k: int, order: int) -> None:
    form = spread_form(order)

    law = LowRankKdpp.of(form).sized(k)

    assert_follows(law.draw, form.whole(), k, rng=np.random.default_rng(k))


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("k", [3, 5])
def test_a_first_part_that_is_never_thrown_away_would_be_noticed(k: int, order: int) -> None:
    """The negative control: sizes weighed by their ceilings, and nothing taken back."""
    form = spread_form(order)
    law = LowRankKdpp.of(form).sized(k)

    credulous = Credulous(law.span, law.coins, law.others, law.sizes, law.bounds, k)

    assert rejects(credulous.draw, form.whole(), k, rng=np.random.default_rng(k), draws=6_000)


def test_draws_given_what_is_labelled_follow_the_joint_determinants() -> None:
    """Each neighbourhood is conditioned on the labelled in it; drawn whole, on all of them."""
    rng = np.random.default_rng(11)
    rows = rng.normal(size=(N + 2, 3)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    weights = rng.uniform(0.3, 1.0, N)
    kernel = QualityKernel(embeddings=rows[:N], weights=weights, tau=0.6, labelled=rows[N:])
    everything = np.concatenate([weights, np.ones(2)])
    joint = everything[:, None] * similarity_kernel(rows, rows, tau=0.6) * everything
    joint[[N, N + 1], [N, N + 1]] += NUGGET

    law, _ = blocks_of(kernel, N, 3)

    assert_follows(law.draw, joint, 3, rng=rng, given=(N, N + 1))
    unconditioned, _ = blocks_of(QualityKernel(rows[:N], weights, 0.6, rows[:0]), N, 3)
    assert rejects(unconditioned.draw, joint, 3, rng=rng, draws=10_000, given=(N, N + 1))


def test_neighbourhoods_against_the_law_of_the_whole_kernel_would_be_noticed() -> None:
    """The negative control: a draw that does not see across a border."""
    form = form_of("even", twins=True, scale=1.0)
    law, _ = blocks(form, 4)

    assert rejects(law.draw, form.whole(), 4, rng=np.random.default_rng(1), draws=20_000)


@pytest.mark.parametrize("name", ["dense", "lowrank", "block"])
def test_three_hundred_patches_turn_up_by_their_analytic_marginals(name: str) -> None:
    form = large_form()
    law, kernel = SAMPLERS[name](form, 60)
    rng = np.random.default_rng(12)
    draws = 1_500
    seen = np.zeros(300)

    for _ in range(draws):
        seen[law.draw(rng)] += 1.0

    expected = analytic_inclusion(kernel, 60)
    squares = float(((seen - draws * expected) ** 2 / (draws * expected * (1.0 - expected))).sum())
    assert chi2.ppf(LEVEL, 299) < squares < chi2.ppf(1.0 - LEVEL, 299)


def large_form() -> Form:
    rng = np.random.default_rng(13)
    return Form(rng.normal(size=(300, 20)) * np.exp(rng.normal(size=20)), rng.uniform(0.05, 0.5, 300))


@pytest.mark.parametrize("name", ["dense", "lowrank", "block"])
@pytest.mark.parametrize("nuggets", ["even", "uneven"])
def test_samplers_agree_on_the_marginals_of_one_kernel(name: str, nuggets: str) -> None:
    form = large_form()
    if nuggets == "even":
        form = Form(form.b, np.full(300, 0.1))
    law, kernel = SAMPLERS[name](form, 60)

    marginals = law.inclusion()

    assert marginals is not None
    np.testing.assert_allclose(marginals, analytic_inclusion(kernel, 60), atol=1e-6)
    assert marginals.sum() == pytest.approx(60.0, abs=1e-4)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("nuggets", ["none", "some", "uneven"])
def test_marginals_are_the_sum_of_the_subsets_that_hold_an_item(name: str, nuggets: str) -> None:
    form = form_of(nuggets, twins=False, scale=1e8)
    k = RANK if nuggets == "none" else 4
    law, kernel = SAMPLERS[name](form, k)

    marginals = law.inclusion()

    assert marginals is not None
    np.testing.assert_allclose(marginals, analytic_inclusion(kernel, k), atol=1e-6)


DRAW_WITH_ALL = """
import numpy as np
from tests.trainer.selection.test_laws import SAMPLERS, large_form
for sampler in SAMPLERS.values():
    print(sampler(large_form(), 60)[0].draw(np.random.default_rng(3)).tolist())
"""


def test_the_same_seed_draws_the_same_batch_whatever_the_number_of_threads() -> None:
    drawn = [
        subprocess.run(
            [sys.executable, "-c", DRAW_WITH_ALL],
            cwd=Path(__file__).parents[3],
            env=os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2")
    ]

    assert drawn[0] == drawn[1]
    assert drawn[0].count("[") == len(SAMPLERS)
