"""From the bus into the pool: check, commit, then acknowledge, in batches.

Nothing is acknowledged before it is durable, and what is not acknowledged comes again: a pool that cannot be
written loses nothing, it only keeps its senders waiting. What the centre or time can cure is put off, not refused.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from shared import topics
from shared.bus import Bus, Connected, Denied, Disconnected, Received
from shared.clock import Clock
from shared.codec import encode
from shared.config import LineConfig
from shared.errors import LinkError
from shared.messages import Ack, Nack
from shared.transport import IngestTable
from trainer.pool.arrival import Refusal, check, over_quota, sender_of
from trainer.pool.pool import Arrival, Pool, PoolAwayError
from trainer.pool.quota import Quota

#: With reasons, so many fit a message with room to spare.
_NACKS_AT_ONCE: Final = 100
LONGEST_REASON: Final = 400
#: Where refusals are counted that name no line of the site.
NO_LINE = ""


@dataclass(slots=True)
class Tally:
    """What one step did for one line."""

    new: int = 0
    again: int = 0
    refused: int = 0
    deferred: int = 0
    dropped: int = 0
    bytes: int = 0


@dataclass(slots=True)
class StepReport:
    """What one step did; ``connection`` is the newest change of the broker's, None when there was none."""

    connection: Connected | Disconnected | None = None
    lines: dict[str, Tally] = field(default_factory=dict)
    refusals: list[Refusal] = field(default_factory=list)
    #: What the broker does not let us do; None when there was nothing.
    denied: str | None = None
    #: Why nothing was committed; None when the pool took everything.
    away: PoolAwayError | None = None


class Ingest:
    """The one that takes candidates off the bus."""

    def __init__(
        self,
        pool: Pool,
        *,
        site: str,
        lines: Mapping[str, LineConfig],
        bus: Bus,
        clock: Clock,
        quota: IngestTable | None = None,
    ) -> None:
        self._pool = pool
        self._site = site
        self._quota = Quota(quota or IngestTable())
        self._lines = lines
        self._bus = bus
        self._clock = clock
        #: How wide the spaces are that the pool holds; a space is the hash of a graph, so this is for ever.
        self._widths: dict[tuple[str, str], int] = {}

    def step(self, *, timeout_s: float = 0.5, limit: int = 256) -> StepReport:
        """Take what the bus has, commit it in one transaction, and answer each node."""
        report = StepReport()
        arrivals: list[Arrival] = []
        for event in self._bus.events(timeout_s=timeout_s, limit=limit):
            if isinstance(event, Denied):
                report.denied = event.reason
                continue
            if not isinstance(event, Received):
                report.connection = event
                continue
            checked = self._check(event)
            if isinstance(checked, Refusal):
                report.refusals.append(checked)
            else:
                arrivals.append(checked)
        if not arrivals and not report.refusals:
            return report
        try:
            arrivals = self._refuse_odd_widths(arrivals, report)
            self._commit(arrivals, report)
        except PoolAwayError as error:
            report.lines = {}
            report.away = error
            return report
        self._answer(arrivals, report.refusals)
        return report

    def _check(self, message: Received) -> Arrival | Refusal:
        """Look at one message; one of a node that has brought enough is not looked into."""
        topic, payload = message.topic, message.payload
        sender = sender_of(topic, site=self._site)
        if isinstance(sender, Refusal):
            return sender
        spent = self._quota.spend(sender.node, size_bytes=len(payload), now=self._clock.monotonic())
        if spent is not None:
            return over_quota(sender, payload, lines=self._lines, spent=spent)
        return check(sender, payload, site=self._site, lines=self._lines, now=self._clock.now())

    def _refuse_odd_widths(self, arrivals: Sequence[Arrival], report: StepReport) -> list[Arrival]:
        """Return those whose embedding is as wide as its space: one of another width would end every selection."""
        widths: dict[tuple[str, str], int] = dict(self._widths)
        kept = []
        for arrival in arrivals:
            given = arrival.candidate
            if given.space is not None and given.embedding is not None:
                (width,) = given.embedding.shape
                key = (arrival.line, given.space)
                if key not in widths:
                    stored = self._pool.width(*key)
                    if stored is not None:
                        self._widths[key] = stored
                    widths[key] = stored or width
                if width != widths[key]:
                    reason = f"candidate {given.id}: embedding of {width} numbers, those of space {given.space[:12]} have {widths[key]}"
                    report.refusals.append(Refusal(arrival.node, arrival.line, given.id, "embedding", reason))
                    continue
            kept.append(arrival)
        return kept

    def _commit(self, arrivals: Sequence[Arrival], report: StepReport) -> None:
        with self._pool.write():
            for line in sorted({arrival.line for arrival in arrivals}):
                mine = [arrival for arrival in arrivals if arrival.line == line]
                before = self._pool.counters(line)["bytes"]
                added = self._pool.add(mine)
                report.lines[line] = Tally(
                    new=added.new,
                    again=added.again,
                    dropped=self._pool.trim(line, self._lines[line].pool.cap),
                    bytes=self._pool.counters(line)["bytes"] - before,
                )
            kinds = Counter((refusal.line or NO_LINE, refusal.kind, refusal.curable) for refusal in report.refusals)
            for (line, kind, curable), number in kinds.items():
                what = "deferred" if curable else "refused"
                self._pool.count(line, {what: number, f"{what}_{kind}": number})
                tally = report.lines.setdefault(line, Tally())
                setattr(tally, what, getattr(tally, what) + number)

    def _answer(self, arrivals: Sequence[Arrival], refusals: Sequence[Refusal]) -> None:
        answers: dict[str, Answer] = defaultdict(Answer)
        for arrival in arrivals:
            answers[arrival.node].acked[arrival.candidate.id] = None
        for refusal in refusals:
            if refusal.node is not None and refusal.id is not None:
                answer = answers[refusal.node]
                said = answer.deferred if refusal.curable else answer.nacked
                said.append(Nack(id=refusal.id, reason=refusal.reason[:LONGEST_REASON]))
        for node, answer in sorted(answers.items()):
            try:
                for ack in answer.messages():
                    self._bus.publish(topics.ack(self._site, node), encode(ack))
            except LinkError:
                # The broker went between receiving and answering: everything comes again and is recognised.
                return


@dataclass(slots=True)
class Answer:
    """What one node is told after one step."""

    acked: dict[str, None] = field(default_factory=dict)
    nacked: list[Nack] = field(default_factory=list)
    deferred: list[Nack] = field(default_factory=list)

    def messages(self) -> Iterator[Ack]:
        """Cut the answer into messages that a node takes in."""
        if self.acked:
            yield Ack(acked=tuple(self.acked))
        for some in _pieces(self.nacked):
            yield Ack(nacked=some)
        for some in _pieces(self.deferred):
            yield Ack(deferred=some)


def _pieces(nacks: Sequence[Nack]) -> Iterator[tuple[Nack, ...]]:
    return (tuple(nacks[start : start + _NACKS_AT_ONCE]) for start in range(0, len(nacks), _NACKS_AT_ONCE))
