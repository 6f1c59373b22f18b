"""One arm of a study: fit, measure, score, choose, reveal, round by round.

A round is on disk before the next begins, with the batch that the next one learns: whoever goes on needs no model of
the past. All chance follows from the seed, the arm and the round, so a study that was killed goes on as it would have.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

from shared.clock import SystemClock
from shared.console import Step
from trainer.experiment.draws import fit_seed, random_start, rng_of
from trainer.experiment.learner import Clicked, Fitted, Ground, Labelled, Learner, Measured
from trainer.experiment.probes import Inverse
from trainer.experiment.recipe import CEILING, Arm
from trainer.experiment.record import Picks, RoundRecord
from trainer.selection.build import plan
from trainer.selection.kernels.similarity import choose_tau
from trainer.selection.numbers import Floats, Ints, Vectors
from trainer.selection.problem import Problem
from trainer.selection.strategies.meal import Meal
from trainer.selection.strategies.strategy import Strategy
from trainer.selection.twins import find_twins

#: The cosine above which a chosen unit counts as a near-duplicate of what is known; it is reported, and changes nothing.
NEAR: Final = 0.95
_UNSCORED: Final = ("random", "kcentre")
#: Strategies that a temperature says anything to.
_BY_KERNEL: Final = ("kdpp", "greedy")
_ROWS_AT_ONCE: Final = 1_024


@dataclass(slots=True)
class FirstRound:
    """The model of the start set, which arms that learn alike share."""

    fitted: dict[bytes, tuple[Fitted, Measured, float]] = field(default_factory=dict)
    #: The model of all labels, once a probe has asked for it.
    expert: Fitted | None = None


@dataclass(slots=True)
class Walk:
    """One arm under way; strategies live as long as it does, so that a layout is learned once."""

    arm: Arm
    seed: int
    ground: Ground
    learner: Learner
    #: ``(count, d)``, of every unit.
    embeddings: Vectors
    #: The same in the space that near-duplicates of all arms are told by.
    common: Vectors
    additions: tuple[int, ...]
    #: Arms of one key have the same first round.
    alike: bytes
    first: FirstRound
    #: Where a training under way is kept.
    keep: Path
    _kept: dict[tuple[str, str | None], Strategy] = field(default_factory=dict)

    def hold(self, done: list[RoundRecord], start: Picks, step: Step) -> RoundRecord:
        """Hold the round after those that are done."""
        clock = SystemClock()
        number = len(done)
        picks = done[-1].next if done else start
        assert picks is not None
        clicked = self.ground.clicked
        known = tuple(unit for record in done for unit in record.picks.units) + picks.units
        fitted, measured, fit_s = self._fitted(Labelled(known, number), _share(step, 0.0, 0.7))
        began = clock.monotonic()
        following, score_s = None, 0.0
        if clicked is not None and number + 1 < len(self.additions):
            spent = sum(record.picks.clicks or 0 for record in done) + (picks.clicks or 0)
            following = self._click(
                clicked, fitted, np.array(known), number + 1, spent=spent, step=_share(step, 0.8, 1.0)
            )
        elif number + 1 < len(self.additions):
            rest = np.setdiff1d(np.arange(self.ground.count), known)
            scores = self._scores(fitted, rest, _share(step, 0.8, 1.0))
            score_s = clock.monotonic() - began
            following = self._choose(rest, np.array(known), scores, number + 1)
        return RoundRecord(
            round=number,
            # Clicks go beyond their budget by less than the last region costs; the next batch has that less.
            labels=len(known) if clicked is None else sum(self.additions[: number + 1]),
            pixels=self.ground.pixels(known),
            split=self.ground.measured,
            value=measured.value,
            per_class=measured.per_class,
            picks=picks,
            next=following,
            fit_s=fit_s,
            score_s=score_s,
        )

    def _fitted(self, labelled: Labelled, step: Step) -> tuple[Fitted, Measured, float]:
        if labelled.round == 0 and self.alike in self.first.fitted:
            return self.first.fitted[self.alike]
        clock = SystemClock()
        began = clock.monotonic()
        seed = fit_seed(self.seed, labelled.round)
        fitted = self.learner.fit(labelled, seed=seed, step=_share(step, 0.0, 0.9), keep=self.keep)
        took = clock.monotonic() - began
        measured = fitted.measure(self.ground.measured, step=_share(step, 0.9, 1.0))
        if labelled.round == 0:
            # One model at a time: arms that learn alike stand together in a recipe more often than not.
            self.first.fitted = {self.alike: (fitted, measured, took)}
        return fitted, measured, took

    def _scores(self, fitted: Fitted, rest: Ints, step: Step) -> Floats | None:
        if self.arm.strategy in _UNSCORED or self.arm.weighting == "diversity":
            return None
        match self.arm.probe:
            case "most-incorrect":
                return fitted.mistakes(rest.tolist(), step=step)
            case "expert":
                return self._expert(_share(step, 0.0, 0.9)).scores(rest.tolist(), step=_share(step, 0.9, 1.0))
            case _:
                return fitted.scores(rest.tolist(), step=step)

    def _expert(self, step: Step) -> Fitted:
        """Return the model of all labels, which the arms of a seed share."""
        if self.first.expert is None:
            everything = Labelled(range(self.ground.count), 0)
            self.first.expert = self.ground.learner(CEILING).fit(
                everything, seed=fit_seed(self.seed, 0), step=step, keep=self.keep / "expert"
            )
        return self.first.expert

    def _click(self, clicked: Clicked, fitted: Fitted, known: Ints, number: int, *, spent: int, step: Step) -> Picks:
        """Choose what comes next to the budget of clicks up to that round."""
        clock = SystemClock()
        began = clock.monotonic()
        rng = rng_of(self.seed, f"arm/{self.arm.name}", number)
        budget = sum(self.additions[: number + 1]) - spent
        filled = clicked.choose(self.arm, fitted, known, budget, rng=rng, step=step)
        return Picks(
            units=tuple(filled.indices.tolist()),
            strategy=self.arm.strategy,
            seconds=clock.monotonic() - began,
            clicks=filled.clicks,
            notes=filled.notes,
        )

    def _choose(self, rest: Ints, known: Ints, scores: Floats | None, number: int) -> Picks:
        """Choose among the units that are not known, as the product's rounds do."""
        clock = SystemClock()
        rng = rng_of(self.seed, f"arm/{self.arm.name}", number)
        k = self.additions[number]
        began = clock.monotonic()
        kept = _offered(self.embeddings[rest], scores, above=self.arm.near_duplicates)
        offered = rest[kept]
        vectors = self.embeddings[offered]
        tau = (self.arm.tau or choose_tau(vectors, k, rng)) if self.arm.strategy in _BY_KERNEL else None
        problem = Problem(vectors, None if scores is None else scores[kept], self.embeddings[known], tau or 1.0)
        how = plan(self.arm, n=problem.n, k=k, known=len(known), scored=scores is not None)
        planned: Strategy = Inverse() if self.arm.probe == "inverse" else how.strategy
        strategy = self._kept.setdefault((planned.name, how.sampler), planned)
        if strategy is planned and isinstance(strategy, Meal):
            self._lay_out(strategy)
        choice = strategy.choose(problem, k, rng)
        took = clock.monotonic() - began
        units = offered[choice.indices]
        return Picks(
            units=tuple(units.tolist()),
            strategy=strategy.name,
            sampler=how.sampler,
            seconds=took,
            near_duplicates=near_duplicate_share(self.common[units], self.common[known], above=NEAR),
            tau=tau,
            notes=how.notes + choice.notes,
        )

    def _lay_out(self, strategy: Meal) -> None:
        """Let MEAL learn its layout of all units: whoever goes on after a kill has the same one."""
        n = len(self.embeddings)
        nothing = np.empty((0, self.embeddings.shape[1]), dtype=np.float32)
        everything = Problem(self.embeddings, np.arange(n) / n, nothing, 1.0)
        strategy.choose(everything, 1, rng_of(self.seed, f"layout/{self.arm.name}", 0))


