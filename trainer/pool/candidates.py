"""Candidates of the pool: adding them, counting them, reading them and their crops."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import msgspec
import numpy as np
import sqlalchemy as sa

from shared.codec import unpack
from shared.errors import StateError
from shared.geometry import Image
from shared.images import decode_image
from trainer.pool.database import Database
from trainer.pool.records import FLOOR, SEED_NODE, STATES, AddReport, Arrival, PoolEntry, State
from trainer.pool.retention import trim
from trainer.pool.schema import candidate, candidate_ids, counter, embedding

#: Fewer than the 999 values that the oldest SQLite takes in one statement.
_IDS_AT_ONCE: Final = 500
_CROPS_AT_ONCE: Final = 64
_ENTRY_COLUMNS: Final = [column for column in candidate.columns if column.name != "crop"]

_COUNTED: Final = ("received", "received_floor", "again", "refused", "deferred", "dropped", "bytes")

T = TypeVar("T")


class Candidates(Database):
    """The candidate table and the counters."""

    def add(self, arrivals: Sequence[Arrival]) -> AddReport:
        """Store candidates that were not there yet, with crop and embedding; those that were are left as they are."""
        with self.write() as connection:
            fresh = {arrival.candidate.id: arrival for arrival in reversed(arrivals)}
            for ids in chunks(list(fresh), _IDS_AT_ONCE):
                known = connection.scalars(sa.select(candidate.c.id).where(candidate.c.id.in_(ids)))
                for known_id in known.all():
                    del fresh[known_id]
            kept = list(reversed(fresh.values()))
            if kept:
                connection.execute(sa.insert(candidate), [_row(arrival) for arrival in kept])
            vectors = [row for arrival in kept if (row := _embedding_row(arrival)) is not None]
            if vectors:
                connection.execute(sa.insert(embedding), vectors)
            marks = [
                {"candidate_id": arrival.candidate.id, "ids": msgspec.json.encode(arrival.candidate.ids).decode()}
                for arrival in kept
                if arrival.candidate.ids
            ]
            if marks:
                connection.execute(sa.insert(candidate_ids), marks)
            for line in sorted({arrival.line for arrival in arrivals if arrival.node != SEED_NODE}):
                self._count_arrivals(line, arrivals=arrivals, kept=kept)
        return AddReport(new=len(kept), again=len(arrivals) - len(kept))

    def _count_arrivals(self, line: str, *, arrivals: Sequence[Arrival], kept: Sequence[Arrival]) -> None:
        mine = [arrival for arrival in kept if arrival.line == line]
        steps = {
            "received": len(mine),
            "received_floor": sum(arrival.candidate.reason == FLOOR for arrival in mine),
            "bytes": sum(len(arrival.candidate.crop) for arrival in mine),
            "again": sum(arrival.line == line for arrival in arrivals) - len(mine),
        }
        self.count(line, steps)

    def trim(self, line: str, cap: int) -> int:
        """Drop what exceeds the cap, the least valuable first; return how many, counted as ``dropped``."""
        with self.write() as connection:
            dropped = trim(connection, line, cap, self.counters(line))
            self.count(line, {"dropped": dropped})
        return dropped

    def count(self, line: str, steps: Mapping[str, int]) -> None:
        """Add to a line's counters; the empty line counts what belongs to none."""
        with self.write() as connection:
            for name, step in steps.items():
                if not step:
                    continue
                key = (counter.c.line == line) & (counter.c.name == name)
                told = connection.execute(sa.update(counter).where(key).values(value=counter.c.value + step))
                if not told.rowcount:
                    connection.execute(sa.insert(counter).values(line=line, name=name, value=step))

    def counters(self, line: str) -> dict[str, int]:
        """Read a line's counters, and what was refused or put off by kind."""
        with self.read() as connection:
            rows = connection.execute(sa.select(counter.c.name, counter.c.value).where(counter.c.line == line))
            found = {str(name): int(value) for name, value in rows}
        return dict.fromkeys(_COUNTED, 0) | found

    def counts(self, line: str) -> dict[str, int]:
        """Count a line's candidates by state."""
        with self.read() as connection:
            rows = connection.execute(
                sa.select(candidate.c.state, sa.func.count())
                .where(candidate.c.line == line)
                .group_by(candidate.c.state)
            )
            found = {str(state): int(number) for state, number in rows}
        return dict.fromkeys(STATES, 0) | found

    def ids(
        self,
        line: str,
        *,
        state: State | None = "pool",
        reason: str | None = None,
        space: str | None = None,
    ) -> list[str]:
        """List candidates in the order they came; ``space`` keeps those with an embedding there, state None all."""
        query = sa.select(candidate.c.id).where(candidate.c.line == line)
        if state is not None:
            query = query.where(candidate.c.state == state)
        if reason is not None:
            query = query.where(candidate.c.reason == reason)
        if space is not None:
            query = query.join(embedding).where(embedding.c.space == space)
        query = query.order_by(candidate.c.received_at, candidate.c.id)
        with self.read() as connection:
            return list(connection.scalars(query).all())

    def entries(self, ids: Sequence[str]) -> list[PoolEntry]:
        """Read candidates without their crops, in the order asked."""
        found: dict[str, PoolEntry] = {}
        with self.read() as connection:
            for some in chunks(ids, _IDS_AT_ONCE):
                query = (
                    sa.select(*_ENTRY_COLUMNS, candidate_ids.c.ids)
                    .outerjoin_from(candidate, candidate_ids)
                    .where(candidate.c.id.in_(some))
                )
                found |= {row["id"]: _entry(row) for row in connection.execute(query).mappings()}
        return in_order(ids, found, what="candidates")

    def crops(self, ids: Sequence[str], *, channels: int) -> Iterator[tuple[str, Image]]:
        """Walk crops in the order asked: ``(crop_px, crop_px, channels)``. No transaction is held between two steps."""
        for some in chunks(ids, _CROPS_AT_ONCE):
            query = sa.select(candidate.c.id, candidate.c.crop).where(candidate.c.id.in_(some))
            with self.read() as connection:
                found = {str(row.id): bytes(row.crop) for row in connection.execute(query)}
            for name, data in zip(some, in_order(some, found, what="candidates"), strict=True):
                yield name, decode_image(data, what=f"crop of {name}", channels=channels)


