"""What a study leaves on disk: one line of JSON a finished round, and the recipe that they belong to.

A file of rounds is written whole and takes its name at once: it holds every finished round or one fewer, never a
part of one. Results of another recipe or another set are refused by name, never mixed in.
"""

import fcntl
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from shared.errors import InputError, StateError
from shared.files import read_bounded, write_durably
from trainer.experiment.recipe import CEILING, Recipe

STUDY_NAME: Final = "study.json"
_LIMIT: Final = 1 << 30


class Picks(Struct, frozen=True, kw_only=True):
    """One batch: unit numbers in the order chosen, and how it was chosen."""

    units: tuple[int, ...]
    strategy: str
    sampler: str | None = None
    seconds: float = 0.0
    #: What it cost, where a label is a click.
    clicks: int | None = None
    #: The share that has a near-duplicate among what was labelled or chosen before it.
    near_duplicates: float = 0.0
    tau: float | None = None
    notes: tuple[str, ...] = ()


class RoundRecord(Struct, frozen=True, kw_only=True):
    """One finished round of an arm: what was known, how good the model was, and what comes in next."""

    round: int
    labels: int
    pixels: int
    split: str
    value: float
    per_class: tuple[float | None, ...]
    #: What brought the labels of this round.
    picks: Picks
    #: What the next round will learn; none after the last.
    next: Picks | None = None
    fit_s: float = 0.0
    score_s: float = 0.0
    #: What computed it.
    machine: str = ""

    def __post_init__(self) -> None:
        """Refuse what JSON would write as null, and nobody could read again."""
        if not math.isfinite(self.value):
            raise StateError(f"round {self.round}: its value on {self.split} is {self.value}; it is not written")


class StudyRecord(Struct, frozen=True, kw_only=True):
    """What the results below a folder are of."""

    name: str
    recipe: Recipe
    recipe_hash: str
    #: The hash of the keys of every split and of their truth: the same images and labels, in the same splits.
    data_hash: str
    classes: tuple[str, ...]
    #: ``mIoU`` or ``accuracy``.
    measure: str
    split: str
    split_kind: str
    machine: str = ""


def read_rounds(path: Path) -> list[RoundRecord]:
    """Read the finished rounds of an arm; none where there is no file."""
    if not path.is_file():
        return []
    try:
        lines = read_bounded(path, limit=_LIMIT).splitlines()
        rounds = [msgspec.json.decode(line, type=RoundRecord) for line in lines]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: {error}; remove the file to hold the arm's rounds again") from None
    if fault := next(_faults(rounds), None):
        raise InputError(f"{path}: {fault}; remove the file to hold the arm's rounds again")
    return rounds


def _faults(rounds: Sequence[RoundRecord]) -> Iterator[str]:
    """Say what no study can have written, though each line reads well."""
    numbers = [record.round for record in rounds]
    if numbers != list(range(len(rounds))):
        yield f"rounds {numbers}, expected 0 to {len(rounds) - 1}"
    units = [unit for record in rounds for unit in record.picks.units]
    if len(set(units)) < len(units):
        yield f"{len(units) - len(set(units))} units were chosen twice"
    for record in rounds:
        if not 0.0 <= record.value <= 1.0:
            yield f"round {record.round} has the value {record.value}, expected 0 to 1"
        if len(record.per_class) != len(rounds[0].per_class):
            yield f"round {record.round} has {len(record.per_class)} classes, round 0 {len(rounds[0].per_class)}"
    for before, after in pairwise(rounds):
        if before.next is None or before.next.units != after.picks.units:
            yield f"round {after.round} did not learn what round {before.round} chose"
        if after.labels <= before.labels:
            yield f"round {after.round} has {after.labels} labels, round {before.round} {before.labels}"


def has_rounds(folder: Path) -> bool:
    """Say whether an arm of a study has finished a round."""
    return any(path.stem != CEILING for path in folder.glob("seed-*/*.jsonl"))


def write_rounds(path: Path, rounds: Sequence[RoundRecord]) -> None:
    """Write the finished rounds of an arm durably."""
    write_durably(path, b"".join(msgspec.json.encode(record) + b"\n" for record in rounds))


def open_study(folder: Path, wanted: StudyRecord) -> None:
    """Say what a folder's results are of, or refuse one whose results are of something else."""
    path = folder / STUDY_NAME
    # A recipe that was refused before it had a result may be mended in place. A lock is none.
    begun = any(not found.name.startswith(".") for found in folder.glob("seed-*/*"))
    if begun and not path.is_file():
        raise StateError(f"{folder}: holds results, and no {STUDY_NAME} that says of what; give another --out")
    if begun:
        found = read_study(folder)
        for what, old, asked in (
            ("recipe", found.recipe_hash, wanted.recipe_hash),
            ("images", found.data_hash, wanted.data_hash),
        ):
            if old != asked:
                raise StateError(
                    f"{path}: its results are of {what} {old[:12]}, this run's {what} {'is' if what == 'recipe' else 'are'} {asked[:12]}; give another --out, or bring back the old {what}"
                )
        if found == wanted:
            return
    write_durably(path, msgspec.json.format(msgspec.json.encode(wanted), indent=2) + b"\n")


def read_study(folder: Path) -> StudyRecord:
    """Read what a folder's results are of."""
    path = folder / STUDY_NAME
    try:
        return msgspec.json.decode(read_bounded(path, limit=_LIMIT), type=StudyRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: {error}; it is damaged or of another version, and what lies beside it cannot be used without it: give another --out"
        ) from None


def study_folders(out: Path) -> list[Path]:
    """Find the studies in a folder: itself, or those directly below it."""
    found = [folder for folder in (out, *sorted(out.glob("*/"))) if (folder / STUDY_NAME).is_file()]
    if not found:
        raise InputError(f"{out}: no {STUDY_NAME} in it or directly below; give the --out of an experiment run")
    return found


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a seed's folder for the life of this process; the kernel gives it back however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise StateError(f"{folder}: another run holds it; wait for it, or give other --seeds") from None
        yield
    finally:
        os.close(handle)
