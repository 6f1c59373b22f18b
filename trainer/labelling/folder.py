"""Hand-overs through a folder: crops go out, masks painted in any tool come back.

The folder holds ``labels.json``, ``crops/``, ``prelabels/`` where there is a model, and ``masks/`` where people
put index PNGs of the crops' size. What may be labelled is read from the pool, never from the folder: the
folder has been in other hands.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from msgspec import Struct

from shared.config import LineConfig
from shared.console import Step
from shared.errors import InputError, StateError
from shared.files import read_bounded, write_durably
from shared.images import decode_mask, encode_image, encode_mask
from trainer.labelling.masks import IGNORE, Mask, clear_outside, outline
from trainer.pool.pool import LabelTask, Pool, PoolEntry, Returned

SCHEMA: Final = 1
LABELS_NAME: Final = "labels.json"
_MAX_LABELS_BYTES: Final = 64 << 20
_MAX_MASK_BYTES: Final = 16 << 20
SOURCE: Final = "folder"

#: Paints masks for crops with the newest run: candidate ids in, ``(id, mask)`` out in the same order.
Prelabel = Callable[[Sequence[str]], Iterator[tuple[str, Mask]]]


class ClassEntry(Struct, frozen=True, kw_only=True):
    """One class: the value to paint, its name and its colour."""

    value: int
    name: str
    colour: str


class TaskEntry(Struct, frozen=True, kw_only=True):
    """One crop to label; ``outline`` is the patch inside the crop: top, left, height, width."""

    id: str
    file: str
    mask: str
    prelabel: str | None
    outline: tuple[int, int, int, int]
    purpose: str
    round: int
    explanation: dict[str, object]
    #: Of the part, the lot or the recipe that the frame showed.
    ids: dict[str, str] = {}


class LabelsFile(Struct, frozen=True, kw_only=True):
    """``labels.json``: what to paint, and with which values."""

    schema: int = SCHEMA
    line: str
    crop_px: int
    ignore: int = IGNORE
    classes: tuple[ClassEntry, ...]
    tasks: tuple[TaskEntry, ...]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What a folder brought: labels for open tasks, corrections of earlier ones, and what is not there yet."""

    painted: int
    corrected: int
    unchanged: int
    missing: int


