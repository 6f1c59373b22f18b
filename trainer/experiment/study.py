"""A study: the arms of a recipe over its seeds, held round by round, and gone on with wherever it was ended.

``OUT/NAME/seed-S/ARM.jsonl`` holds an arm's finished rounds, ``ceiling.jsonl`` what all labels give. Embeddings are
learned once a seed and kept beside.
"""

import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from shared.clock import Clock
from shared.console import Console, Step, roughly
from shared.errors import ConfigError, InputError, StateError, WinnowError
from shared.files import write_durably
from shared.identity import sha256_hex
from trainer.experiment.draws import fit_seed, space_seed
from trainer.experiment.grounds import data_hash, lay_ground, measured_split, open_data
from trainer.experiment.learner import Ground, Labelled
from trainer.experiment.recipe import CEILING, Arm, Recipe
from trainer.experiment.record import Picks, RoundRecord, StudyRecord, claimed, open_study, read_rounds, write_rounds
from trainer.experiment.walk import FirstRound, Walk, start_by_kernel, start_by_lot
from trainer.selection.numbers import Vectors

#: A seed's progress is told in percent: a round is too long a step, and its parts are no unit that anyone counts.
_PERCENT: Final = 100
#: No arm has an empty name: the recipe's own space, in which near-duplicates of all arms are told.
COMMON: Final = ""


@dataclass(slots=True)
class Study:
    """A recipe on a data set, below ``out``."""

    name: str
    recipe: Recipe
    data: Path | None
    out: Path
    console: Console
    clock: Clock
    machine: str
    #: The names of those that are held; all when absent.
    only: tuple[str, ...] | None = None

    @property
    def arms(self) -> tuple[Arm, ...]:
        """The arms that are held."""
        known = [arm.name for arm in self.recipe.arms]
        if strange := [name for name in self.only or () if name not in known]:
            raise ConfigError(f'--arms: "{strange[0]}" is not an arm of {self.name}; known are {", ".join(known)}')
        return tuple(arm for arm in self.recipe.arms if self.only is None or arm.name in self.only)

    @property
    def folder(self) -> Path:
        """Where the study's results lie."""
        return self.out / self.name

    def prepare(self) -> Ground:
        """Read the data set, and check that the folder holds results of nothing else."""
        _ = self.arms
        with self.console.progress("read images") as step:
            data = open_data(self.recipe, self.data, work=self.out / "unpacked", step=step)
        with self.console.progress("decode images") as step:
            ground = lay_ground(self.recipe, data, step=step)
        needed = sum(self.recipe.schedule.additions())
        # What clicks will have cost is known once they are made: whoever runs out of regions is told by a note.
        if ground.clicked is None and needed > ground.count:
            raise ConfigError(
                f"schedule: {needed} units in all, {data.name} has {ground.count} to learn from; ask for fewer or cut finer units"
            )
        open_study(
            self.folder,
            StudyRecord(
                name=self.name,
                recipe=self.recipe,
                recipe_hash=self.recipe.hash,
                data_hash=data_hash(data, ground),
                classes=data.classes,
                measure="mIoU" if data.task == "segmentation" else "accuracy",
                split=measured_split(self.recipe, data),
                split_kind=data.split_kind,
                machine=self.machine,
            ),
        )
        return ground

    def run_seed(self, ground: Ground, seed: int) -> None:
        """Hold every round of one seed that is not held yet."""
        folder = self.folder / f"seed-{seed}"
        with claimed(folder), self.console.progress(f"seed {seed}", seed=seed) as step:
            _Seed(self, ground, seed, folder, step).run()


