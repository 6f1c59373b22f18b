"""The low-rank sampler against the law, and what it may touch."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from scipy.stats import chi2, chisquare

from tests.trainer.selection.law import analytic_inclusion, assert_follows, rejects
from trainer.selection.algebra import NumpyAlgebra
from trainer.selection.kernels.conditioned import FLOOR, ConditionedForm, erases_diversity
from trainer.selection.kernels.cosine import CosineForm
from trainer.selection.kernels.eq3 import Eq3DistanceForm
from trainer.selection.kernels.kernel import LowRankForm
from trainer.selection.numbers import Floats, Ints
from trainer.selection.problem import SelectionError
from trainer.selection.samplers import lowrank_tilt
from trainer.selection.samplers.lowrank import LowRankKdpp
from trainer.selection.samplers.lowrank_tilt import ceilings
from trainer.selection.samplers.span import Span

DRAWS = 4_000


@dataclass
class Given:
    """A form held whole, which notes how many rows were asked for at once."""

    rows: Floats
    nugget: Floats
    most_asked: int = 0
    asked: list[int] = field(default_factory=list)

    @property
    def rank(self) -> int:
        return self.rows.shape[1]

    def features(self, items: Ints | slice) -> Floats:
        part: Floats = self.rows[items]
        self.asked.append(len(part))
        return part

    def nuggets(self) -> Floats:
        return self.nugget


@dataclass
class Untouchable(Given):
    """A form of which no feature may be made."""

    def features(self, items: Ints | slice) -> Floats:
        raise AssertionError(items)


def dense(form: LowRankForm) -> Floats:
    features = form.features(slice(None))
    return features @ features.T + np.diag(form.nuggets())


def some_form(n: int = 7, rank: int = 3, *, seed: int = 0) -> Given:
    rng = np.random.default_rng(seed)
    return Given(rng.normal(size=(n, rank)), rng.uniform(0.1, 2.0, n))


def with_nuggets(form: Given, nugget: Floats | float) -> Given:
    return Given(form.rows, np.broadcast_to(np.asarray(nugget, dtype=float), len(form.rows)).copy())


@pytest.mark.parametrize("k", [1, 3, 6])
def test_draws_follow_the_determinants(k: int) -> None:
    form = some_form()

    law = LowRankKdpp.of(form).sized(k)

    assert_follows(law.draw, dense(form), k, rng=np.random.default_rng(k), draws=DRAWS)


@pytest.mark.parametrize("k", [2, 5])
def test_draws_follow_the_determinants_with_the_same_nugget_everywhere(k: int) -> None:
    form = with_nuggets(some_form(), 0.7)

    law = LowRankKdpp.of(form).sized(k)

    assert_follows(law.draw, dense(form), k, rng=np.random.default_rng(k), draws=DRAWS)


@pytest.mark.parametrize("k", [2, 5, 6])
def test_draws_follow_the_determinants_where_some_nuggets_are_zero(k: int) -> None:
    form = with_nuggets(some_form(rank=2), np.array([0.0, 0.0, 0.0, 0.5, 0.1, 2.0, 0.9]))

    law = LowRankKdpp.of(form).sized(k)

    assert_follows(law.draw, dense(form), k, rng=np.random.default_rng(k), draws=DRAWS)


@pytest.mark.parametrize("k", [2, 3])
def test_draws_follow_the_determinants_without_nuggets(k: int) -> None:
    form = with_nuggets(some_form(), 0.0)

    law = LowRankKdpp.of(form).sized(k)

    assert_follows(law.draw, dense(form), k, rng=np.random.default_rng(k), draws=DRAWS)


@pytest.mark.parametrize("scale", [1e-8, 1e8])
@pytest.mark.parametrize("nugget", [0.0, 0.7, None])
def test_the_scale_of_a_kernel_changes_no_draw(scale: float, nugget: float | None) -> None:
    form = some_form() if nugget is None else with_nuggets(some_form(), nugget)
    scaled = Given(form.rows * np.sqrt(scale), form.nugget * scale)

    law = LowRankKdpp.of(scaled).sized(3)

    assert_follows(law.draw, dense(form), 3, rng=np.random.default_rng(1), draws=DRAWS)


def test_twins_are_drawn_together_only_for_their_nuggets() -> None:
    form = some_form(rank=2)
    form.rows[3] = form.rows[2] = form.rows[1]
    form.nugget[[1, 2]] = 0.0

    law = LowRankKdpp.of(form).sized(4)

    assert_follows(law.draw, dense(form), 4, rng=np.random.default_rng(2), draws=DRAWS)


def test_a_wrong_law_is_noticed() -> None:
    form = some_form()

    law = LowRankKdpp.of(with_nuggets(form, 0.7)).sized(3)

    assert rejects(law.draw, dense(form), 3, rng=np.random.default_rng(3), draws=4 * DRAWS)


@pytest.mark.parametrize("draws", [DRAWS, pytest.param(60_000, marks=pytest.mark.soak)])
def test_draws_follow_the_determinants_together_with_what_was_drawn_before(draws: int) -> None:
    """The nuggets of what is known stand above the floor, which would change the law."""
    whole = some_form(9, 3)
    known = (2, 6)
    free = [0, 1, 3, 4, 5, 7, 8]
    part = Given(whole.rows[free], whole.nugget[free])

    conditioned = ConditionedForm.of(part, whole.rows[list(known)], whole.nugget[list(known)])

    law = LowRankKdpp.of(conditioned).sized(3)
    assert_follows(
        lambda rng: np.array(free)[law.draw(rng)],
        dense(whole),
        3,
        rng=np.random.default_rng(4),
        draws=draws,
        given=known,
    )


def test_a_certain_patch_drawn_before_takes_almost_its_whole_direction() -> None:
    form = some_form()

    conditioned = ConditionedForm.of(form, form.rows[:1], np.zeros(1))

    along = form.rows[0] / np.linalg.norm(form.rows[0])
    left = conditioned.features(slice(0, 1)) @ along
    assert left[0] ** 2 == pytest.approx(form.rows[0] @ form.rows[0] * FLOOR / (1 + FLOOR))
    assert conditioned.rank == form.rank
    np.testing.assert_array_equal(conditioned.nuggets(), form.nugget)


def test_as_many_known_patches_as_columns_erase_diversity() -> None:
    form = some_form(rank=3)

    assert not erases_diversity(form, 2)
    assert erases_diversity(form, 3)


@pytest.mark.parametrize("kind", ["different nuggets", "one nugget", "half without", "none"])
def test_three_hundred_patches_are_drawn_as_often_as_they_should(kind: str) -> None:
    rng = np.random.default_rng(5)
    nugget = {
        "different nuggets": rng.uniform(0, 0.1, 300),
        "one nugget": np.full(300, 0.05),
        "half without": np.where(np.arange(300) % 2, 0.0, rng.uniform(0, 0.3, 300)),
        "none": np.zeros(300),
    }[kind]
    k = 20 if kind == "none" else 60
    form = Given(rng.normal(size=(300, 24)) * np.geomspace(1, 0.1, 24), nugget)
    law = LowRankKdpp.of(form).sized(k)

    counted = np.bincount(np.concatenate([law.draw(rng) for _ in range(2_000)]), minlength=300)

    expected = analytic_inclusion(dense(form), k)
    z = (counted - 2_000 * expected) / np.sqrt(2_000 * expected * (1 - expected))
    assert z @ z < chi2.isf(1e-4, 300)
    found = law.inclusion()
    assert found is not None
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("k", [1, 4, 6])
def test_inclusion_is_that_of_the_dense_kernel(k: int) -> None:
    for form in (some_form(), with_nuggets(some_form(), 0.3), with_nuggets(some_form(), np.arange(7) * 0.2)):
        found = LowRankKdpp.of(form).sized(k).inclusion()

        assert found is not None
        np.testing.assert_allclose(found, analytic_inclusion(dense(form), k), atol=1e-9)


def test_patches_without_features_are_drawn_for_their_nuggets_alone() -> None:
    form = Given(np.zeros((5, 2)), np.array([0.2, 0.4, 0.6, 0.8, 1.0]))

    law = LowRankKdpp.of(form).sized(2)

    assert_follows(law.draw, np.diag(form.nugget), 2, rng=np.random.default_rng(6), draws=DRAWS)


def test_a_batch_above_the_rank_is_refused_before_any_feature_is_made() -> None:
    form = Untouchable(np.ones((20, 3)), np.concatenate([np.zeros(12), np.ones(8)]))
    kdpp = LowRankKdpp.of(form)

    with pytest.raises(SelectionError, match="a batch of 12 from a kernel of rank 11") as refusal:
        kdpp.sized(12)

    assert kdpp.most == 11
    assert refusal.value.possible == 11


def test_a_batch_above_what_twins_leave_is_refused() -> None:
    form = Given(np.ones((20, 3)), np.concatenate([np.zeros(12), np.ones(8)]))
    kdpp = LowRankKdpp.of(form)

    with pytest.raises(SelectionError, match="a batch of 10 from a kernel of rank 9") as refusal:
        kdpp.sized(10)

    assert refusal.value.possible == 9
    assert len(set(kdpp.sized(9).draw(np.random.default_rng(0)))) == 9


@pytest.mark.parametrize("k", [0, -3])
def test_a_batch_of_nothing_is_refused(k: int) -> None:
    kdpp = LowRankKdpp.of(Untouchable(np.ones((4, 2)), np.ones(4)))

    with pytest.raises(SelectionError, match=f"a batch of {k}, at least 1 was expected"):
        kdpp.sized(k)


def test_the_whole_pool_can_be_drawn() -> None:
    for nugget in (0.4, np.linspace(0.01, 3, 50)):
        form = with_nuggets(some_form(50, 4), nugget)

        drawn = LowRankKdpp.of(form).sized(50).draw(np.random.default_rng(7))

        assert sorted(drawn) == list(range(50))


def test_the_same_seed_gives_the_same_batch() -> None:
    rng = np.random.default_rng(8)
    embeddings = rng.normal(size=(3_000, 16)).astype(np.float32)
    form = Eq3DistanceForm.of(embeddings, rng.random(3_000), a=0.4, b=0.6)

    first = LowRankKdpp.of(form).sized(300).draw(np.random.default_rng(9))
    again = LowRankKdpp.of(form).sized(300).draw(np.random.default_rng(9))

    np.testing.assert_array_equal(first, again)
    assert len(set(first)) == 300


def test_features_of_a_large_pool_are_never_held_whole() -> None:
    """Whatever is kept is small: 150,000 x 64 numbers would be above the 32 MB that may be kept."""
    n = 150_000
    rng = np.random.default_rng(10)
    form = Given(np.broadcast_to(rng.normal(size=(1, 64)), (n, 64)), np.linspace(0.1, 0.2, n))

    drawn = LowRankKdpp.of(form).sized(40).draw(rng)

    assert len(set(drawn)) == 40
    assert max(form.asked) * 64 <= 1 << 20


def test_another_algebra_gives_the_same_law() -> None:
    torch_algebra = pytest.importorskip("trainer.selection.torch_algebra")
    form = some_form()

    law = LowRankKdpp.of(form, algebra=torch_algebra.TorchAlgebra("cpu")).sized(4)

    assert_follows(law.draw, dense(form), 4, rng=np.random.default_rng(11), draws=2_000)


def test_every_heavy_product_goes_through_the_algebra() -> None:
    class Counted(NumpyAlgebra):
        rows = 0

        def gram(self, parts: object) -> Floats:
            kept = list(parts)
            self.rows += sum(len(part) for part in kept)
            return super().gram(kept)

    algebra = Counted()

    LowRankKdpp.of(CosineForm(np.eye(40, 8, dtype=np.float32), 0.1), algebra=algebra).sized(5)

    assert algebra.rows == 40


def test_no_number_of_heads_is_more_probable_than_its_ceiling() -> None:
    rng = np.random.default_rng(12)
    for coins in (rng.random(14), rng.random(14) * 0.05, 1 - rng.random(14) * 0.05):
        for k in (1, 4, 9, 13):
            bounds = ceilings(coins, k, most_out=6)

            for out in range(7):
                for _ in range(20):
                    left = np.delete(coins, rng.choice(14, out, replace=False))
                    sums = np.array([1.0])
                    for coin in left:
                        sums = np.convolve(sums, [1 - coin, coin])
                    probability = sums[k - out] if 0 <= k - out < len(sums) else 0.0
                    assert probability <= bounds[out]


@dataclass(frozen=True)
class Impatient(Span):
    """A span that counts how often a first part is drawn from it, and gives up."""

    tries: list[int] = field(default_factory=list)

    def draw(self, columns: Ints, rng: np.random.Generator) -> Ints:
        self.tries.append(len(columns))
        assert len(self.tries) <= 200
        return super().draw(columns, rng)


def every_eighth_a_twin() -> LowRankForm:
    """The rows at equal distances are all the same one."""
    rng = np.random.default_rng(14)
    rows = rng.normal(size=(2_041, 80))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    rows[::8] = rows[0]
    return Given(rows, 0.001 * rng.uniform(0.9, 1.1, 2_041))


def few_unlike_among_many_alike() -> LowRankForm:
    rng = np.random.default_rng(15)
    embeddings = rng.normal(size=(4, 128))[rng.integers(0, 4, 8_000)] + 0.003 * rng.normal(size=(8_000, 128))
    scores = 0.02 * rng.uniform(0.5, 1.5, 8_000)
    unlike = rng.choice(8_000, 160, replace=False)
    embeddings[unlike] = rng.normal(size=(160, 128))
    scores[unlike] = rng.uniform(0.3, 0.9, 160)
    return Eq3DistanceForm.of(embeddings.astype(np.float32), scores, a=0.4, b=0.6)


@pytest.mark.parametrize(
    ("pool", "k"), [(every_eighth_a_twin, 60), (every_eighth_a_twin, 100), (few_unlike_among_many_alike, 150)]
)
def test_a_pool_of_near_copies_takes_few_tries_a_draw(pool: Callable[[], LowRankForm], k: int) -> None:
    law = LowRankKdpp.of(pool()).sized(k)
    span = Impatient(law.span.form, law.span.algebra, law.span.roots, law.span.values, law.span.turned)
    rng = np.random.default_rng(16)

    drawn = [replace(law, span=span).draw(rng) for _ in range(20)]

    assert all(len(set(batch)) == k for batch in drawn)
    assert len(span.tries) <= 60
    coins, others = law.coins, law.others
    expected = coins.sum() + others.sum() - others @ span.leverage(coins)
    variance = coins @ (1.0 - coins) + others @ (1.0 - others)
    assert abs(expected - k) <= max(1.0, np.sqrt(variance)) / 4.0


def test_a_tilt_estimated_from_twins_changes_no_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lowrank_tilt, "_SAMPLE", 0)
    monkeypatch.setattr(lowrank_tilt, "_SMALLEST_SAMPLE", 2)
    form = some_form(8)
    form.rows[7] = form.rows[0] = 0.05 * form.rows[0]
    form.nugget *= 0.1

    law = LowRankKdpp.of(form).sized(2)

    assert_follows(law.draw, dense(form), 2, rng=np.random.default_rng(17), draws=DRAWS)


def test_sizes_that_rounding_made_up_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Uncorrected, the tilt expects so many patches that the probability of a batch of 60 is lost among rounding."""
    monkeypatch.setattr(lowrank_tilt, "_ROUNDS", 1)
    kdpp = LowRankKdpp.of(every_eighth_a_twin())

    with pytest.raises(SelectionError, match="none is told from 0 in double precision; nothing was chosen"):
        kdpp.sized(60)

    monkeypatch.undo()
    assert len(set(kdpp.sized(60).draw(np.random.default_rng(18)))) == 60


@pytest.mark.soak
@pytest.mark.parametrize("k", range(1, 10))
def test_draws_follow_the_determinants_at_every_size(k: int) -> None:
    form = some_form(9, 4, seed=k)
    form.nugget[:2] = 0.0
    if k <= LowRankKdpp.of(form).most:
        law = LowRankKdpp.of(form).sized(k)

        assert_follows(law.draw, dense(form), k, rng=np.random.default_rng(k), draws=60_000)


def test_a_uniform_law_is_uniform() -> None:
    form = Given(np.zeros((12, 1)), np.ones(12))
    law = LowRankKdpp.of(form).sized(3)
    rng = np.random.default_rng(13)

    counted = np.bincount(np.concatenate([law.draw(rng) for _ in range(6_000)]), minlength=12)

    assert chisquare(counted).pvalue > 1e-4
