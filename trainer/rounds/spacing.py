"""Space: the embedding space of a line, trained once on what came first, and the release that brings it to the nodes."""

import numpy as np

from shared.geometry import Image
from shared.identity import sha256_hex
from shared.release import Lineage, Manifest, SpaceEntry
from trainer.learning.checkpoints import Checkpoints
from trainer.release.golden import make_golden
from trainer.release.graph import export_space
from trainer.release.parity import check_parity
from trainer.release.publish import list_manifests, next_number, publish
from trainer.representation.space import (
    SpaceRecord,
    SpaceReport,
    StoredSpace,
    inner,
    load_space,
    save_space,
    train_space,
)
from trainer.rounds.collecting import received
from trainer.rounds.embedding import Embedder
from trainer.rounds.machine import Round, SpaceTrained
from trainer.rounds.workbench import Workbench
from trainer.selection.kernels.similarity import choose_tau

#: More patches than this teach a space little more, and would not fit in memory at once.
_MOST_PATCHES = 20_000


def make_space(bench: Workbench, round_: Round) -> SpaceTrained:
    """Train the line's space, or find it on disk; embed the pool; publish a release with the space alone."""
    stored = load_space(bench.space_folder)
    if (
        stored is None
        or stored.record.settings.decisive() != bench.line.space.decisive()
        or stored.record.patch_px != bench.line.grid.patch_px
    ):
        stored = _train(bench, round_, _await_crops(bench, round_))
    # Also when the space is from before a restart: a kill between the two leaves checkpoints behind.
    _checkpoint_place(bench, every=1).clear()
    space = stored.record.id
    Embedder(bench).catch_up(space, round_.number)
    tau = bench.line.selection.tau or _tau(bench, round_, space)
    manifest = _published(bench, stored, tau)
    assert manifest.space is not None
    bench.event(
        "released",
        f"release {manifest.release}: the space alone, {stored.record.dim} numbers a patch",
        release=manifest.release,
        number=manifest.number,
        round=round_.number,
        labels=0,
        miou=None,
    )
    return SpaceTrained(space=space, tau=manifest.space.tau, release=manifest.release, received=received(bench))


def _await_crops(bench: Workbench, round_: Round) -> Image:
    """Wait for ``space.min_patches`` candidates, and return the patches of the first that came, without their margin."""
    grid, wanted = bench.line.grid, bench.line.space.min_patches
    told = -1
    while True:
        bench.check()
        ids = bench.pool.ids(bench.line.line, state=None)
        if len(ids) >= wanted:
            break
        if len(ids) != told:
            told = len(ids)
            bench.event(
                "collecting",
                f"space: {told} of {wanted} patches",
                round=round_.number,
                pool=told,
                min_pool=wanted,
            )
        bench.wait()
    first = ids[:_MOST_PATCHES]
    patches = np.empty((len(first), grid.patch_px, grid.patch_px, grid.channels), dtype=np.uint8)
    # Each margin is cut before the next crop is read: it is most of what a crop weighs.
    for place, (_, crop) in enumerate(bench.pool.crops(first, channels=grid.channels)):
        patches[place] = inner(crop[np.newaxis], grid)[0]
    return patches


def _train(bench: Workbench, round_: Round, patches: Image) -> StoredSpace:
    line = bench.line
    seed = bench.seed(round_.number, "space")
    every = line.space.checkpoint_every
    with bench.progress("train space", round_.number) as step:
        module, report = train_space(
            patches,
            line.space.decisive(),
            seed=seed,
            step=step,
            threads_used=line.learning.threads,
            recipe=None if line.space.recipe == "auto" else line.space.recipe,
            checkpoints=_checkpoint_place(bench, every=every) if every else None,
        )
    _tell(bench, round_, report)
    graph = export_space(module, line.grid, line=line.line)
    check_parity(module, graph, patches[:2], what=f"space graph of line {line.line}")
    record = SpaceRecord(
        id=sha256_hex(graph),
        dim=module.dim,
        channels=line.grid.channels,
        patch_px=line.grid.patch_px,
        seed=seed,
        patches=len(patches),
        settings=line.space,
        effective_rank=report.effective_rank,
    )
    save_space(bench.space_folder, module, record, graph)
    return StoredSpace(module, record, graph)


def _checkpoint_place(bench: Workbench, *, every: int) -> Checkpoints:
    """Name the folder beside the line's space; no line has a dot in its name."""
    return Checkpoints(bench.paths.spaces / f"{bench.line.line}.checkpoints", every)


def _tell(bench: Workbench, round_: Round, report: SpaceReport) -> None:
    """Tell what a person should know of the training, one event each."""
    if report.resumed_at:
        bench.event(
            "resumed",
            f"space: training went on from its checkpoint of step {report.resumed_at}",
            round=round_.number,
            work="train space",
            step=report.resumed_at,
        )
    for warning in report.damaged:
        bench.event("warning", f"space: {warning}", round=round_.number, work="train space", warning=warning)


def _tau(bench: Workbench, round_: Round, space: str) -> float:
    """Choose the temperature for a batch of the line's size out of what has come so far."""
    ids = bench.pool.ids(bench.line.line, state=None, space=space)
    embeddings = bench.pool.embeddings(ids, space)
    return choose_tau(embeddings, bench.line.selection.batch, bench.rng(round_.number, "tau"))


def _published(bench: Workbench, stored: StoredSpace, tau: float) -> Manifest:
    """Publish the release, or find it published before a restart."""
    store, line = bench.paths.public, bench.line
    for manifest in list_manifests(store, line.line):
        if manifest.space is not None and manifest.space.id == stored.record.id and "task" not in manifest.files:
            return manifest
    first = bench.pool.ids(line.line, state=None)[:3]
    crops = np.stack([crop for _, crop in bench.pool.crops(first, channels=line.grid.channels)])
    return publish(
        store,
        line,
        number=next_number(store, line.line),
        graphs={"space": stored.graph},
        space=SpaceEntry(id=stored.record.id, dim=stored.record.dim, tau=tau),
        golden=make_golden(crops, grid=line.grid, scorer=None, space=stored.module),
        labelled=None,
        lineage=Lineage(round=0),
        now=bench.clock.now(),
    )
