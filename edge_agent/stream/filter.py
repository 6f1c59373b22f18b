"""The stream filter: one camera's patches in, one verdict with its reason for each.

A frame is judged in two steps, because only what passes the first is worth an embedding: ``screen`` draws
the random floor and applies the score gate, ``judge`` takes the embeddings of those patches and accepts what
is novel, best first, as far as the budget goes. The gain of a patch is ``q^2 v``: quality from its score,
novelty against what was sent before, and within a frame against what was accepted just before it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from edge_agent.stream.budget import Budget, Rate
from edge_agent.stream.gate import FloorLottery, Latest, Mask, ScoreGate
from edge_agent.stream.novelty import Embeddings, Floats, NoveltyMemory
from shared.config import BudgetTable, FilterTable, SelectionTable
from shared.release import SpaceEntry

#: Added to a score before it becomes a quality, as the selection does.
_SCORE_OFFSET: Final = 1e-3

#: floor: won the lottery · novel: gain above the threshold · dull: below the score gate · known: gain below
#: the threshold, or a repeat · budget: worth sending, or never looked at for want of a release, but no budget ·
#: unclear: the camera does not see it clearly, so that its score and novelty say nothing of the line.
Reason = Literal["floor", "novel", "dull", "known", "budget", "unclear"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The filter's answer for one patch."""

    accepted: bool
    reason: Reason
    score: float | None = None
    novelty: float | None = None
    gain: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Keepsake:
    """What a filter remembers across starts of its node."""

    #: Patches and bytes left, of the floor and of the rest.
    tokens: tuple[float, ...]
    #: The space of ``rows``, by id.
    space: str | None
    #: Embeddings of what was sent, oldest first: ``(n, d)``.
    rows: Embeddings | None


@dataclass(frozen=True, slots=True, eq=False)
class Screening:
    """The first step's answer for one frame."""

    scores: Floats | None
    floor: Mask
    passed: Mask
    #: The patches that the second step wants embeddings of, ascending.
    wanted: NDArray[np.intp]
    #: What the camera does not see clearly; None when it sees all.
    unclear: Mask | None = None


