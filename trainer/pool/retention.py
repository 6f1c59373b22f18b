"""What the pool forgets when it is full: unlabelled candidates only, the least valuable first.

The random floor is the sample that judges models, so no value may choose among its candidates: they go by age
alone, and as many of them stay as their share of everything that ever came.
"""

from collections.abc import Mapping

import sqlalchemy as sa

from trainer.pool.records import FLOOR
from trainer.pool.schema import candidate


def floor_to_keep(*, cap: int, floor: int, others: int, received: int, received_floor: int) -> int:
    """Say how many floor candidates a full pool keeps: their share of all arrivals, or more where others are few."""
    share = received_floor / received if received else 0.0
    return min(floor, max(round(cap * share), cap - others))


def trim(connection: sa.Connection, line: str, cap: int, counters: Mapping[str, int]) -> int:
    """Delete what exceeds the cap and return how many; runs inside the caller's transaction."""
    waiting = (candidate.c.line == line) & (candidate.c.state == "pool")
    is_floor = candidate.c.reason == FLOOR
    floor = connection.scalar(sa.select(sa.func.count()).select_from(candidate).where(waiting, is_floor)) or 0
    others = connection.scalar(sa.select(sa.func.count()).select_from(candidate).where(waiting, ~is_floor)) or 0
    if floor + others <= cap:
        return 0
    keep = floor_to_keep(
        cap=cap,
        floor=floor,
        others=others,
        received=counters["received"],
        received_floor=counters["received_floor"],
    )
    oldest = (candidate.c.received_at, candidate.c.id)
    # NULL sorts before every gain: what nobody could value goes before what was found dull.
    value = (candidate.c.gain.is_not(None), candidate.c.gain, *oldest)
    dropped = _drop(connection, sa.select(candidate.c.id).where(waiting, is_floor).order_by(*oldest), floor - keep)
    return dropped + _drop(
        connection, sa.select(candidate.c.id).where(waiting, ~is_floor).order_by(*value), others - (cap - keep)
    )


def _drop(connection: sa.Connection, worst_first: sa.Select[tuple[str]], number: int) -> int:
    if number <= 0:
        return 0
    return connection.execute(sa.delete(candidate).where(candidate.c.id.in_(worst_first.limit(number)))).rowcount
