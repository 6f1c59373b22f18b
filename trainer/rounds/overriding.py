"""Heeding a wish: the run that the gate held back is released all the same, and serves from then on."""

from dataclasses import replace

from trainer.rounds.machine import Overridden, Round, advance
from trainer.rounds.releasing import release_run
from trainer.rounds.wish import open_wish, write_round
from trainer.rounds.workbench import Workbench


def heed(bench: Workbench, current: Round) -> Round:
    """Release what was wished for, if anything was, and return where the line's newest round stands then."""
    wished = open_wish(bench.pool, bench.line.line)
    if wished is None or wished.override is None:
        return current
    # Told before and after: a release takes a while, and the wish is on record whether it comes about or not.
    bench.event(
        "overridden",
        f"round {wished.number}: {wished.override.by} releases run {wished.run} over the gate: {wished.override.reason}",
        round=wished.number,
        run=wished.run,
        reason=wished.override.reason,
        by=wished.override.by,
        at=wished.override.at,
        reasons=list(wished.reasons),
    )
    due = advance(wished, Overridden(wished.override))
    released = advance(due, release_run(bench, due))
    following = (
        released
        if current.number == wished.number
        else replace(current, serving=released.serving, release=released.release, received=released.received)
    )
    with bench.pool.write():
        write_round(bench.pool, bench.line.line, released)
        if following is not released:
            write_round(bench.pool, bench.line.line, following)
    return following