@dataclass(slots=True)
class _Seed:
    study: Study
    ground: Ground
    seed: int
    folder: Path
    step: Step
    first: FirstRound = field(default_factory=FirstRound)
    start: Picks | None = None
    _spaces: dict[str, Vectors] = field(default_factory=dict)
    _held: int = 0
    _began: float = 0.0
    _skipped: int = 0
    _total: int = 0

    def run(self) -> None:
        recipe = self.study.recipe
        additions = recipe.schedule.additions()
        self._began = self.study.clock.monotonic()
        self._total = len(self.study.arms) * len(additions) + int(recipe.ceiling)
        if recipe.ceiling:
            self._ceiling()
        failed: list[str] = []
        for arm in self.study.arms:
            try:
                self._arm(arm, additions)
            except WinnowError as error:
                # What is wrong with one arm's settings says nothing of the others.
                self.study.console.warn(f"seed {self.seed}, {arm.name}: {error}; the other arms go on")
                failed.append(arm.name)
        if failed:
            raise StateError(
                f"seed {self.seed}: {len(failed)} of {len(self.study.arms)} arms did not end, {', '.join(failed)}, see above; the others are held, run again to go on"
            )

    def _arm(self, arm: Arm, additions: tuple[int, ...]) -> None:
        path = self.folder / f"{arm.name}.jsonl"
        done = read_rounds(path)
        if fault := _fault(done, rounds=len(additions), count=self.ground.count):
            raise InputError(f"{path}: {fault}; remove the file to hold the arm's rounds again")
        if len(done) == len(additions):
            self._skip(len(additions))
            return
        self._skip(len(done))
        self._begin()
        if self.start is None:
            self.start = self._start(additions[0])
        walk = Walk(
            arm,
            self.seed,
            self.ground,
            self.ground.learner(arm.name),
            self._embeddings(arm.name, self.start.units),
            self._embeddings(COMMON, self.start.units),
            additions,
            self._alike(arm.name),
            self.first,
            self.folder / "under-way",
        )
        while len(done) < len(additions):
            record = walk.hold(done, self.start, self._inner())
            done.append(msgspec.structs.replace(record, machine=self.study.machine))
            write_rounds(path, done)
            shutil.rmtree(walk.keep, ignore_errors=True)
            self._tell(arm.name, record)

    def _ceiling(self) -> None:
        path = self.folder / f"{CEILING}.jsonl"
        if read_rounds(path):
            self._skip(1)
            return
        self._begin()
        clock = self.study.clock
        began = clock.monotonic()
        everything = range(self.ground.count)
        inner = self._inner()
        keep = self.folder / "under-way"
        seed = fit_seed(self.seed, 0)
        fitted = self.ground.learner(CEILING).fit(Labelled(everything, 0), seed=seed, step=inner, keep=keep)
        took = clock.monotonic() - began
        measured = fitted.measure(self.ground.measured, step=inner)
        record = RoundRecord(
            round=0,
            labels=len(everything),
            pixels=self.ground.pixels(everything),
            split=self.ground.measured,
            value=measured.value,
            per_class=measured.per_class,
            picks=Picks(units=(), strategy="all"),
            fit_s=took,
            machine=self.study.machine,
        )
        write_rounds(path, [record])
        shutil.rmtree(keep, ignore_errors=True)
        self._tell(CEILING, record)

    def _begin(self) -> None:
        """Learn what models begin with, where they do; a seed that goes on finds it kept."""
        if self.ground.begin is not None:
            self.ground.begin(self._learning("what encoders begin with"), self.folder / "begin")

    def _start(self, first: int) -> Picks:
        if self.study.recipe.start == "random" or self.ground.clicked is not None:
            return start_by_lot(self.ground, first, seed=self.seed)
        return start_by_kernel(self._embeddings(COMMON, ()), first, seed=self.seed)

    def _embeddings(self, arm: str, start: tuple[int, ...]) -> Vectors:
        """Return the embeddings of all units, learned once a seed; of labels they may see those of the start set."""
        if self.ground.clicked is not None:
            return np.empty((0, 1), dtype=np.float32)
        embedder = self.ground.embedder(arm)
        digest = sha256_hex(msgspec.json.encode((embedder.key, space_seed(self.seed)), order="sorted"))[:12]
        if digest not in self._spaces:
            path = self.folder / f"space-{digest}.npy"
            if not path.is_file():
                keep = self.folder / f"space-{digest}-under-way"
                step = self._learning("embeddings")
                step(0, 1)
                vectors = embedder.embed(
                    range(self.ground.count), start=start, seed=space_seed(self.seed), step=step, keep=keep
                )
                written = io.BytesIO()
                np.save(written, vectors.astype(np.float32), allow_pickle=False)
                write_durably(path, written.getvalue())
                shutil.rmtree(keep, ignore_errors=True)
            self._spaces[digest] = _read_vectors(path, count=self.ground.count)
        return self._spaces[digest]

    def _learning(self, what: str) -> Step:
        """Tell how far what comes before the rounds is in lines of its own: a second bar cannot be drawn."""
        told = -1

        def step(done: int, total: int) -> None:
            nonlocal told
            tenth = 10 * done // max(total, 1)
            if tenth > told:
                told = tenth
                text = f"seed {self.seed}: learning {what}, {10 * tenth} %"
                self.study.console.event("learning", text, what=what, seed=self.seed, percent=10 * tenth)

        return step

    def _alike(self, arm: str) -> bytes:
        recipe = self.study.recipe
        parts = (recipe.learning_of(arm), recipe.classifier_of(arm), recipe.acquisition_of(arm))
        return msgspec.json.encode(parts, order="sorted")

    def _skip(self, rounds: int) -> None:
        self._skipped += rounds
        self._held += rounds
        self._progress(0.0)

    def _inner(self) -> Step:
        """Tell a round's progress as a part of the seed's."""
        return lambda done, total: self._progress(done / max(total, 1))

    def _progress(self, share: float) -> None:
        self.step(int(_PERCENT * (self._held + share) / self._total), _PERCENT)

    def _tell(self, arm: str, record: RoundRecord) -> None:
        self._held += 1
        self._progress(0.0)
        each = (self.study.clock.monotonic() - self._began) / (self._held - self._skipped)
        left = each * (self._total - self._held)
        self.study.console.event(
            "round",
            f"seed {self.seed}, {arm}, round {record.round}: {record.value:.3f} with {record.labels} labels; {roughly(left)} left for this seed",
            study=self.study.name,
            seed=self.seed,
            arm=arm,
            round=record.round,
            labels=record.labels,
            pixels=record.pixels,
            value=record.value,
            seconds_left=round(left, 1),
        )


def _fault(done: Sequence[RoundRecord], *, rounds: int, count: int) -> str | None:
    """Say why finished rounds are not those of this schedule and this set; what they are in themselves was looked at."""
    if len(done) > rounds:
        return f"{len(done)} rounds, the schedule has {rounds}"
    batches = [record.picks for record in done] + [record.next for record in done[-1:] if record.next is not None]
    if strange := [unit for batch in batches for unit in batch.units if not 0 <= unit < count]:
        return f"unit {strange[0]}, the set has 0 to {count - 1}"
    if done and done[-1].next is None and len(done) < rounds:
        return f"round {len(done) - 1} does not say what the next one learns"
    return None


def _read_vectors(path: Path, *, count: int) -> Vectors:
    try:
        vectors: Vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: {error}; remove it to learn the embeddings again") from None
    if vectors.ndim != 2 or len(vectors) != count:
        raise InputError(f"{path}: {vectors.shape}, the set has {count} units; remove it to learn the embeddings again")
    return vectors
