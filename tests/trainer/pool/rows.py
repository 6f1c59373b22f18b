"""What lies in a pool."""

from collections.abc import Callable

import sqlalchemy as sa

from shared.messages import Candidate
from trainer.pool.pool import Pool
from trainer.pool.schema import metadata

Fill = Callable[..., list[str]]


MakeCandidate = Callable[..., Candidate]


SPACE = "a" * 64


def everything(pool: Pool) -> dict[str, list[tuple[object, ...]]]:
    """All rows of all tables: what a refusal may not change."""
    with pool.read() as connection:
        return {
            table.name: [tuple(row) for row in connection.execute(sa.select(table))] for table in metadata.sorted_tables
        }
