"""The k-DPP: a weighting says which batches are good, a sampler draws one of them in proportion.

While no model has scored the pool, every patch counts as fully uncertain.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.ways import Sampler, Weighting
from trainer.selection.algebra import best_algebra
from trainer.selection.kernels.conditioned import ConditionedForm, erases_diversity
from trainer.selection.kernels.eq3 import Eq3DistanceForm, Eq3DistanceKernel, diagnose_literal, refuse_literal
from trainer.selection.kernels.kernel import Kernel, LowRankForm
from trainer.selection.kernels.quality import QualityKernel, quality
from trainer.selection.likeliest import draw_likeliest
from trainer.selection.neighbourhoods import cut
from trainer.selection.numbers import Floats
from trainer.selection.pinned import one_thread
from trainer.selection.problem import Choice, Problem, SelectionError, check_rank
from trainer.selection.samplers.block import BlockKdpp, neighbourhood_size
from trainer.selection.samplers.conditioning import nearest_known
from trainer.selection.samplers.dense import DENSE_LIMIT, DenseKdpp
from trainer.selection.samplers.dppy import CHAIN_LIMIT, EXACT_LIMIT, draws_by_chain, draws_exactly, enough_steps
from trainer.selection.samplers.law import Law
from trainer.selection.samplers.lowrank import LowRankKdpp
from trainer.selection.twins import TWINS_UP_TO, find_twins

#: Patches that share a neighbourhood, so that no cut falls between them.
_TWINS_ABOVE: Final = 0.99
_ROWS_AT_ONCE: Final = 1_024


@dataclass(frozen=True, slots=True)
class _Told:
    """A law, and what should be told about how it came about."""

    law: Law
    notes: tuple[str, ...] = ()


class Kdpp:
    """A draw of ``k`` patches with ``P(S)`` in proportion to ``det(L_S)``."""

    name = "kdpp"

    def __init__(
        self, *, weighting: Weighting, sampler: Sampler, a: float, b: float, conditioned: bool, draws: int = 1
    ) -> None:
        self._weighting = weighting
        self._sampler = sampler
        self._a = a
        self._b = b
        self._conditioned = conditioned
        self._draws = draws

    def choose(self, problem: Problem, k: int, rng: np.random.Generator) -> Choice:
        problem.check_size(k)
        if self._weighting == "eq3-literal":
            scores = problem.varied_scores()
            refuse_literal(diagnose_literal(problem.embeddings, scores, a=self._a, b=self._b, rng=rng))
        scores, notes = self._uncertainty(problem)
        if self._sampler == "lowrank":
            told = self._lowrank(problem, scores, k)
            drawn = told.law.draw(rng)
        else:
            kernel, conditioning = self._kernel(problem, scores)
            check_rank(k, kernel.rank_bound())
            told = _law(kernel, k, self._sampler, rng)
            notes += conditioning
            drawn = draw_likeliest(told.law, kernel, self._draws, rng)
        notes += told.notes
        if self._draws > 1:
            # The chances of the law are those of one draw.
            return Choice(drawn, notes=(*notes, f"the likeliest of {self._draws} draws"))
        inclusion = told.law.inclusion()
        return Choice(drawn, None if inclusion is None else inclusion[drawn], notes=notes)

    def _uncertainty(self, problem: Problem) -> tuple[Floats, tuple[str, ...]]:
        if self._weighting == "diversity":
            return np.ones(problem.n), ()
        if problem.scores is None:
            return np.ones(problem.n), ("no scores: every patch counts as fully uncertain",)
        return problem.varied_scores(), ()

    def _kernel(self, problem: Problem, scores: Floats) -> tuple[Kernel, tuple[str, ...]]:
        known = problem.labelled if self._conditioned else problem.labelled[:0]
        if self._weighting == "eq3-distance":
            kernel = Eq3DistanceKernel(problem.embeddings, scores, self._a, self._b)
            return kernel, ("not conditioned on what is labelled: eq3-distance only is on lowrank",) * bool(len(known))
        weights = quality(scores, a=self._a, b=self._b)
        notes = (f"conditioned on {len(known):,} labelled patches",) * bool(len(known))
        return QualityKernel(problem.embeddings, weights, problem.tau, known), notes

    def _lowrank(self, problem: Problem, scores: Floats, k: int) -> _Told:
        if self._weighting != "eq3-distance":
            raise SelectionError(
                f"sampler lowrank: weighting {self._weighting} has full rank, eq3-distance was expected; "
                "nothing was chosen, sampler block draws it"
            )
        form = Eq3DistanceForm.of(problem.embeddings, scores, a=self._a, b=self._b)
        check_rank(k, form.rank + int(np.count_nonzero(form.nuggets())))
        notes: tuple[str, ...] = ()
        if k > form.rank:
            notes += (
                f"{k:,} patches from a kernel of rank {form.rank}: beyond the rank it draws by weight and no longer by unlikeness",
            )
        known = problem.labelled if self._conditioned else problem.labelled[:0]
        given: LowRankForm = form
        if len(known) and erases_diversity(form, len(known)):
            notes += (
                f"not conditioned on what is labelled: {len(known):,} patches would erase all diversity of a kernel of rank {form.rank}",
            )
        elif len(known):
            # A labelled patch is a certain one.
            given = ConditionedForm.of(form, form.certain(known), np.zeros(len(known)))
            notes += (f"conditioned on {len(known):,} labelled patches",)
        return _Told(LowRankKdpp.of(given, algebra=best_algebra()).sized(k), notes)


def _law(kernel: Kernel, k: int, sampler: Sampler, rng: np.random.Generator) -> _Told:
    match sampler:
        case "block":
            n = len(kernel.embeddings)
            most = neighbourhood_size(n)
            twins = find_twins(kernel.embeddings, above=_TWINS_ABOVE) if n <= TWINS_UP_TO else None
            neighbourhoods = cut(kernel.embeddings, most=most, groups=twins, rng=rng)
            block = BlockKdpp.of(kernel, neighbourhoods, algebra=best_algebra())
            count = len(neighbourhoods.leaves)
            cuts = (f"{count:,} neighbourhoods of about {n // count:,} patches",) if count > 1 else ()
            return _Told(block.sized(k), cuts + block.notes)
        case "dense":
            matrix, notes = _whole(kernel, limit=DENSE_LIMIT, sampler=sampler)
            return _Told(DenseKdpp.of(matrix).sized(k), notes)
        case "dppy-exact":
            matrix, notes = _whole(kernel, limit=EXACT_LIMIT, sampler=sampler)
            return _Told(draws_exactly(matrix, k), notes)
        case "dppy-mcmc":
            matrix, notes = _whole(kernel, limit=CHAIN_LIMIT, sampler=sampler)
            return _Told(draws_by_chain(matrix, k, enough_steps(len(matrix), k)), notes)
        case "lowrank":
            raise AssertionError


def _whole(kernel: Kernel, *, limit: int, sampler: str) -> tuple[Floats, tuple[str, ...]]:
    """Write the kernel out, ``(n, n)``, less what the labelled explain."""
    n = len(kernel.embeddings)
    if n > limit:
        raise SelectionError(
            f"sampler {sampler}: {n} patches, at most {limit} fit one decomposition; nothing was chosen, sampler block takes any number"
        )
    everything = np.arange(n)
    known, notes = nearest_known(kernel, most=DENSE_LIMIT)
    with one_thread():
        matrix = kernel.among(everything)
        if len(known):
            part = kernel.explained(everything, known)
            for start in range(0, n, _ROWS_AT_ONCE):
                matrix[start : start + _ROWS_AT_ONCE] -= part[start : start + _ROWS_AT_ONCE] @ part.T
    return matrix, notes
