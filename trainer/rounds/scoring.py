"""Re-scoring: the newest run's score and class of every candidate that waits in the pool."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from shared.errors import StateError
from trainer.acquisition.balance import balanced
from trainer.acquisition.line import centre_scorer, score_name
from trainer.acquisition.rescore import rescore_by
from trainer.acquisition.scorer import MaskScorer
from trainer.acquisition.scoring import MaskGraph
from trainer.learning.model import best_device
from trainer.learning.weights import load_run
from trainer.rounds.workbench import Workbench
from trainer.selection.numbers import Floats

_AT_ONCE = 512


def score_pool(bench: Workbench, run: str, number: int, ids: list[str]) -> None:
    """Score these crops with a run, in pieces that are kept when the worker ends in the middle."""
    scorer: MaskGraph | MaskScorer | None = None
    with bench.progress("score", number) as step:
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            if not _has_scores(bench, some, run):
                scorer = scorer or centre_scorer(load_run(bench.paths.runs / run)[0], bench.line).to(best_device())
                _score(bench, scorer, run, some)
            step(min(start + _AT_ONCE, len(ids)), len(ids))


def pool_scores(bench: Workbench, run: str, ids: Sequence[str]) -> Floats:
    """Read what a run gave these candidates."""
    return bench.pool.scores(ids, score_name(bench.line, run))


def pool_classes(bench: Workbench, run: str, ids: Sequence[str]) -> NDArray[np.intp]:
    """Read which class a run saw most of in these candidates."""
    return bench.pool.predictions(ids, score_name(bench.line, run))


def weighed_scores(bench: Workbench, run: str, ids: Sequence[str]) -> Floats:
    """Read what these candidates are worth: their scores, and more for rare classes where the line asks for it."""
    scores = pool_scores(bench, run, ids)
    if not bench.line.acquisition.class_balanced:
        return scores
    return balanced(scores, pool_classes(bench, run, ids), classes=len(bench.line.classes))


def _has_scores(bench: Workbench, ids: list[str], run: str) -> bool:
    try:
        # A score without a class is from an older pool.
        bench.pool.predictions(ids, score_name(bench.line, run))
    except StateError:
        return False
    return True


def _score(bench: Workbench, scorer: MaskGraph | MaskScorer, run: str, ids: list[str]) -> None:
    def polite(done: int, total: int) -> None:  # noqa: ARG001  # the progress shown is the whole pool's
        bench.check()

    rescored = rescore_by(
        scorer,
        (crop for _, crop in bench.pool.crops(ids, channels=bench.line.grid.channels)),
        grid=bench.line.grid,
        total=len(ids),
        step=polite,
    )
    bench.pool.store_scores(score_name(bench.line, run), ids, rescored.scores, rescored.classes.tolist())
