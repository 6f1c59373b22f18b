"""The report of a line's space: its measures beside those of rivals, and pictures of what it finds alike.

Rivals are the same encoder untrained and the encoder of the newest task model. All see the same patches, each centred on
them: they differ in the encoder alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from shared.config import LineConfig
from shared.console import Console
from shared.errors import StateError
from shared.files import write_durably
from shared.geometry import Image
from trainer.experiment.neighbour_sheet import SheetRow, draw_sheet
from trainer.labelling.masks import IGNORE
from trainer.learning.weights import load_run
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pool
from trainer.representation.augment import RecipeName
from trainer.representation.measures import neighbours
from trainer.representation.report import SpaceQuality, measure_space
from trainer.representation.sources import Source, simclr_source, task_source, untrained_source
from trainer.representation.space import inner, load_space
from trainer.standing import newest_run

#: Rows of a sheet, and neighbours of each.
ROWS: Final = 10
NEAREST: Final = 6


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Some of a line's patches ``(n, p, p, c)`` and their classes ``(n,)``, -1 where none is told."""

    patches: Image
    classes: NDArray[np.intp]


def report_space(
    pool: Pool, line: LineConfig, paths: TrainerPaths, out: Path, *, most: int, seed: int, console: Console
) -> tuple[SpaceQuality, ...]:
    """Measure a line's space and its rivals on up to ``most`` patches, and write ``space.json`` and a sheet for each.

    Args:
        pool: Where the patches are.
        line: Whose.
        paths: Where space and runs lie.
        out: Where the report goes.
        most: Those of the reference set first, the rest of the pool by lot.
        seed: Of the lot, the views and the untrained weights.
        console: Told the progress.
    """
    stored = load_space(paths.spaces / line.line)
    if stored is None:
        raise StateError(f'line "{line.line}": it has no embedding space yet; winnow trainer round trains one')
    sample = draw_sample(pool, line, most=most, seed=seed)
    run = newest_run(pool, line.line)
    sources = [
        simclr_source(stored.module, sample.patches),
        untrained_source(stored.record.settings, sample.patches, seed=seed),
        *([] if run is None else [task_source(load_run(paths.runs / run)[0], sample.patches)]),
    ]
    recipe: RecipeName | None = None if line.space.recipe == "auto" else line.space.recipe
    found = []
    with console.progress("space report", line=line.line) as step:
        for done, source in enumerate(sources):
            step(done, len(sources))
            quality = measure_space(
                source.embed,
                sample.patches,
                space=source.space,
                source=source.name,
                seed=seed,
                recipe=recipe,
                classes=sample.classes,
            )
            found.append(quality)
            draw_sheet(
                out / f"{source.name}.png",
                sheet_rows(source, sample, line.class_names, seed=seed),
                title=f"Line {line.line}, {source.name}: patches by lot and what lies nearest, with its cosine",
            )
        step(len(sources), len(sources))
    write_durably(out / "space.json", msgspec.json.format(msgspec.json.encode(found), indent=2) + b"\n")
    return tuple(found)


def draw_sample(pool: Pool, line: LineConfig, *, most: int, seed: int) -> Sample:
    """Take a line's reference set, whose classes are told, and others by lot.

    The labels that a task model learned from are not told: its encoder would be asked what it was taught.
    """
    known = list(pool.labelled(line.line, "reference"))[:most]
    rest = sorted(set(pool.ids(line.line, state=None)) - set(known))
    lot = np.random.default_rng(seed).permutation(len(rest))[: most - len(known)]
    ids = [*known, *(rest[place] for place in sorted(lot))]
    if len(ids) < 2:
        raise StateError(f'line "{line.line}": {len(ids)} patches in the pool, a report needs at least 2; collect more')
    grid = line.grid
    patches = np.concatenate([inner(crop[np.newaxis], grid) for _, crop in pool.crops(ids, channels=grid.channels)])
    classes = np.full(len(ids), -1, dtype=np.intp)
    for place, (_, mask) in enumerate(pool.masks(known)):
        classes[place] = class_of(mask)
    return Sample(patches, classes)


def class_of(mask: NDArray[np.uint8]) -> int:
    """Return the class with the most labelled pixels besides the background, the background where there is no other."""
    counts = np.bincount(mask[mask != IGNORE].ravel(), minlength=1)
    if not counts.sum():
        return -1
    counts[0] = 0
    return int(counts.argmax())


def sheet_rows(source: Source, sample: Sample, names: Sequence[str], *, seed: int) -> list[SheetRow]:
    """Choose patches by lot, those of different classes first, each with what lies nearest."""
    nearest, cosines = neighbours(source.embed(sample.patches), min(NEAREST, len(sample.patches) - 1))
    order = np.random.default_rng(seed).permutation(len(sample.patches))
    # Of each class a first one, then a second one, and so on: a sheet of background alone says little.
    seen: dict[int, int] = {}
    turn = {}
    for place in order.tolist():
        kind = int(sample.classes[place])
        turn[place] = (kind < 0, seen.get(kind, 0))
        seen[kind] = seen.get(kind, 0) + 1
    chosen = sorted(order.tolist(), key=lambda place: turn[place])[:ROWS]

    def named(place: int) -> str:
        kind = int(sample.classes[place])
        return "" if kind < 0 else names[kind]

    return [
        SheetRow(
            sample.patches[place],
            named(place),
            sample.patches[nearest[place]],
            [
                f"{cosine:.2f} {named(int(other))}".strip()
                for cosine, other in zip(cosines[place], nearest[place], strict=True)
            ],
        )
        for place in chosen
    ]
