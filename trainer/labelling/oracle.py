"""The simulator's oracle: answers hand-overs with the truth of the simulated line."""

from itertools import groupby

from shared.config import LineConfig
from shared.console import Step
from shared.geometry import Patch
from shared.simulated import simulated_camera
from trainer.labelling.masks import truth_mask
from trainer.pool.pool import Pool, PoolEntry, Returned

SOURCE = "oracle"
#: Masks are committed in pieces, so that an interrupted answer goes on where it stood.
_AT_ONCE = 64


def answer_open_tasks(pool: Pool, line: LineConfig, *, step: Step | None = None) -> int:
    """Label everything the line has handed over, and return how many that was."""
    tasks = [task.candidate_id for task in pool.open_tasks(line.line)]
    entries = sorted(pool.entries(tasks), key=_frame)
    done = 0
    waiting: list[Returned] = []
    for (node, camera, frame), group in groupby(entries, key=_frame):
        # One frame is drawn once, however many of its patches are asked for.
        mask = simulated_camera(line, node=node, camera=camera).frame(frame).mask
        waiting += [
            Returned(entry.id, truth_mask(line.grid, mask, Patch(entry.row, entry.col)), SOURCE) for entry in group
        ]
        if len(waiting) >= _AT_ONCE:
            done += _commit(pool, waiting)
            if step is not None:
                step(done, len(tasks))
    return done + _commit(pool, waiting)


def _frame(entry: PoolEntry) -> tuple[str, str, int]:
    return entry.node, entry.camera, entry.frame


def _commit(pool: Pool, waiting: list[Returned]) -> int:
    number = len(waiting)
    if waiting:
        pool.label(waiting)
        waiting.clear()
    return number
