"""Ways to choose which patches of a stream are sent: winnow's filter and its rivals, all within one budget."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_agent.stream.budget import Budget, Rate
from edge_agent.stream.filter import StreamFilter
from shared.config import BudgetTable, FilterTable, SelectionTable
from shared.release import SpaceEntry

Mask = NDArray[np.bool_]
#: As many as winnow's own memory holds.
MEMORY: Final = 1024
#: Halvings in the search for the threshold that spends the budget.
_HALVINGS: Final = 12


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One frame as the contenders see it, patch by patch."""

    #: ``(n,)`` in [0, 1].
    scores: NDArray[np.float64]
    #: ``(n, d)``, rows of length one.
    embeddings: NDArray[np.float32]
    #: ``(n, h, w)``, small pictures of the patches.
    pictures: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Terms:
    """What every contender is told: the budget, the pace and the space."""

    budget: BudgetTable
    frames_per_s: float
    tau: float


class Contender(Protocol):
    """One way to choose."""

    name: str

    def offer(self, now: float, seen: Seen) -> Mask:
        """Say which of a frame's patches are sent."""


class Winnow:
    """The stream filter as nodes run it, with the gate given: how large a share of the scores is looked at closely."""

    def __init__(self, name: str, terms: Terms, dim: int, *, seed: int, gate_share: float) -> None:
        self.name = name
        settings = FilterTable(gate_share=gate_share)
        self._filter = StreamFilter(terms.budget, settings, SelectionTable(), rng=np.random.default_rng(seed))
        self._filter.swap(scored=True, space=SpaceEntry(id="0" * 64, dim=dim, tau=terms.tau))

    def offer(self, now: float, seen: Seen) -> Mask:
        screening = self._filter.screen(now, len(seen.scores), seen.scores)
        verdicts = self._filter.judge(now, screening, seen.embeddings[screening.wanted])
        return np.array([verdict.accepted for verdict in verdicts])


class Random:
    """Each patch with the same chance, as many as the budget brings in."""

    name = "random"

    def __init__(self, terms: Terms, *, seed: int) -> None:
        self._budget = _whole(terms)
        self._rate = Rate()
        self._rng = np.random.default_rng(seed)

    def offer(self, now: float, seen: Seen) -> Mask:
        count = len(seen.scores)
        self._rate.note(now, count)
        chance = self._budget.per_s * (2.0 * self._budget.fill) ** 2 / self._rate.per_s
        return _spend(self._budget, now, self._rng.random(count), above=1.0 - chance)


#: What a threshold rival compares: higher is sent first.
Measure = Callable[[Seen], NDArray[np.float64]]


class Threshold:
    """Whatever lies above a fixed threshold, the highest first, while there is budget."""

    def __init__(self, name: str, terms: Terms, measure: Measure, threshold: float) -> None:
        self.name = name
        self._budget = _whole(terms)
        self._measure = measure
        self._threshold = threshold

    def offer(self, now: float, seen: Seen) -> Mask:
        return _spend(self._budget, now, self._measure(seen), above=self._threshold)


def uncertainty(seen: Seen) -> NDArray[np.float64]:
    """The score alone."""
    return seen.scores


class FrameDifference:
    """How much a patch differs from the one at its place a frame ago."""

    def __init__(self) -> None:
        self._before: NDArray[np.float32] | None = None

    def __call__(self, seen: Seen) -> NDArray[np.float64]:
        before, self._before = self._before, seen.pictures
        if before is None or before.shape != seen.pictures.shape:
            return np.zeros(len(seen.scores))
        return np.abs(seen.pictures - before).mean(axis=(1, 2)).astype(np.float64)


class FixedCosine:
    """Whatever is less like everything sent lately than a fixed cosine, while there is budget."""

    name = "fixed cosine"

    def __init__(self, terms: Terms | None, dim: int, most_alike: float) -> None:
        self._budget = None if terms is None else _whole(terms)
        self._most_alike = most_alike
        self._sent = np.zeros((MEMORY, dim), dtype=np.float32)
        self._count = 0

    def offer(self, now: float, seen: Seen) -> Mask:
        if self._budget is not None:
            self._budget.refill(now)
        sent = np.zeros(len(seen.scores), dtype=np.bool_)
        for at, row in enumerate(seen.embeddings):
            known = self._sent[: min(self._count, MEMORY)]
            if len(known) and float((known @ row).max()) >= self._most_alike:
                continue
            if self._budget is not None:
                if self._budget.affordable < 1:
                    continue
                self._budget.spend()
            self._sent[self._count % MEMORY] = row
            self._count += 1
            sent[at] = True
        return sent


def contenders(terms: Terms, rehearsal: Sequence[Seen], *, seed: int) -> list[Contender]:
    """Make every contender; the thresholds are those that spend the budget on a rehearsal, another camera's frames.

    That is more than a plant's engineer could do by hand, and it is given to the rivals alone.
    """
    dim = rehearsal[0].embeddings.shape[1]
    patches = sum(len(seen.scores) for seen in rehearsal)
    wanted = terms.budget.patches_per_hour / 3600.0 * len(rehearsal) / terms.frames_per_s
    share = min(1.0, wanted / patches)
    found: list[Contender] = [
        Winnow("winnow", terms, dim, seed=seed, gate_share=FilterTable().gate_share),
        Winnow("winnow, open gate", terms, dim, seed=seed, gate_share=1.0),
        Random(terms, seed=seed),
    ]
    for name, make in (("uncertainty", lambda: uncertainty), ("frame difference", FrameDifference)):
        values = np.concatenate([measure(seen) for measure in (make(),) for seen in rehearsal])
        found.append(Threshold(name, terms, make(), float(np.quantile(values, 1.0 - share))))
    found.append(FixedCosine(terms, dim, _cosine(rehearsal, dim, wanted)))
    return found


def _cosine(rehearsal: Sequence[Seen], dim: int, wanted: float) -> float:
    """Search for the cosine below which as many patches are sent as the budget pays for."""
    low, high = -1.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        trial = FixedCosine(None, dim, middle)
        sent = sum(int(trial.offer(0.0, seen).sum()) for seen in rehearsal)
        low, high = (middle, high) if sent < wanted else (low, middle)
    return high


def _whole(terms: Terms) -> Budget:
    budget = Budget.share(terms.budget, 1.0)
    assert budget is not None
    return budget


def _spend(budget: Budget, now: float, values: NDArray[np.float64], *, above: float) -> Mask:
    budget.refill(now)
    sent = np.zeros(len(values), dtype=np.bool_)
    for at in np.argsort(-values, kind="stable"):
        if values[at] <= above or budget.affordable < 1 or above == inf:
            break
        budget.spend()
        sent[at] = True
    return sent
