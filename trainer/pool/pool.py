"""The pool: everything the centre knows of candidates, behind one object.

    with Pool.open(paths.directory) as pool:
        with pool.write():                       # one transaction
            pool.hand_over(line, number, picks)
            pool.put_round(line, number, "label", detail)

Each call is a transaction of its own unless the same thread holds ``pool.write()``; then it belongs to that one.
Its parts stand beside this file: ``database`` (file, lock, transactions), ``candidates``, ``arrays``
(embeddings, scores), ``handover`` (tasks, labels); the values are in ``records``.
"""

import json
from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from trainer.pool.database import PoolAwayError
from trainer.pool.handover import HandOvers
from trainer.pool.records import (
    AddReport,
    Arrival,
    LabelTask,
    Pick,
    PoolEntry,
    Purpose,
    Returned,
    RoundRow,
    State,
)
from trainer.pool.schema import round_

__all__ = [
    "AddReport",
    "Arrival",
    "LabelTask",
    "Pick",
    "Pool",
    "PoolAwayError",
    "PoolEntry",
    "Purpose",
    "Returned",
    "RoundRow",
    "State",
]


class Pool(HandOvers):
    """One process's hold on the pool; any number of processes may have one."""

    def round(self, line: str, number: int | None = None) -> RoundRow | None:
        """Read where a round stands: the newest one, or the one with this number."""
        query = sa.select(round_).where(round_.c.line == line).order_by(round_.c.number.desc()).limit(1)
        if number is not None:
            query = query.where(round_.c.number == number)
        with self.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else _round_row(row)

    def rounds(self, line: str) -> list[RoundRow]:
        """Read all rounds of a line, the first in front."""
        query = sa.select(round_).where(round_.c.line == line).order_by(round_.c.number)
        with self.read() as connection:
            return [_round_row(row) for row in connection.execute(query).mappings()]

    def put_round(self, line: str, number: int, stage: str, detail: Mapping[str, object]) -> None:
        """Write where a round stands, in place of what stood there."""
        add = insert(round_).values(
            line=line,
            number=number,
            stage=stage,
            detail=json.dumps(dict(detail), sort_keys=True),
            updated_at=self.clock.now(),
        )
        fresh = {name: add.excluded[name] for name in ("stage", "detail", "updated_at")}
        with self.write() as connection:
            connection.execute(add.on_conflict_do_update(index_elements=["line", "number"], set_=fresh))


def _round_row(row: sa.RowMapping) -> RoundRow:
    return RoundRow(**{**row, "detail": json.loads(row["detail"])})
