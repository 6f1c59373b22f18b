"""Hand-overs and labels: which candidates people have, and what came back.

A candidate goes pool → handed → labelled and never back. Labels are events that are only added; the newest
one counts.
"""

import json
import uuid
from collections.abc import Iterator, Sequence

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray

from shared.errors import StateError
from shared.images import decode_mask, encode_image, image_size
from trainer.pool.arrays import Arrays
from trainer.pool.candidates import chunks, in_order
from trainer.pool.records import LabelTask, Pick, Purpose, Returned, State
from trainer.pool.schema import candidate, label_event, label_task


class HandOvers(Arrays):
    """The label tables and the candidates' states."""

    def hand_over(self, line: str, number: int, picks: Sequence[Pick]) -> None:
        """Give candidates of the pool to be labelled in a round: all of them, or none when one cannot be given."""
        with self.write() as connection:
            ids = [pick.id for pick in picks]
            self._move(connection, line, ids, old="pool", new="handed")
            now = self.clock.now()
            if picks:
                connection.execute(
                    sa.insert(label_task),
                    [
                        {
                            "candidate_id": pick.id,
                            "line": line,
                            "round": number,
                            "purpose": pick.purpose,
                            "explanation": json.dumps(pick.explanation, sort_keys=True),
                            "handed_at": now,
                        }
                        for pick in picks
                    ],
                )

    def tasks(self, line: str, *, state: State | None = None, number: int | None = None) -> list[LabelTask]:
        """List hand-overs by round and time, of one state and one round where named."""
        query = (
            sa.select(label_task, candidate.c.state)
            .join(candidate, candidate.c.id == label_task.c.candidate_id)
            .where(label_task.c.line == line)
            .order_by(label_task.c.round, label_task.c.handed_at, label_task.c.candidate_id)
        )
        if state is not None:
            query = query.where(candidate.c.state == state)
        if number is not None:
            query = query.where(label_task.c.round == number)
        with self.read() as connection:
            rows = connection.execute(query).mappings().all()
        return [LabelTask(**{**row, "explanation": json.loads(row["explanation"])}) for row in rows]

    def open_tasks(self, line: str) -> list[LabelTask]:
        """List what was handed over and has not come back."""
        return self.tasks(line, state="handed")

    def label(self, returned: Sequence[Returned]) -> None:
        """Add a label event for each mask; candidates handed over become labelled. All of them, or none."""
        with self.write() as connection:
            entries = self.entries([item.candidate_id for item in returned])
            for item, entry in zip(returned, entries, strict=True):
                if entry.state == "pool":
                    raise StateError(f"candidate {entry.id}: it was never handed over; no label was taken")
                side = image_size(self._crop(connection, entry.id), what=f"crop of {entry.id}")
                if item.mask.shape != side or item.mask.dtype != np.uint8:
                    raise StateError(
                        f"candidate {entry.id}: mask {item.mask.dtype} {item.mask.shape}, its crop is {side}; no label was taken"
                    )
            now = self.clock.now()
            if returned:
                connection.execute(sa.insert(label_event), [_event(item, now) for item in returned])
            handed = {entry.id: entry.line for entry in entries if entry.state == "handed"}
            for line in sorted(set(handed.values())):
                mine = [name for name in handed if handed[name] == line]
                self._move(connection, line, mine, old="handed", new="labelled")

    def labelled(self, line: str, purpose: Purpose) -> list[str]:
        """List a line's labelled candidates of one purpose, the one labelled first in front."""
        first = sa.func.min(label_event.c.seq)
        query = (
            sa.select(label_task.c.candidate_id)
            .join(label_event, label_event.c.candidate_id == label_task.c.candidate_id)
            .where(label_task.c.line == line, label_task.c.purpose == purpose)
            .group_by(label_task.c.candidate_id)
            .order_by(first)
        )
        with self.read() as connection:
            return list(connection.scalars(query).all())

    def label_counts(self, line: str) -> dict[str, int]:
        """Count a line's labelled candidates by purpose."""
        query = (
            sa.select(label_task.c.purpose, sa.func.count())
            .join(candidate, candidate.c.id == label_task.c.candidate_id)
            .where(label_task.c.line == line, candidate.c.state == "labelled")
            .group_by(label_task.c.purpose)
        )
        with self.read() as connection:
            found = {str(purpose): int(number) for purpose, number in connection.execute(query)}
        return dict.fromkeys(("train", "reference", "seed"), 0) | found

    def masks(self, ids: Sequence[str]) -> Iterator[tuple[str, NDArray[np.uint8]]]:
        """Walk the newest masks in the order asked: ``(crop_px, crop_px)``, 255 where nothing is supervised."""
        for some in chunks(ids, 256):
            newest = (
                sa.select(sa.func.max(label_event.c.seq))
                .where(label_event.c.candidate_id.in_(some))
                .group_by(label_event.c.candidate_id)
            )
            query = sa.select(label_event.c.candidate_id, label_event.c.mask).where(label_event.c.seq.in_(newest))
            with self.read() as connection:
                found = {str(name): bytes(mask) for name, mask in connection.execute(query)}
            for name, data in zip(some, in_order(some, found, what="labels"), strict=True):
                yield name, decode_mask(data, what=f"label of {name}")

    def _crop(self, connection: sa.Connection, name: str) -> bytes:
        return bytes(connection.execute(sa.select(candidate.c.crop).where(candidate.c.id == name)).scalar_one())

    def _move(self, connection: sa.Connection, line: str, ids: Sequence[str], *, old: State, new: State) -> None:
        moved = 0
        for some in chunks(ids):
            where = (candidate.c.line == line) & (candidate.c.state == old) & candidate.c.id.in_(some)
            moved += connection.execute(sa.update(candidate).where(where).values(state=new)).rowcount
        if moved != len(ids):
            raise StateError(
                f'line "{line}": {len(ids) - moved} of {len(ids)} candidates are not {old} there (or named twice); none became {new}'
            )


def _event(item: Returned, now: float) -> dict[str, object]:
    return {
        "id": str(uuid.uuid4()),
        "candidate_id": item.candidate_id,
        "at": now,
        "source": item.source,
        "mask": encode_image(item.mask, form="png"),
    }
