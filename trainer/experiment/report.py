"""What a study says: curves with their spread over seeds, labels needed and saved, classes, near-duplicates, time.

Rounds that not every seed of an arm has held yet stay out of its curve; areas, labels saved and the figure are told over
the rounds and seeds that all arms share. An arm is held against random choice under the same model, and against the
ceiling where that is of the same model.
"""

import datetime as dt
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from msgspec import Struct

from shared.clock import SystemClock
from shared.errors import InputError
from trainer.experiment.comparison import (
    Gain,
    Held,
    areas_of,
    gain_of,
    lot_of,
    mean_curve,
    model_of,
    normalised_areas,
    saved_share,
    shared_rounds,
)
from trainer.experiment.curves import CEILING_SHARES, labels_to_ceiling, mean_spread
from trainer.experiment.recipe import CEILING
from trainer.experiment.record import StudyRecord, read_rounds, read_study

_SEED = re.compile(r"seed-([0-9]+)")


class Spread(Struct, frozen=True):
    """A mean over seeds and the sample standard deviation; None for one seed."""

    mean: float
    sd: float | None


class ArmReport(Struct, frozen=True, kw_only=True):
    """One arm over its seeds."""

    name: str
    seeds: tuple[int, ...]
    labels: tuple[int, ...]
    #: By seed, by round.
    values: tuple[tuple[float, ...], ...]
    curve: tuple[Spread, ...]
    alc: Spread | None
    normalised_alc: Spread | None
    #: Against random choice under the same model; None for random itself, without one, and for one seed.
    gain: Gain | None
    #: Labels at which the mean curve reaches this share of the ceiling, by share; None where it does not.
    to_ceiling: dict[str, float | None]
    #: The share of random's labels that is saved where both curves, made rising, reach the lower of their two ends.
    saved: float | None
    per_class: tuple[float | None, ...]
    near_duplicates: float
    selection_s: float


class StudyReport(Struct, frozen=True, kw_only=True):
    """A study with all its arms."""

    name: str
    title: str
    rows: tuple[str, ...]
    date: str
    measure: str
    split: str
    split_kind: str
    data: str
    classes: tuple[str, ...]
    machine: str
    recipe_hash: str
    #: Which images in which splits, and their truth.
    data_hash: str
    ceiling: Spread | None
    arms: tuple[ArmReport, ...]
    #: Arms that some seed has not held to their end.
    unfinished: tuple[str, ...]
    #: The last values that all arms share, in a sentence.
    figure: str


def build_report(folder: Path) -> StudyReport:
    """Read a study's results into one report."""
    study = read_study(folder)
    seeds = {int(found[1]): path for path in folder.iterdir() if (found := _SEED.fullmatch(path.name))}
    ceilings = {
        seed: record[0].value for seed in sorted(seeds) if (record := read_rounds(seeds[seed] / f"{CEILING}.jsonl"))
    }
    held = {
        arm.name: {seed: rounds for seed in sorted(seeds) if (rounds := read_rounds(seeds[seed] / f"{arm.name}.jsonl"))}
        for arm in study.recipe.arms
    }
    held = {name: rounds for name, rounds in held.items() if rounds}
    for name, by_seed in held.items():
        for seed, rounds in by_seed.items():
            if len(rounds[0].per_class) != len(study.classes):
                raise InputError(
                    f"{seeds[seed] / name}.jsonl: {len(rounds[0].per_class)} classes, the study has {len(study.classes)}; remove the file to hold the arm's rounds again"
                )
    if not held:
        raise InputError(f"{folder}: no finished round yet; run the experiment first")
    shared = shared_rounds(held)
    tops = {name: ceilings if model_of(study.recipe, name) == model_of(study.recipe, CEILING) else {} for name in held}
    arms = tuple(_arm(name, held[name], tops[name], shared, lot_of(study.recipe, name)) for name in held)
    whole = len(study.recipe.schedule.additions())
    unfinished = tuple(
        arm.name
        for arm in study.recipe.arms
        if any(len(held.get(arm.name, {}).get(seed, ())) < whole for seed in seeds)
    )
    return StudyReport(
        name=study.name,
        title=study.recipe.title,
        rows=tuple(study.recipe.rows),
        date=dt.datetime.fromtimestamp(SystemClock().now(), dt.UTC).date().isoformat(),
        measure=study.measure,
        split=study.split,
        split_kind=study.split_kind,
        data=study.recipe.data.name,
        classes=study.classes,
        machine=study.machine,
        recipe_hash=study.recipe_hash,
        data_hash=study.data_hash,
        ceiling=_spread(list(ceilings.values())) if ceilings else None,
        arms=arms,
        unfinished=unfinished,
        figure=("unfinished: " if unfinished else "") + _figure(study, shared, ceilings),
    )


