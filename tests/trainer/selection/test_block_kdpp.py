"""What the block sampler promises beside its law: the same draw always, bounded memory, named refusals."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.trainer.selection.blocks import block, neighbourhoods, quality_kernel, unit
from trainer.selection.algebra import NumpyAlgebra, Spectrum
from trainer.selection.kernels.kernel import Explaining
from trainer.selection.neighbourhoods import cut
from trainer.selection.numbers import Floats, Ints, Vectors
from trainer.selection.problem import SelectionError
from trainer.selection.samplers import conditioning
from trainer.selection.samplers.block import BlockKdpp, neighbourhood_size


@dataclass(frozen=True)
class Tabled:
    """A kernel given as a matrix: what no weighting would give, too."""

    matrix: Floats
    embeddings: Vectors
    labelled: Vectors = field(default_factory=lambda: np.empty((0, 4), dtype=np.float32))

    def diagonal(self) -> Floats:
        return self.matrix.diagonal().copy()

    def among(self, items: Ints) -> Floats:
        return self.across(items, items)

    def across(self, rows: Ints, columns: Ints) -> Floats:
        return self.matrix[np.ix_(rows, columns)]

    # Nothing is known in these draws: whoever asks what is explained fails.
    def explained(self, items: Ints, known: Ints) -> Floats:
        raise NotImplementedError

    def explaining(self, known: Ints) -> Explaining:
        raise NotImplementedError

    def rank_bound(self) -> int:
        return len(self.matrix)


def test_every_patch_is_drawn_when_all_are_asked_for() -> None:
    kernel = quality_kernel(60, seed=1, d=8, tau=0.1)
    sampler = block(kernel, 20)
    assert sampler.rank == 60

    law = sampler.sized(60)

    assert sorted(law.draw(np.random.default_rng(0))) == list(range(60))
    assert law.inclusion() == pytest.approx(np.ones(60), abs=1e-6)


def test_any_number_of_workers_draws_the_same() -> None:
    kernel = quality_kernel(400, seed=8, m=30)

    laws = [block(kernel, 40, workers=workers).sized(70) for workers in (1, 2, 5)]

    drawn = [law.draw(np.random.default_rng(3)).tolist() for law in laws]
    assert drawn[0] == drawn[1] == drawn[2]
    assert all(np.array_equal(laws[0].inclusion(), law.inclusion()) for law in laws[1:])


def test_the_same_seed_gives_the_same_batch_and_another_seed_another() -> None:
    law = block(quality_kernel(200, seed=8), 40).sized(30)

    first, again, other = (law.draw(np.random.default_rng(seed)).tolist() for seed in (3, 3, 4))

    assert first == again
    assert sorted(first) != sorted(other)


def test_eigenvectors_that_do_not_fit_are_found_again_and_draw_the_same() -> None:
    kernel = quality_kernel(400, seed=8, m=30)
    kept = block(kernel, 40)
    found_again = block(kernel, 40, kept_bytes=4 * 4 * 40**2)

    laws = [sampler.sized(70) for sampler in (kept, found_again)]

    assert [part.vectors is None for part in found_again.parts] == [False] * 4 + [True] * 6
    assert laws[0].draw(np.random.default_rng(3)).tolist() == laws[1].draw(np.random.default_rng(3)).tolist()
    assert np.array_equal(laws[0].inclusion(), laws[1].inclusion())
    assert kept.notes == ()
    assert found_again.notes == (
        "eigenvectors of 6 of 10 neighbourhoods do not fit into 25,600 bytes; each draw finds them again",
    )


def test_more_labelled_patches_than_a_neighbourhood_takes_leave_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = quality_kernel(60, seed=9, m=50)
    monkeypatch.setattr(conditioning, "KNOWN_LIMIT", 7)

    sampler = block(kernel, 60)

    nearness = (kernel.labelled @ kernel.embeddings.T).max(axis=1)
    assert set(sampler.leaves[0].known) == set(np.argsort(-nearness)[:7])
    assert sampler.notes == (
        "50 labelled patches in 1 neighbourhoods; each is conditioned on the 7 nearest to one of its patches",
    )


def test_a_batch_above_the_rank_is_refused_and_says_what_is_possible() -> None:
    kernel = quality_kernel(12, seed=1)
    kernel.embeddings[:] = kernel.embeddings[np.arange(12) % 3]
    sampler = BlockKdpp.of(kernel, neighbourhoods(kernel, 12), algebra=NumpyAlgebra(), workers=1)

    with pytest.raises(SelectionError, match="a batch of 4 from a kernel of rank 3") as refusal:
        sampler.sized(4)
    with pytest.raises(SelectionError, match="a batch of 0"):
        sampler.sized(0)

    assert refusal.value.possible == sampler.rank == 3
    assert len(sampler.sized(3).draw(np.random.default_rng(0))) == 3


def test_a_kernel_with_a_negative_eigenvalue_is_refused_and_left_as_it_was() -> None:
    vectors = unit(np.random.default_rng(0).standard_normal((6, 4)))
    matrix = np.eye(6)
    matrix[0, 1] = matrix[1, 0] = 1.5
    before = matrix.copy()

    with pytest.raises(SelectionError, match=r"6 patches has the eigenvalue -0\.5, the largest is 2\.5, none below 0"):
        BlockKdpp.of(
            Tabled(matrix, vectors), cut(vectors, most=6, rng=np.random.default_rng(0)), algebra=NumpyAlgebra()
        )

    assert (matrix == before).all()


class Recording(NumpyAlgebra):
    """Counts how many matrices come together."""

    at_once = 4

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def eigh(self, matrices: Sequence[Floats]) -> list[Spectrum]:
        self.sizes.append(len(matrices))
        return super().eigh(matrices)


def test_an_algebra_is_given_as_many_neighbourhoods_as_it_likes_together() -> None:
    kernel = quality_kernel(100, seed=2)
    algebra = Recording()

    sampler = BlockKdpp.of(kernel, neighbourhoods(kernel, 10), algebra=algebra, workers=1)

    assert algebra.sizes == [4, 4, 2]
    assert np.array_equal(sampler.sized(9).inclusion(), block(kernel, 10).sized(9).inclusion())


def test_neighbourhoods_shrink_with_the_cube_root_of_the_pool() -> None:
    assert neighbourhood_size(1) == neighbourhood_size(4_000) == neighbourhood_size(40_000) == 800
    assert neighbourhood_size(320_000) == 400
    assert neighbourhood_size(2_560_000) == 200