def chunks(ids: Sequence[T], size: int = _IDS_AT_ONCE) -> Iterator[Sequence[T]]:
    """Cut a sequence into pieces that one statement takes."""
    return (ids[start : start + size] for start in range(0, len(ids), size))


def in_order(ids: Iterable[str], found: Mapping[str, T], *, what: str) -> list[T]:
    """Put what was found in the order asked; what is missing is counted and the first is named."""
    asked = list(ids)
    missing = [name for name in asked if name not in found]
    if missing:
        raise StateError(f"pool: {len(missing)} of {len(asked)} {what} are not there, the first is {missing[0]}")
    return [found[name] for name in asked]


def _entry(row: sa.RowMapping) -> PoolEntry:
    ids = row["ids"]
    return PoolEntry(**{**row, "ids": {} if ids is None else msgspec.json.decode(ids, type=dict[str, str])})


def _row(arrival: Arrival) -> dict[str, object]:
    given = arrival.candidate
    return {
        "id": given.id,
        "line": arrival.line,
        "node": arrival.node,
        "camera": given.camera,
        "frame": given.frame,
        "captured_at": given.captured_at,
        "row": given.row,
        "col": given.col,
        "inside_h": given.inside[0],
        "inside_w": given.inside[1],
        "release": given.release,
        "score": given.score,
        "reason": given.reason,
        "gain": given.gain,
        "seen": given.seen,
        "crop_format": given.crop_format,
        "received_at": arrival.received_at,
        "state": "pool",
        "crop": given.crop,
    }


def _embedding_row(arrival: Arrival) -> dict[str, object] | None:
    given = arrival.candidate
    if given.embedding is None or given.space is None:
        return None
    vector = unpack(given.embedding).astype(np.float16)
    return {"candidate_id": given.id, "space": given.space, "vector": vector.tobytes()}