class StreamFilter:
    """One camera's filter."""

    def __init__(
        self, budget: BudgetTable, settings: FilterTable, selection: SelectionTable, *, rng: np.random.Generator
    ) -> None:
        self._settings = settings
        self._exponent = 2.0 * selection.a / selection.b
        self._rng = rng
        self._floor = Budget.share(budget, budget.floor_share)
        self._novel = Budget.share(budget, 1.0 - budget.floor_share)
        self._lottery = FloorLottery(rng)
        self._gate: ScoreGate | None = None
        self._space: SpaceEntry | None = None
        self._memory: NoveltyMemory | None = None
        #: From an earlier start, until a release of the same space comes.
        self._recalled: Keepsake | None = None
        self._cold = True
        self._passers = Rate()
        self._gains = Latest()

    def swap(self, *, scored: bool, space: SpaceEntry | None, labelled: Embeddings | None = None) -> None:
        """Take over a release.

        Scores and gains of another model are not comparable: both are ranked afresh. The memory is kept while
        the space stays, and learns what was labelled elsewhere; in another space it starts from what is labelled.
        """
        self._cold = False
        self._gate = ScoreGate(self._settings.gate_share) if scored else None
        self._gains = Latest()
        if space is None or self._space is None or space.id != self._space.id:
            self._space = space
            self._memory = None if space is None else self._new_memory(space)
        if self._memory is not None and labelled is not None:
            self._memory.learn(labelled)

    def remember(self) -> Keepsake:
        """Return what a later start of the node should know."""
        tokens = tuple(
            left for budget in (self._floor, self._novel) for left in ((0.0, 0.0) if budget is None else budget.tokens)
        )
        if self._memory is None or self._space is None:
            # No release yet: what an earlier start remembered is still all there is.
            kept = self._recalled
            return Keepsake(tokens, None if kept is None else kept.space, None if kept is None else kept.rows)
        return Keepsake(tokens, self._space.id, self._memory.rows)

    def recall(self, keepsake: Keepsake, elapsed_s: float) -> None:
        """Go on from what an earlier start remembered so many seconds ago."""
        self._recalled = keepsake
        if len(keepsake.tokens) == 4:
            for budget, at in ((self._floor, 0), (self._novel, 2)):
                if budget is not None:
                    budget.recall((keepsake.tokens[at], keepsake.tokens[at + 1]), elapsed_s)

    def _new_memory(self, space: SpaceEntry) -> NoveltyMemory:
        memory = NoveltyMemory(dim=space.dim, tau=space.tau, noise=self._settings.noise, capacity=self._settings.memory)
        kept, self._recalled = self._recalled, None
        if kept is not None and kept.rows is not None and kept.space == space.id and kept.rows.shape[1] == space.dim:
            # Half floats are a little longer or shorter than one.
            lengths = np.linalg.norm(kept.rows, axis=1, keepdims=True)
            memory.add((kept.rows / np.maximum(lengths, 1e-6)).astype(np.float32))
        return memory

    def screen(self, now: float, count: int, scores: Floats | None, unclear: Mask | None = None) -> Screening:
        """Draw the floor and apply the score gate.

        The floor goes on whatever the camera sees: it is a sample of just that.

        Args:
            now: Any clock that does not step back.
            count: How many patches the frame has.
            scores: ``(count,)``, None while no task graph runs.
            unclear: ``(count,)``, the patches that the camera does not see clearly.
        """
        for budget in self._budgets(self._floor, self._novel):
            budget.refill(now)
        # Without a release nothing can be judged, so the whole budget goes to the lottery.
        floor = self._lottery.draw(now, count, self._budgets(self._floor, self._novel if self._cold else None))
        if self._cold:
            passed = np.zeros(count, dtype=np.bool_)
        elif self._gate is None or scores is None:
            passed = np.ones(count, dtype=np.bool_)
        elif unclear is None:
            passed = self._gate.passes(scores, self._rng)
        else:
            # What is unclear must not move the level that the scores of the line are ranked at.
            passed = np.zeros(count, dtype=np.bool_)
            clear = np.flatnonzero(~unclear)
            if len(clear):
                passed[clear] = self._gate.passes(scores[clear], self._rng)
        if unclear is not None:
            passed &= ~unclear
        wanted = np.flatnonzero(floor | passed) if not self._cold else np.zeros(0, dtype=np.intp)
        return Screening(scores, floor, passed, wanted, unclear)

    def judge(self, now: float, screening: Screening, embeddings: Embeddings | None) -> list[Verdict]:
        """Give each patch of the frame its verdict and remember what is accepted.

        Args:
            now: As in ``screen``.
            screening: What ``screen`` said of this frame.
            embeddings: ``(len(screening.wanted), d)``, None without a space graph.
        """
        idle: Reason = "budget" if self._cold else "dull"
        scores = [None] * len(screening.floor) if screening.scores is None else screening.scores.tolist()
        unclear = [False] * len(scores) if screening.unclear is None else screening.unclear.tolist()
        verdicts = [
            Verdict(won, "floor" if won else "unclear" if hidden else idle, score)
            for won, hidden, score in zip(screening.floor.tolist(), unclear, scores, strict=True)
        ]
        if len(screening.wanted) == 0:
            return verdicts
        for at, verdict in zip(screening.wanted.tolist(), self._judge_wanted(now, screening, embeddings), strict=True):
            verdicts[at] = verdict
        return verdicts

    def charge(self, verdict: Verdict, size: int) -> None:
        """Charge the bytes of a patch that was sent."""
        if self._cold:
            budgets = self._budgets(self._floor, self._novel)
        else:
            budgets = self._budgets(self._floor if verdict.reason == "floor" else self._novel)
        max(budgets, key=lambda budget: budget.affordable).charge(size)

    def _judge_wanted(self, now: float, screening: Screening, embeddings: Embeddings | None) -> list[Verdict]:
        wanted = screening.wanted
        floor, passed = screening.floor[wanted], screening.passed[wanted]
        left = self._unexplained(len(wanted), embeddings)
        quality = self._squared_quality(screening, wanted)
        first_gains = quality * left.diagonal()
        self._passers.note(now, int(passed.sum()))
        self._gains.add(first_gains[passed])
        threshold = self._threshold(int(passed.sum()))

        taken = _Taken(left, quality, noise=self._settings.noise)
        for at in np.flatnonzero(floor):
            taken.accept(int(at), "floor")
        self._accept_novel(taken, passed & ~floor, threshold)

        if self._memory is not None and embeddings is not None and taken.order:
            self._memory.add(embeddings[taken.order])
        return [self._verdict(taken, at, screening, threshold) for at in range(len(wanted))]

    def _accept_novel(self, taken: "_Taken", open_: Mask, threshold: float) -> None:
        """Accept the best patch again and again, each time against what was accepted before."""
        while open_.any():
            at = int(np.argmax(np.where(open_, taken.gains, -1.0)))
            open_[at] = False
            if taken.gains[at] < threshold or taken.is_repeat(at):
                continue
            if self._novel is None or self._novel.affordable < 1:
                taken.reasons[at] = "budget"
                continue
            self._novel.spend()
            taken.accept(at, "novel")

    def _verdict(self, taken: "_Taken", at: int, screening: Screening, threshold: float) -> Verdict:
        reason = taken.reasons.get(at, "known")
        score = None if screening.scores is None else float(screening.scores[screening.wanted[at]])
        return Verdict(
            accepted=reason in {"floor", "novel"},
            reason=reason,
            score=score,
            novelty=None if self._memory is None else float(taken.novelty[at]),
            gain=float(taken.gains[at]),
            threshold=threshold if isfinite(threshold) else None,
        )

    def _threshold(self, passers: int) -> float:
        """Return the gain that the budget can afford, given how many patches pass the gate."""
        if self._novel is None or passers == 0:
            return inf
        # The refill rate when half full, everything when full: novelty fades as the memory fills, so a level
        # among past gains is too high, and a full bucket would waste what comes in.
        fill = self._novel.fill
        wanted = self._novel.per_s * fill
        passing = self._passers.per_s * (1.0 - fill)
        return 0.0 if wanted >= passing else self._gains.level(wanted / passing)

    def _unexplained(self, count: int, embeddings: Embeddings | None) -> Floats:
        if self._memory is None or embeddings is None:
            return np.eye(count)
        return self._memory.covariance(embeddings)

    def _squared_quality(self, screening: Screening, wanted: NDArray[np.intp]) -> Floats:
        scores = np.ones(len(wanted)) if screening.scores is None else np.maximum(screening.scores[wanted], 0.0)
        quality: Floats = (scores + _SCORE_OFFSET) ** self._exponent
        return quality

    @staticmethod
    def _budgets(*budgets: Budget | None) -> Sequence[Budget]:
        return [budget for budget in budgets if budget is not None]


class _Taken:
    """What was accepted of one frame so far, and what that leaves of the others' novelty."""

    def __init__(self, left: Floats, quality: Floats, *, noise: float) -> None:
        self.novelty = left.diagonal().copy()
        self.gains = quality * self.novelty
        self.order: list[int] = []
        self.reasons: dict[int, Reason] = {}
        self._left = left
        self._quality = quality
        self._noise = noise
        self._open = np.ones(len(quality), dtype=np.bool_)

    def is_repeat(self, at: int) -> bool:
        """Say whether a patch is explained as well as an exact repeat would be: noise / (1 + noise)."""
        return bool(self.novelty[at] <= self._noise)

    def accept(self, at: int, reason: Reason) -> None:
        """Condition the others on one patch; its own gain stays what it was accepted for."""
        self.order.append(at)
        self.reasons[at] = reason
        self._open[at] = False
        column = self._left[:, at].copy()
        self._left -= np.outer(column, column) / (column[at] + self._noise)
        # Only what is still open changes: a verdict shows the gain at its own moment.
        self.novelty[self._open] = np.clip(self._left.diagonal()[self._open], 0.0, 1.0)
        self.gains[self._open] = self._quality[self._open] * self.novelty[self._open]
