"""A batch and why each patch is in it; the reference set's share of it.

Actively chosen labels never judge a model: which floor patches may become reference is settled by their ids before any
strategy sees the pool, so that what is chosen for training leaves the reference uniform.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from shared.config import SelectionTable
from shared.identity import sha256_hex
from trainer.selection.build import build_strategy
from trainer.selection.kernels import Floats, choose_tau, novelty
from trainer.selection.strategies.strategy import Problem


class Explanation(TypedDict):
    """Why one patch is in the batch."""

    strategy: str
    score: float | None
    marginal: float
    nearest_labelled: str | None
    nearest_labelled_cos: float | None
    nearest_chosen: str | None
    nearest_chosen_cos: float | None
    novelty: float | None


@dataclass(frozen=True, slots=True)
class Batch:
    """The chosen ids in the order drawn, with their explanations."""

    ids: tuple[str, ...]
    explanations: tuple[Explanation, ...]
    tau: float
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Embedded:
    """Candidates with their embeddings, ``(n, d)`` of unit length in one space."""

    ids: tuple[str, ...]
    embeddings: Floats


def reference_count(settings: SelectionTable, round_number: int) -> int:
    """How many labels of a round's batch go to the reference set."""
    share = settings.reference_share_first if round_number == 0 else settings.reference_share
    return round(share * settings.batch)


def is_reserved(candidate: str, settings: SelectionTable) -> bool:
    """Say whether a floor patch may only ever be reference: a fixed share of them, by the hash of the id."""
    share = max(settings.reference_share_first, settings.reference_share)
    return int(sha256_hex(f"reference/{candidate}".encode())[:8], 16) < share * 2**32


def choose_batch(
    pool: Embedded,
    *,
    scores: Floats | None,
    labelled: Embedded,
    settings: SelectionTable,
    k: int,
    rng: np.random.Generator,
) -> Batch:
    """Choose ``k`` patches of the pool by the line's strategy and explain each."""
    strategy = build_strategy(settings)
    tau = settings.tau or choose_tau(pool.embeddings, k, rng)
    problem = Problem(embeddings=pool.embeddings, scores=scores, labelled=labelled.embeddings, tau=tau)
    choice = strategy.choose(problem, k, rng)
    ids = tuple(pool.ids[index] for index in choice.indices)
    vectors = pool.embeddings[choice.indices]
    new = novelty(vectors, labelled.embeddings, tau=tau)
    known = _nearest(vectors, labelled.embeddings, labelled.ids, itself=False)
    beside = _nearest(vectors, vectors, ids, itself=True)
    explanations = tuple(
        Explanation(
            strategy=strategy.name,
            score=None if scores is None else float(scores[index]),
            marginal=float(choice.marginals[place]),
            nearest_labelled=known[place][0],
            nearest_labelled_cos=known[place][1],
            nearest_chosen=beside[place][0],
            nearest_chosen_cos=beside[place][1],
            novelty=float(new[place]),
        )
        for place, index in enumerate(choice.indices)
    )
    return Batch(ids, explanations, tau, choice.notes)


def choose_reference(floor: Sequence[str], k: int, rng: np.random.Generator) -> tuple[tuple[str, ...], Explanation]:
    """Draw ``k`` of the reserved floor patches uniformly, or all when there are fewer, with their one explanation."""
    chosen = tuple(floor[index] for index in rng.permutation(len(floor))[:k])
    return chosen, Explanation(
        strategy="reference",
        score=None,
        marginal=len(chosen) / len(floor) if floor else 0.0,
        nearest_labelled=None,
        nearest_labelled_cos=None,
        nearest_chosen=None,
        nearest_chosen_cos=None,
        novelty=None,
    )


def _nearest(
    rows: Floats, columns: Floats, names: Sequence[str], *, itself: bool
) -> list[tuple[str | None, float | None]]:
    """Name each row's nearest column; ``itself`` when both are the same set and a row is not its own neighbour."""
    if len(columns) < 1 + itself or not len(rows):
        return [(None, None)] * len(rows)
    cosines = rows @ columns.T
    if itself:
        np.fill_diagonal(cosines, -np.inf)
    best = cosines.argmax(axis=1)
    return [(names[index], float(cosines[row, index])) for row, index in enumerate(best)]
