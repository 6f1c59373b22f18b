"""Release: the run as graphs, proven equal to it, with golden tiles and the labelled summary, published."""

import numpy as np

from shared.errors import StateError
from shared.geometry import Image
from shared.golden import MAX_LABELLED
from shared.release import Lineage, Manifest, SpaceEntry, release_name
from trainer.acquisition.line import node_scorer
from trainer.learning.model import TaskModel
from trainer.learning.weights import load_run
from trainer.release.golden import GOLDEN_TILES, as_tiles, make_golden
from trainer.release.precision import CALIBRATION_TILES
from trainer.release.publish import next_number, publish, release_of_run
from trainer.release.variants import Variants, build_variants
from trainer.rounds.answering import labels_total
from trainer.rounds.collecting import received
from trainer.rounds.embedding import stored_space
from trainer.rounds.machine import Released, Round
from trainer.rounds.workbench import Workbench


def release_run(bench: Workbench, round_: Round) -> Released:
    """Publish the round's run, or find it published before a restart."""
    if round_.run is None or round_.space is None:
        raise StateError(f"round {round_.number}: no run or no space to release; train first")
    manifest = release_of_run(bench.paths.public, bench.line.line, round_.run)
    if manifest is None:
        manifest = _publish(bench, round_, round_.run, round_.space)
    bench.event(
        "released",
        f"release {manifest.release}: round {round_.number}, {manifest.lineage.labels} labels",
        release=manifest.release,
        number=manifest.number,
        round=round_.number,
        labels=manifest.lineage.labels,
        miou=manifest.lineage.miou,
    )
    return Released(manifest.release, received(bench))


def _publish(bench: Workbench, round_: Round, run: str, space: str) -> Manifest:
    line, store = bench.line, bench.paths.public
    model, _ = load_run(bench.paths.runs / run)
    stored = stored_space(bench, space)
    known = [*bench.pool.labelled(line.line, "seed"), *bench.pool.labelled(line.line, "train")]
    crops = _examples(bench, known)
    number = next_number(store, line.line)
    variants = _graphs(bench, round_, model, crops, release_name(line.line, number))
    return publish(
        store,
        line,
        number=number,
        graphs={**variants.graphs, "space": stored.graph},
        precision=variants.precision,
        tolerances=variants.tolerances,
        parity=variants.parity,
        space=SpaceEntry(id=space, dim=stored.record.dim, tau=round_.tau or 1.0),
        golden=make_golden(
            crops,
            grid=line.grid,
            scorer=node_scorer(model, line, stride=line.release.entropy_stride),
            space=stored.module,
        ),
        labelled=bench.pool.embeddings(known[-MAX_LABELLED:], space),
        lineage=Lineage(
            round=round_.number,
            run=run,
            labels=labels_total(bench, round_.number),
            miou=round_.miou,
            reference_patches=len(bench.pool.labelled(line.line, "reference")),
            override=round_.override,
        ),
        now=bench.clock.now(),
    )


def _graphs(bench: Workbench, round_: Round, model: TaskModel, crops: Image, release: str) -> Variants:
    """Make the run's graphs; the first crops are what they are compared on, the others are for measuring ranges."""
    tiles = as_tiles(crops, bench.line.grid)
    with bench.progress("export", round_.number) as step:
        variants = build_variants(
            model,
            bench.line,
            release=release,
            tiles=tiles[:GOLDEN_TILES],
            calibration=tiles[GOLDEN_TILES:] if len(tiles) > GOLDEN_TILES else tiles,
            step=step,
        )
    for precision, why in variants.left_out.items():
        bench.event(
            "note",
            f"round {round_.number}: {release} goes out without {precision}, its nodes run fp32: {why}",
            round=round_.number,
            note=f"without {precision}: {why}",
        )
    return variants


def _examples(bench: Workbench, known: list[str]) -> Image:
    """Choose the tiles' crops: the labelled ones that hold most classes, the newest first among equals."""
    newest = known[::-1][:MAX_LABELLED]
    variety = {name: len(np.unique(mask)) for name, mask in bench.pool.masks(newest)}
    chosen = sorted(newest, key=lambda name: -variety[name])[: GOLDEN_TILES + CALIBRATION_TILES]
    return np.stack([crop for _, crop in bench.pool.crops(chosen, channels=bench.line.grid.channels)])
