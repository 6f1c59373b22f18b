"""The arms of an experiment: winnow beside labels by lot from the stream and by lot from the pool.

The rivals get as many training labels as winnow has, the line's own settings, and each round's seed; all three are
measured on one validation set that no arm and no gate ever sees. What a rival drew and learned is kept, so that a
restart goes on with it.
"""

from collections.abc import Iterable
from math import inf
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import Struct

from shared.errors import ConfigError, InputError
from shared.files import read_bounded, write_durably
from trainer.experiment.rivals import draw_pool, draw_stream
from trainer.experiment.samples import Place, Samples, samples_at, validation_set
from trainer.learning.evaluate import evaluate
from trainer.learning.metrics import iou, miou
from trainer.learning.model import TaskModel
from trainer.learning.weights import RunRecord, has_run, load_run, save_run
from trainer.pool.records import SEED_NODE
from trainer.rounds.training import fit, fits, space_to_start_from, training_seed
from trainer.rounds.workbench import Workbench

Rival = Literal["random_stream", "random_pool"]
RIVALS: Final[tuple[Rival, ...]] = ("random_stream", "random_pool")
_DRAWN: Final = "drawn.json"
_DRAWN_LIMIT: Final = 256 << 20


class RoundDone(Struct, frozen=True, kw_only=True):
    """One line of input: a round that is done, and what the cameras had seen when its batch was chosen."""

    round: int
    run: str
    train_total: int
    labels_total: int = 0
    #: Frames by ``node/camera``.
    seen: dict[str, int]


class _Drawn(Struct, frozen=True, kw_only=True):
    """What a rival has drawn up to a round: places of the stream, ids for those of the pool."""

    places: tuple[Place, ...]
    ids: tuple[str, ...] = ()


class Arms:
    """Trains the rivals of one line and measures all three arms."""

    def __init__(self, bench: Workbench) -> None:
        if bench.line.simulator is None:
            raise ConfigError(
                f'line "{bench.line.line}": no [simulator] table; the arms need the truth of what was never labelled'
            )
        self._bench = bench
        self._validation = validation_set(bench.line)

    def answer(self, lines: Iterable[bytes]) -> None:
        """Measure the arms for each round told, until the input ends."""
        for line in lines:
            if line.strip():
                self.measure(_read(line))

    def measure(self, told: RoundDone) -> None:
        """Measure winnow's run, train and measure its rivals, and tell each."""
        model, _ = load_run(self._bench.paths.runs / told.run)
        self._tell(told, "winnow", model, labels=told.train_total)
        for rival in RIVALS:
            drawn = self._drawn(rival, told)
            model = self._trained(rival, told, drawn)
            self._tell(told, rival, model, labels=len(drawn.places))

    def _tell(self, told: RoundDone, arm: str, model: TaskModel, *, labels: int) -> None:
        names = self._bench.line.class_names
        counts = evaluate(model, self._validation.crops, self._validation.masks, classes=len(names)).sum(axis=0)
        mean = miou(counts)
        self._bench.event(
            "arm",
            f"round {told.round}, {arm}: mIoU {mean:.3f} with {labels} labels",
            round=told.round,
            arm=arm,
            labels=labels,
            miou=mean,
            per_class={
                name: None if np.isnan(value) else float(value) for name, value in zip(names, iou(counts), strict=True)
            },
        )

    def _drawn(self, rival: Rival, told: RoundDone) -> _Drawn:
        """Draw what the rival labels up to this round; what it drew before stays."""
        before = self._read_drawn(rival, told.round - 1)
        rng = self._bench.rng(told.round, rival)
        if rival == "random_stream":
            places = draw_stream(self._bench.line, told.seen, before.places, told.train_total, rng)
            drawn = _Drawn(places=tuple(places))
        else:
            where = self._pool_at(told.round)
            # Retention may have dropped what was drawn earlier; its label stays the rival's.
            where |= dict(zip(before.ids, before.places, strict=True))
            ids = draw_pool(sorted(where), before.ids, told.train_total, rng)
            drawn = _Drawn(places=tuple(where[name] for name in ids), ids=tuple(ids))
        write_durably(self._folder(rival, told.round) / _DRAWN, msgspec.json.encode(drawn))
        return drawn

    def _pool_at(self, number: int) -> dict[str, Place]:
        """Return everything that had ever come when the round's batch was chosen: later releases fill the pool better."""
        pool, line = self._bench.pool, self._bench.line.line
        chosen_at = max((task.handed_at for task in pool.tasks(line, number=number)), default=inf)
        return {
            entry.id: Place(entry.node, entry.camera, entry.frame, entry.row, entry.col)
            for entry in pool.entries(pool.ids(line, state=None))
            if entry.node != SEED_NODE and entry.received_at <= chosen_at
        }

    def _trained(self, rival: Rival, told: RoundDone, drawn: _Drawn) -> TaskModel:
        line = self._bench.line
        folder, before = self._folder(rival, told.round), self._folder(rival, told.round - 1)
        start = None
        if line.learning.warm_start and has_run(before):
            start, record = load_run(before)
            start = start if fits(line, record) else None
        samples: Samples = samples_at(line, drawn.places)
        seed = training_seed(self._bench, told.round)
        # Every rival begins as the line's own models do.
        space = space_to_start_from(self._bench)
        with self._bench.progress(f"train {rival}", told.round) as step:
            model, report = fit(line, samples.crops, samples.masks, seed=seed, start=start, space=space, step=step)
        record = RunRecord(
            run=f"{rival}-r{told.round:03d}",
            line=line.line,
            round=told.round,
            snapshot="",
            samples=len(samples.crops),
            seed=seed,
            classes=line.class_names,
            channels=line.grid.channels,
            learning=line.learning,
            losses=report.losses,
            seconds=report.seconds,
        )
        save_run(folder, model, record)
        return model

    def _read_drawn(self, rival: Rival, number: int) -> _Drawn:
        path = self._folder(rival, number) / _DRAWN
        if not path.is_file():
            return _Drawn(places=())
        try:
            return msgspec.json.decode(read_bounded(path, limit=_DRAWN_LIMIT), type=_Drawn)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: {error}; remove the folder {path.parent.parent} to begin anew") from None

    def _folder(self, rival: Rival, number: int) -> Path:
        return self._bench.paths.directory / "arms" / self._bench.line.line / rival / f"r{number:03d}"


def _read(line: bytes) -> RoundDone:
    try:
        return msgspec.json.decode(line, type=RoundDone)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f'standard input: {error}; expected {{"round", "run", "train_total", "labels_total", "seen"}} on each line'
        ) from None
