"""Release: the run as graphs, proven equal to it, with golden tiles and the labelled summary, published."""

import numpy as np

from shared.config import LineConfig
from shared.errors import StateError
from shared.geometry import Image
from shared.golden import MAX_LABELLED
from shared.release import Lineage, Manifest, SpaceEntry, release_name
from trainer.acquisition.line import formula, node_mask_scorer, node_scorer
from trainer.learning.model import TaskModel
from trainer.learning.weights import load_run
from trainer.release.golden import GOLDEN_TILES, as_tiles, make_golden
from trainer.release.graph import export_mask, export_task
from trainer.release.parity import check_parity
from trainer.release.publish import next_number, publish, release_of_run
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


def export_line_task(line: LineConfig, model: TaskModel, *, release: str) -> bytes:
    """Export the task graph of a line's model as its nodes run it."""
    return export_task(
        node_scorer(model, line),
        line.grid,
        line=line.line,
        release=release,
        classes=line.class_names,
        formula=formula(line),
    )


def _publish(bench: Workbench, round_: Round, run: str, space: str) -> Manifest:
    line, store = bench.line, bench.paths.public
    model, _ = load_run(bench.paths.runs / run)
    stored = stored_space(bench, space)
    known = [*bench.pool.labelled(line.line, "seed"), *bench.pool.labelled(line.line, "train")]
    crops = _examples(bench, known)
    number = next_number(store, line.line)
    task, mask = _graphs(bench, round_, model, crops, release_name(line.line, number))
    return publish(
        store,
        line,
        number=number,
        graphs={"task": task, "mask": mask, "space": stored.graph},
        space=SpaceEntry(id=space, dim=stored.record.dim, tau=round_.tau or 1.0),
        golden=make_golden(crops, grid=line.grid, scorer=node_scorer(model, line), space=stored.module),
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


def _graphs(bench: Workbench, round_: Round, model: TaskModel, crops: Image, release: str) -> tuple[bytes, bytes]:
    """Export the task graph and the mask graph, and compare each with the model it came from."""
    line = bench.line
    tiles = as_tiles(crops, line.grid)
    with bench.progress("export", round_.number) as step:
        step(0, 2)
        task = export_line_task(line, model, release=release)
        check_parity(node_scorer(model, line), task, tiles, what=f"task graph of {release}")
        step(1, 2)
        masker = node_mask_scorer(model, line)
        mask = export_mask(
            masker, line.grid, line=line.line, release=release, classes=line.class_names, formula=formula(line)
        )
        check_parity(masker, mask, tiles, what=f"mask graph of {release}")
        step(2, 2)
    return task, mask


def _examples(bench: Workbench, known: list[str]) -> Image:
    """Choose the golden tiles' crops: the labelled ones that hold most classes, the newest first among equals."""
    newest = known[::-1][:MAX_LABELLED]
    variety = {name: len(np.unique(mask)) for name, mask in bench.pool.masks(newest)}
    chosen = sorted(newest, key=lambda name: -variety[name])[:GOLDEN_TILES]
    return np.stack([crop for _, crop in bench.pool.crops(chosen, channels=bench.line.grid.channels)])
