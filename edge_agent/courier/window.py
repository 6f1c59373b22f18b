"""Which candidates are on their way to the trainer, and when each is sent (again): pure.

A window of candidates is unanswered at a time, shared by the lines so that none starves the others. Each candidate
waits longer after every try. A line whose candidates the trainer does not take just now rests, longer each time it is
said again, gives its places up, and asks with half as many the next time; what was put off comes round again behind
everything else of its line. After a rest the newest one goes along: where it is taken, only older ones are at fault and
the line need not rest for long.
"""

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from shared.backoff import backoff_s

#: An unanswered candidate is sent again after this, at first and at most.
FIRST_WAIT_S: Final = 5.0
MOST_WAIT_S: Final = 300.0
#: What was put off is offered again after this, at first and at most.
FIRST_ROUND_S: Final = 60.0
MOST_ROUND_S: Final = 3600.0
#: After the trainer comes back, what waits is sent within this time.
_WAKE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a line has room for: the candidates behind a place in the spool, and perhaps its newest."""

    line: str
    seq: int
    count: int
    newest: bool


@dataclass(slots=True)
class Flight:
    """One candidate on its way."""

    id: str
    line: str
    tries: int
    due: float
    size_bytes: int = 0
    #: How often the broker ended the connection while this was the largest on its way.
    strikes: int = 0


@dataclass(slots=True)
class Lane:
    """How far one line's candidates have been looked through, and what the trainer says to them."""

    #: The place in the spool of the last one that was looked at.
    seq: int = 0
    #: When it was looked through last; who waited longest comes first.
    turn: int = 0
    rests_until: float = 0.0
    rests: int = 0
    #: How many may be on their way since something was put off; None while nothing was.
    width: int | None = None
    #: When those that were put off come round again; None when none was.
    round_due: float | None = None
    rounds: int = 0


class Window:
    """Candidates between the spool and the trainer's answer."""

    def __init__(self, size: int, rng: random.Random) -> None:
        self._size = size
        self._rng = rng
        self._flights: dict[str, Flight] = {}
        self._lanes: dict[str, Lane] = {}
        self._turn = 0

    def wanted(self, lines: Iterable[str], now: float) -> list[Wanted]:
        """Say for each line that has candidates and room for them behind which place to look, and for how many."""
        self._lanes = {name: self._lanes.get(name, Lane()) for name in sorted(lines)}
        # A silent line must not hold the only place.
        size = max(self._size, len(self._lanes))
        share = size // max(1, len(self._lanes))
        flying = Counter(flight.line for flight in self._flights.values())
        room = size - len(self._flights)
        wanted = []
        for name, lane in sorted(self._lanes.items(), key=lambda entry: entry[1].turn):
            width = share if lane.width is None else min(share, lane.width)
            count = min(width - flying[name], room)
            if count > 0 and now >= lane.rests_until:
                wanted.append(Wanted(name, lane.seq, count, newest=lane.rests > 0))
                room -= count
        return wanted

    def admit(
        self, line: str, found: Iterable[tuple[int, str]], now: float, *, newest: Iterable[tuple[int, str]] = ()
    ) -> None:
        """Take in what was found behind the place that was asked for, due at once; nothing means the line's end."""
        lane = self._lanes[line]
        self._turn += 1
        lane.turn = self._turn
        for _, candidate in newest:
            self._flights.setdefault(candidate, Flight(candidate, line, tries=0, due=now))
        at_end = True
        for seq, candidate in found:
            at_end = False
            lane.seq = seq
            self._flights.setdefault(candidate, Flight(candidate, line, tries=0, due=now))
        if not at_end:
            return
        if lane.round_due is None:
            lane.rounds = 0
        elif now >= lane.round_due:
            lane.seq, lane.round_due = 0, None

    def due(self, now: float) -> list[str]:
        """List what is to be sent, in the order it came in."""
        return [flight.id for flight in self._flights.values() if flight.due <= now]

    def sent(self, candidate: str, now: float, *, size_bytes: int) -> None:
        """Note a try."""
        flight = self._flights[candidate]
        flight.tries += 1
        flight.size_bytes = size_bytes
        flight.due = now + backoff_s(flight.tries, self._rng, first_s=FIRST_WAIT_S, most_s=MOST_WAIT_S)

    def leave(self, candidate: str) -> None:
        """Make room; the candidate is done with, whatever became of it."""
        self._flights.pop(candidate, None)

    def committed(self, candidate: str) -> None:
        """Make room; the trainer has the candidate, so its line need not rest."""
        flight = self._flights.pop(candidate, None)
        if flight is None:
            return
        if (lane := self._lanes.get(flight.line)) is not None:
            lane.rests, lane.rests_until = 0, 0.0
            if lane.width is not None:
                lane.width = min(lane.width + 1, self._size)

    def put_off(self, candidate: str, now: float) -> str | None:
        """Have the candidate's line rest and give its places up; return the line if it did not rest yet."""
        flight = self._flights.get(candidate)
        lane = None if flight is None else self._lanes.get(flight.line)
        if flight is None or lane is None:
            return None
        flying = sum(other.line == flight.line for other in self._flights.values())
        lane.width = max(1, min(flying, lane.width or flying) // 2)
        # The others of the line are not asked for again: what is committed after all is confirmed all the same.
        self._flights = {name: other for name, other in self._flights.items() if other.line != flight.line}
        lane.rests += 1
        lane.rests_until = now + backoff_s(lane.rests, self._rng, first_s=FIRST_WAIT_S, most_s=MOST_WAIT_S)
        if lane.round_due is None:
            lane.rounds += 1
            lane.round_due = now + backoff_s(lane.rounds, self._rng, first_s=FIRST_ROUND_S, most_s=MOST_ROUND_S)
        return flight.line

    def blame(self) -> Flight | None:
        """Suspect the largest candidate on its way of having ended the connection."""
        suspect = max(self._flights.values(), key=lambda flight: flight.size_bytes, default=None)
        if suspect is None or not suspect.tries:
            return None
        suspect.strikes += 1
        return suspect

    def wake(self, now: float) -> None:
        """Send soon what waits, and what was put off: a peer came back that may never have seen it, or takes it now."""
        for flight in self._flights.values():
            flight.due = min(flight.due, now + self._rng.uniform(0.0, _WAKE_S))
        for lane in self._lanes.values():
            if lane.round_due is not None:
                lane.seq, lane.round_due = 0, None
            lane.rests, lane.rests_until, lane.rounds, lane.width = 0, 0.0, 0, None