def export_folder(
    pool: Pool, line: LineConfig, directory: Path, *, prelabel: Prelabel | None = None, step: Step | None = None
) -> int:
    """Write every open task of a line into a folder, and return how many there are."""
    tasks = pool.open_tasks(line.line)
    if not tasks:
        raise StateError(f'line "{line.line}": nothing is handed over; run "winnow trainer select" first')
    ids = [task.candidate_id for task in tasks]
    (directory / "masks").mkdir(parents=True, exist_ok=True)
    for done, (name, crop) in enumerate(pool.crops(ids, channels=line.grid.channels), start=1):
        write_durably(directory / "crops" / f"{name}.png", encode_image(crop, form="png"))
        if step is not None:
            step(done, len(ids))
    colours = [entry.colour for entry in line.classes]
    for name, mask in prelabel(ids) if prelabel is not None else ():
        write_durably(directory / "prelabels" / f"{name}.png", encode_mask(mask, colours))
    entries = zip(tasks, pool.entries(ids), strict=True)
    file = LabelsFile(
        line=line.line,
        crop_px=line.grid.crop_px,
        classes=_classes(line),
        tasks=tuple(_task(task, entry, line, with_prelabel=prelabel is not None) for task, entry in entries),
    )
    # Written last: a folder without it is not a hand-over.
    write_durably(directory / LABELS_NAME, msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")
    return len(tasks)


def import_folder(
    pool: Pool, line: LineConfig, directory: Path, *, dry_run: bool = False, source: str = SOURCE
) -> ImportReport:
    """Take painted masks into the pool: all of them in one transaction, or none when any has a fault."""
    named = _read_labels(directory, line)
    known = {task.candidate_id: task for task in pool.tasks(line.line) if task.purpose != "seed"}
    files = sorted(path for path in (directory / "masks").glob("*.png") if not path.name.startswith("."))
    problems = [
        f"{path}: no task of line {line.line} has this name; name a mask as its crop is named"
        for path in files
        if path.stem not in known
    ]
    files = [path for path in files if path.stem in known]
    returned: list[Returned] = []
    for path, entry in zip(files, pool.entries([path.stem for path in files]), strict=True):
        try:
            returned.append(Returned(entry.id, _painted(path, line, entry.inside), source))
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(
            "\n".join([*problems, f"{directory}: {len(problems)} faults; no label was taken"]), problems=tuple(problems)
        )
    return _take(pool, returned, known, missing=len(set(named) - {path.stem for path in files}), dry_run=dry_run)


def _take(
    pool: Pool, returned: Sequence[Returned], known: dict[str, LabelTask], *, missing: int, dry_run: bool
) -> ImportReport:
    with pool.write():
        old = [item for item in returned if known[item.candidate_id].state == "labelled"]
        before = dict(pool.masks([item.candidate_id for item in old]))
        unchanged = {item.candidate_id for item in old if np.array_equal(before[item.candidate_id], item.mask)}
        taken = [item for item in returned if item.candidate_id not in unchanged]
        if not dry_run:
            pool.label(taken)
    corrected = len(old) - len(unchanged)
    return ImportReport(painted=len(taken) - corrected, corrected=corrected, unchanged=len(unchanged), missing=missing)


def _painted(path: Path, line: LineConfig, inside: tuple[int, int]) -> Mask:
    mask = decode_mask(read_bounded(path, limit=_MAX_MASK_BYTES), what=str(path))
    side = line.grid.crop_px
    if mask.shape != (side, side):
        raise InputError(f"{path}: {mask.shape[0]} x {mask.shape[1]} pixels, its crop is {side} x {side}")
    check_values(mask, line, what=str(path))
    mask = clear_outside(mask, line.grid, inside)
    if (mask == IGNORE).all():
        raise InputError(f"{path}: nothing inside the patch is labelled; paint it or take the file away")
    return mask


def check_values(mask: Mask, line: LineConfig, *, what: str) -> None:
    """Refuse a mask with values that no class has, and list them."""
    values, numbers = np.unique(mask, return_counts=True)
    strange = [
        f"{value} ({number} px)"
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True)
        if value >= len(line.classes) and value != IGNORE
    ]
    if strange:
        raise InputError(
            f"{what}: undeclared values {', '.join(strange)}; declared are 0 to {len(line.classes) - 1}, and {IGNORE} for ignore"
        )


def _read_labels(directory: Path, line: LineConfig) -> list[str]:
    path = directory / LABELS_NAME
    try:
        file = msgspec.json.decode(read_bounded(path, limit=_MAX_LABELS_BYTES), type=LabelsFile)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; export the hand-over again") from None
    for what, found, expected in (
        ("schema", file.schema, SCHEMA),
        ("line", file.line, line.line),
        ("crop_px", file.crop_px, line.grid.crop_px),
        ("classes", [entry.name for entry in file.classes], list(line.class_names)),
    ):
        if found != expected:
            raise InputError(f"{path}: {what} is {found}, the line's is {expected}; export the hand-over again")
    return [task.id for task in file.tasks]


def _classes(line: LineConfig) -> tuple[ClassEntry, ...]:
    return tuple(
        ClassEntry(value=value, name=entry.name, colour=entry.colour) for value, entry in enumerate(line.classes)
    )


def _task(task: LabelTask, entry: PoolEntry, line: LineConfig, *, with_prelabel: bool) -> TaskEntry:
    return TaskEntry(
        id=entry.id,
        file=f"crops/{entry.id}.png",
        mask=f"masks/{entry.id}.png",
        prelabel=f"prelabels/{entry.id}.png" if with_prelabel else None,
        outline=outline(line.grid, entry.inside),
        purpose=task.purpose,
        round=task.round,
        explanation=task.explanation,
        ids=dict(entry.ids),
    )