def start_by_lot(ground: Ground, first: int, *, seed: int) -> Picks:
    """Draw the start set that all arms share by lot: so many units, or so many clicks."""
    if ground.clicked is None:
        return Picks(units=random_start(seed, count=ground.count, first=first), strategy="random")
    filled = ground.clicked.start(first, rng_of(seed, "start", 0))
    return Picks(units=tuple(filled.indices.tolist()), strategy="random", clicks=filled.clicks, notes=filled.notes)


def start_by_kernel(vectors: Vectors, first: int, *, seed: int) -> Picks:
    """Draw the start set that all arms share by the k-DPP of embeddings alone (A7)."""
    clock = SystemClock()
    began = clock.monotonic()
    rng = rng_of(seed, "start", 0)
    arm = Arm(name="start", weighting="diversity")
    tau = choose_tau(vectors, first, rng)
    how = plan(arm, n=len(vectors), k=first, known=0, scored=False)
    nothing = np.empty((0, vectors.shape[1]), dtype=np.float32)
    choice = how.strategy.choose(Problem(vectors, None, nothing, tau), first, rng)
    return Picks(
        units=tuple(choice.indices.tolist()),
        strategy="kdpp",
        sampler=how.sampler,
        seconds=clock.monotonic() - began,
        near_duplicates=near_duplicate_share(vectors[choice.indices], nothing, above=NEAR),
        tau=tau,
        notes=how.notes + choice.notes,
    )


def near_duplicate_share(chosen: Vectors, known: Vectors, *, above: float) -> float:
    """Return the share of chosen units that are near one that is known, or near one chosen before them."""
    near = 0
    for start in range(0, len(chosen), _ROWS_AT_ONCE):
        rows = chosen[start : start + _ROWS_AT_ONCE]
        before = rows @ chosen[: start + len(rows)].T
        # Only what was chosen earlier than the row itself.
        before = np.tril(before, k=start - 1)
        found = (before > above).any(axis=1)
        if len(known):
            found |= (rows @ known.T > above).any(axis=1)
        near += int(found.sum())
    return near / len(chosen) if len(chosen) else 0.0


def _offered(vectors: Vectors, scores: Floats | None, *, above: float | None) -> Ints:
    """Keep one of each group of near-duplicates, the one with the highest score."""
    everything = np.arange(len(vectors))
    if above is None:
        return everything
    leaders = find_twins(vectors, above=above)
    order = everything if scores is None else np.lexsort((everything, -scores))
    _, places = np.unique(leaders[order], return_index=True)
    return np.sort(order[places])


def _share(step: Step, start: float, end: float) -> Step:
    """Tell the progress of a part of the work as that of the whole, in thousandths."""
    return lambda done, total: step(round(1000 * (start + (end - start) * done / max(total, 1))), 1000)
