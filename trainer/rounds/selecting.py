"""Select: re-score the pool, draw the reference set's share and the batch, and say why each patch is in it.

Nothing is committed here: the worker hands over the picks and moves the round in one transaction.
"""

from dataclasses import dataclass, replace
from typing import Final

from scipy.stats import spearmanr

from shared.errors import StateError
from trainer.pool.pool import Pick
from trainer.pool.records import FLOOR
from trainer.rounds.collecting import received
from trainer.rounds.embedding import Embedder
from trainer.rounds.machine import HandedOver, Round
from trainer.rounds.scoring import pool_classes, pool_scores, score_pool, weighed_scores
from trainer.rounds.workbench import Workbench
from trainer.selection.batch import Batch, Embedded, choose_batch
from trainer.selection.explaining import Explanation
from trainer.selection.numbers import Floats
from trainer.selection.problem import SelectionError
from trainer.selection.reference import choose_reference, is_reserved, reference_count

#: Retention may drop a candidate while it is looked at; then the stage looks again.
_TRIES: Final = 5
#: Fewer pairs of scores say nothing about their order.
_FEWEST_SCORES: Final = 10


@dataclass(frozen=True, slots=True)
class Selection:
    """What one selection chose: training patches with their batch, and reference patches."""

    batch: Batch
    reference: tuple[str, ...]
    reference_explanation: Explanation
    #: Spearman's rank correlation of the nodes' scores with the re-scores; None where there are too few of either.
    rank_correlation: float | None
    received: int

    @property
    def picks(self) -> list[Pick]:
        """What is handed over, the reference set's share first."""
        return [Pick(name, "reference", dict(self.reference_explanation)) for name in self.reference] + [
            Pick(name, "train", dict(why)) for name, why in zip(self.batch.ids, self.batch.explanations, strict=True)
        ]

    @property
    def fact(self) -> HandedOver:
        """What the round learns from it."""
        return HandedOver(
            train=len(self.batch.ids),
            reference=len(self.reference),
            received=self.received,
            rank_correlation=self.rank_correlation,
        )


def select(bench: Workbench, round_: Round) -> Selection:
    """Choose a round's batch; the same pool, round and seed give the same batch."""
    for tries_left in range(_TRIES - 1, -1, -1):
        try:
            selection = _select(bench, round_)
        except SelectionError:
            # Looking again would not change it.
            raise
        except StateError:
            if not tries_left:
                raise
            bench.wait()
        else:
            _tell_notes(bench, round_, selection)
            return selection
    raise AssertionError


def _select(bench: Workbench, round_: Round) -> Selection:
    assert round_.space is not None
    line, settings = bench.line.line, bench.line.selection
    Embedder(bench).catch_up(round_.space, round_.number)
    come = received(bench)
    # The cameras do not wait: what comes from here on is the next selection's.
    ids = bench.pool.ids(line, space=round_.space)
    if round_.run is not None:
        score_pool(bench, round_.run, round_.number, ids)
    floor = [name for name in bench.pool.ids(line, reason=FLOOR) if is_reserved(name, settings)]
    wanted = reference_count(settings, round_.number)
    reference, why = choose_reference(floor, wanted, bench.rng(round_.number, "reference"))
    eligible = tuple(sorted(set(ids) - set(floor)))
    # What a class is worth to the batch says nothing of how node and trainer agree.
    scores = None if round_.run is None else pool_scores(bench, round_.run, eligible)
    worth = None if round_.run is None else weighed_scores(bench, round_.run, eligible)
    batch = _batch(bench, round_, eligible, worth, k=settings.batch - wanted)
    return Selection(batch, reference, why, _agreement(bench, eligible, scores), come)


def _batch(bench: Workbench, round_: Round, eligible: tuple[str, ...], scores: Floats | None, *, k: int) -> Batch:
    """Choose ``k`` training patches, or as many as there can be: a running line does not stop over a small pool."""
    assert round_.space is not None
    if not k:
        return Batch()
    pool = _embedded(bench, eligible, round_.space)
    labelled = _embedded(bench, _known(bench), round_.space)
    groups, notes = _groups(bench, round_, eligible)
    if scores is not None and len(scores) > 1 and scores.min() == scores.max():
        notes += (f"scores: all {len(scores)} are {scores[0]:g}; the batch is chosen without them",)
        scores = None
    while True:
        try:
            batch = choose_batch(
                pool,
                scores=scores,
                labelled=labelled,
                groups=groups,
                fit_places=True,
                settings=bench.line.selection,
                k=k,
                rng=bench.rng(round_.number, "batch"),
            )
        except SelectionError as error:
            if not error.possible or error.possible >= k:
                raise
            k = error.possible
            notes += (f"{str(error).partition(';')[0]}; the round takes {k}",)
        else:
            return replace(batch, notes=notes + batch.notes)


def _groups(bench: Workbench, round_: Round, eligible: tuple[str, ...]) -> tuple[list[str] | None, tuple[str, ...]]:
    """Name each patch's group where the line has a quota and there is something to go by."""
    quota = bench.line.selection.quota
    if quota is None:
        return None, ()
    if quota.by == "camera":
        return [f"{entry.node}/{entry.camera}" for entry in bench.pool.entries(eligible)], ()
    if round_.run is None:
        return None, ("quota: no model has seen the patches yet, the batch is chosen without it",)
    return [bench.line.class_names[value] for value in pool_classes(bench, round_.run, eligible)], ()


def _tell_notes(bench: Workbench, round_: Round, selection: Selection) -> None:
    wanted = reference_count(bench.line.selection, round_.number)
    notes = list(selection.batch.notes)
    if len(selection.reference) < wanted:
        notes.append(f"{len(selection.reference)} floor patches wait for the reference set, {wanted} were asked for")
    for note in notes:
        bench.event("note", f"round {round_.number}: {note}", round=round_.number, note=note)


def _known(bench: Workbench) -> tuple[str, ...]:
    """List what a new batch must be unlike: what training sees. The reference set is not part of it: no model learns from it."""
    line = bench.line.line
    return tuple(sorted([*bench.pool.labelled(line, "seed"), *bench.pool.labelled(line, "train")]))


def _embedded(bench: Workbench, ids: tuple[str, ...], space: str) -> Embedded:
    return Embedded(ids, bench.pool.embeddings(ids, space), space)


def _agreement(bench: Workbench, ids: tuple[str, ...], scores: Floats | None) -> float | None:
    if scores is None:
        return None
    sent = [entry.score for entry in bench.pool.entries(ids)]
    both = [(mine, ours) for mine, ours in zip(sent, scores, strict=True) if mine is not None]
    if len(both) < _FEWEST_SCORES or min(len(set(column)) for column in zip(*both, strict=True)) < 2:
        return None
    mine, ours = zip(*both, strict=True)
    return float(spearmanr(mine, ours).statistic)