def _arm(name: str, held: Held, ceilings: dict[int, float], shared: dict[str, Held], lot: str | None) -> ArmReport:
    labels, mean = mean_curve(held)
    values = [[record.value for record in rounds[: len(labels)]] for rounds in held.values()]
    spread = mean_spread(values)[1]
    long = len(labels) > 1
    areas = areas_of(shared[name])
    rival = shared.get(lot) if lot is not None else None
    normal = normalised_areas(shared[name], rival, ceilings)
    top = float(np.mean(list(ceilings.values()))) if ceilings and long else None
    shares = labels_to_ceiling(labels, mean, ceiling=top) if top is not None else dict.fromkeys(CEILING_SHARES)
    last = [rounds[len(labels) - 1] for rounds in held.values()]
    chosen = [record.picks for rounds in held.values() for record in rounds[1 : len(labels)]]
    return ArmReport(
        name=name,
        seeds=tuple(held),
        labels=tuple(labels),
        values=tuple(tuple(row) for row in values),
        curve=tuple(
            Spread(m, None if np.isnan(sd) else float(sd)) for m, sd in zip(mean, spread.tolist(), strict=True)
        ),
        alc=_spread(areas) if areas else None,
        # A seed whose ceiling is below its start has no normalised curve; then the arm has none.
        normalised_alc=_spread(normal) if normal and len(normal) == len(areas) else None,
        gain=gain_of(name, areas, areas_of(rival)) if rival is not None and lot != name else None,
        to_ceiling={f"{share:.2f}": needed for share, needed in shares.items()},
        saved=saved_share(mean_curve(shared[name]), mean_curve(rival)) if areas and rival is not None else None,
        per_class=tuple(
            _class_mean([record.per_class[value] for record in last]) for value in range(len(last[0].per_class))
        ),
        near_duplicates=float(np.mean([picks.near_duplicates for picks in chosen])) if chosen else 0.0,
        selection_s=float(np.mean([picks.seconds for picks in chosen])) if chosen else 0.0,
    )


def _spread(values: Sequence[float]) -> Spread:
    mean, spread = mean_spread([[value] for value in values])
    return Spread(float(mean[0]), None if np.isnan(spread[0]) else float(spread[0]))


def _class_mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _figure(study: StudyRecord, shared: dict[str, Held], ceilings: dict[int, float]) -> str:
    first = next(iter(shared.values()))
    if not first:
        return "no seed that all arms have begun"
    ends = ", ".join(
        f"{name} {plus_minus(_spread([rounds[-1].value for rounds in held.values()]))}" for name, held in shared.items()
    )
    everything = f", all labels {plus_minus(_spread(list(ceilings.values())))}" if ceilings else ""
    labels = next(iter(first.values()))[-1].labels
    return f"{study.measure} at {labels} labels, {len(first)} seeds: {ends}{everything}"


def plus_minus(value: Spread | None, *, digits: int = 3) -> str:
    """Write a mean and, where there are several seeds, its spread."""
    if value is None:
        return "-"
    return f"{value.mean:.{digits}f}" + ("" if value.sd is None else f" ± {value.sd:.{digits}f}")
