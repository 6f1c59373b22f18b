"""A wish: a person wants a run released that the gate held back, and says why.

It is written into the held-back round's own row, which no worker writes any more, so it needs nobody's leave and
outlives every process. Whoever holds the line's rounds heeds it after the stage under way, or before the next one.
"""

from dataclasses import replace
from typing import Final

import msgspec

from shared.errors import InputError, StateError
from shared.release import Override
from trainer.pool.pool import Pool, RoundRow
from trainer.rounds.machine import Overridden, Round, Stage, advance

LONGEST: Final = 500


def read_round(row: RoundRow) -> Round:
    """Read where a round stands."""
    return msgspec.convert({**row.detail, "number": row.number, "stage": row.stage}, Round)


def write_round(pool: Pool, line: str, round_: Round) -> None:
    """Write where a round stands, in place of what stood there."""
    detail = msgspec.to_builtins(round_)
    del detail["number"], detail["stage"]
    pool.put_round(line, round_.number, round_.stage, detail)


def judged_rounds(pool: Pool, line: str) -> list[Round]:
    """List the rounds that the gate has judged, oldest first."""
    found = [read_round(row) for row in pool.rounds(line)]
    return [round_ for round_ in found if round_.passed is not None]


def wish_override(pool: Pool, line: str, *, reason: str, by: str, now: float) -> Round:
    """Write down that the newest held-back run is to be released, and return its round.

    Args:
        pool: Where the rounds are.
        line: Whose.
        reason: For whoever asks later why this run served.
        by: Who wants it.
        now: When.
    """
    for what, text in (("reason", reason), ("name", by)):
        if not text.strip() or len(text) > LONGEST or not text.isprintable():
            raise InputError(
                f"override: a {what} of {len(text)} characters; expected 1 to {LONGEST} printable ones, nothing was changed"
            )
    with pool.write():
        judged = judged_rounds(pool, line)
        if not judged:
            raise StateError(f'line "{line}": no run was judged yet; there is nothing to override')
        newest = judged[-1]
        if newest.override is not None:
            raise StateError(
                f"round {newest.number}: {newest.override.by} has overridden it already; nothing was changed"
            )
        wished = Override(reason=reason.strip(), by=by.strip(), at=now)
        # Refused here as it would be when it is heeded.
        advance(newest, Overridden(wished))
        write_round(pool, line, replace(newest, override=wished))
    return newest


def open_wish(pool: Pool, line: str) -> Round | None:
    """Return the newest held-back round that somebody wants released, unless a newer run has been released since."""
    # Rounds may have been judged since the wish was written down.
    for row in reversed(pool.rounds(line)):
        if row.stage != Stage.DONE:
            continue
        if row.detail["serving"] == row.detail["run"]:
            return None
        if row.detail.get("override"):
            return read_round(row)
    return None
