"""How the trainer's re-scores rank patches beside the scores of nodes, with the margin around a crop and without it.

A node scores whole tiles, of which only the interior counts, and reads every second row and column; the trainer scores
crops, JPEG as they travel. Both run the same small network, trained here on some patches of a set's training split.
Told is Spearman's rank correlation over the patches of frames that nobody trained on, and how many of the node's highest
tenth are among the trainer's highest tenth; `+-` is the standard deviation over the seeds, each with a training of its own.
Why to doubt it: a compact network sees some 40 px far, a deep one further, so its scores depend more on what a crop
leaves out (--architecture, --encoder); patches of one frame are no independent witnesses.

    python -m benchmarks.rescore [--data DIR] [--seeds 0,1,2] [--json] [--check] [--save]

Without --data the simulated line alone is measured; with it the steel defects of neu899, too.
"""

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from deploy.demo.machine import machine_facts, package_versions
from shared.config import ClassTable, GeometryTable, LearningTable, LineConfig
from shared.geometry import Image, PatchGrid
from shared.images import decode_image, encode_image
from trainer.acquisition.line import centre_scorer, node_scorer
from trainer.acquisition.rescore import rescore_by
from trainer.experiment.datasets.dataset import DataSet, Request
from trainer.experiment.datasets.open import STEEL_LINE, open_dataset
from trainer.labelling.masks import truth_mask
from trainer.learning.loop import train
from trainer.learning.model import TaskModel, build_model

RESULTS: Final = Path(__file__).parent / "results"
GEOMETRY: Final = GeometryTable(tile_px=192, patch_px=32, margin_px=16, cell_px=8)
#: As ``release.entropy_stride`` sets it.
STRIDE: Final = 2
TRAIN_FRAMES: Final = 40
SCORED_FRAMES: Final = 25
#: The least rank correlation with the margin that the trainer's scores may be taken for the nodes'.
TARGET: Final = 0.9

Scores = NDArray[np.float64]


def main() -> int:
    """Measure the sets, print the table, and say whether the margin holds the ranking together."""
    options = _options()
    console = Console(stderr=options.json)
    names = [STEEL_LINE, *(["neu899"] if options.data is not None else [])]
    with tempfile.TemporaryDirectory() as work:
        rows = [_measured(name, options, Path(work), console) for name in names]
    result = {
        "geometry": {name: getattr(GEOMETRY, name) for name in ("tile_px", "patch_px", "margin_px", "cell_px")},
        "network": [options.architecture, options.encoder],
        "steps": options.steps,
        "entropy_stride": STRIDE,
        "seeds": options.seeds,
        "target": TARGET,
        "sets": rows,
        "machine": machine_facts(),
        "versions": package_versions(),
    }
    if options.json:
        print(json.dumps(result))
    else:
        console.print(_table(result))
    if options.save:
        path = RESULTS / f"rescore-{datetime.now(UTC):%Y-%m-%d}.json"
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        console.print(f"saved {path}")
    missed = [row for row in rows if row["with_margin"]["rank"]["mean"] < TARGET]
    for row in missed:
        console.print(f"missed: {row['set']} ranks with {row['with_margin']['rank']['mean']:.3f}, expected {TARGET}")
    return 1 if options.check and missed else 0


def _measured(name: str, options: argparse.Namespace, work: Path, console: Console) -> dict[str, Any]:
    """Measure one set over the seeds."""
    data = open_dataset(options.data, Request(name=name, seed=0), work=work)
    with_margin, without, patches = [], [], 0
    for seed in options.seeds:
        line = line_of(data, options)
        model = _trained(data, line, seed)
        frames = _frames(data, _drawn(data.splits[data.measured], SCORED_FRAMES, seed))
        node, crops, bare = scored(model, line, frames)
        with_margin.append(agreement(node, crops))
        without.append(agreement(node, bare))
        patches = len(node)
        console.print(
            f"{name}, seed {seed}: {with_margin[-1]['rank']:.3f} with the margin, {without[-1]['rank']:.3f} without"
        )
    return {
        "set": name,
        "patches": patches,
        "with_margin": _over_seeds(with_margin),
        "without_margin": _over_seeds(without),
    }


def line_of(data: DataSet, options: argparse.Namespace) -> LineConfig:
    """Describe a line of the set's classes, with patches as small as its images ask for."""
    learning = LearningTable(
        architecture=options.architecture,
        encoder=options.encoder,
        decoder_channels=(64, 32, 32, 16, 16),
        steps=options.steps,
        minibatch=16,
        learning_rate=3e-3,
        threads=1,
        checkpoint_every=0,
    )
    classes = tuple(ClassTable(name=name) for name in data.classes)
    return LineConfig(line="rescore", classes=classes, geometry=GEOMETRY, learning=learning)


def _trained(data: DataSet, line: LineConfig, seed: int) -> TaskModel:
    """Train on every patch of some frames that holds a defect, and as many without one."""
    grid, rng = line.grid, np.random.default_rng(seed)
    crops, masks, defect = [], [], []
    for key in _drawn(data.splits["train"], TRAIN_FRAMES, seed):
        image, mask = data.image(key), data.mask(key)
        for patch in grid.patches(*image.shape[:2]):
            crops.append(_travelled(grid.crop(image, patch)))
            masks.append(truth_mask(grid, mask, patch))
            defect.append(bool(((masks[-1] > 0) & (masks[-1] < data.ignore)).any()))
    there, clean = np.flatnonzero(defect), np.flatnonzero(~np.array(defect))
    chosen = np.concatenate([there, rng.permutation(clean)[: max(len(there), 50)]])
    model = build_model(line.learning, classes=len(line.classes), channels=1, seed=seed)
    train(
        model,
        np.stack([crops[place] for place in chosen]),
        np.stack([masks[place] for place in chosen]),
        line.learning,
        classes=len(line.classes),
        seed=seed,
        step=lambda _done, _total: None,
    )
    return model.eval()


def scored(model: TaskModel, line: LineConfig, frames: Iterator[Image]) -> tuple[Scores, Scores, Scores]:
    """Score every patch as its node does, as the trainer does, and as it would without the margin."""
    grid = line.grid
    bare_grid = replace(grid, margin_px=0)
    node = node_scorer(model, line, stride=STRIDE).eval()
    scores, crops, bare = [], [], []
    for frame in frames:
        with torch.inference_mode():
            tiles = node(torch.from_numpy(grid.tiles(frame)))[0].numpy()
        scores.append(grid.frame_scores(tiles, *frame.shape[:2]).ravel())
        for patch in grid.patches(*frame.shape[:2]):
            crop = _travelled(grid.crop(frame, patch))
            crops.append(crop)
            bare.append(crop[grid.margin_px : -grid.margin_px, grid.margin_px : -grid.margin_px])
    return (
        np.concatenate(scores).astype(np.float64),
        _rescored(model, line, crops, grid),
        _rescored(model, _without_margin(line), bare, bare_grid),
    )


def _rescored(model: TaskModel, line: LineConfig, crops: list[Image], grid: PatchGrid) -> Scores:
    scorer = centre_scorer(model, line)
    return rescore_by(scorer, iter(crops), grid=grid, total=len(crops), step=lambda _done, _total: None).scores


def _without_margin(line: LineConfig) -> LineConfig:
    geometry = GeometryTable(
        tile_px=GEOMETRY.tile_px, patch_px=GEOMETRY.patch_px, margin_px=0, cell_px=GEOMETRY.cell_px
    )
    return LineConfig(line=line.line, classes=line.classes, geometry=geometry, learning=line.learning)


def agreement(node: Scores, trainer: Scores) -> dict[str, float]:
    """Compare two rankings of the same patches."""
    tenth = max(1, len(node) // 10)
    mine, theirs = (set(np.argsort(-scores, kind="stable")[:tenth].tolist()) for scores in (node, trainer))
    return {"rank": float(spearmanr(node, trainer).statistic), "top_tenth": len(mine & theirs) / tenth}


def _over_seeds(found: list[dict[str, float]]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "mean": fmean(one[name] for one in found),
            "sd": stdev(one[name] for one in found) if len(found) > 1 else 0.0,
            "each": [one[name] for one in found],
        }
        for name in found[0]
    }


def _drawn(keys: tuple[str, ...], count: int, seed: int) -> list[str]:
    order = np.random.default_rng(seed).permutation(len(keys))[:count]
    return [keys[place] for place in order]


def _frames(data: DataSet, keys: list[str]) -> Iterator[Image]:
    return (data.image(key) for key in keys)


def _travelled(crop: Image) -> Image:
    """Return a crop as the trainer has it: through the line's JPEG."""
    return decode_image(encode_image(crop, form="jpeg", quality=95), what="crop", channels=crop.shape[-1])


def _table(result: dict[str, Any]) -> Table:
    table = Table(
        title=f"Node and trainer, {len(result['seeds'])} seeds: rank correlation, share of the highest tenth in common"
    )
    for column in ("set", "patches", "with the margin", "highest tenth", "without", "highest tenth"):
        table.add_column(column, justify="left" if column == "set" else "right")
    for row in result["sets"]:
        cells = [
            f"{row[kind][name]['mean']:.3f} +- {row[kind][name]['sd']:.3f}"
            for kind in ("with_margin", "without_margin")
            for name in ("rank", "top_tenth")
        ]
        table.add_row(row["set"], str(row["patches"]), *cells)
    machine, versions = result["machine"], result["versions"]
    table.caption = (
        f"{' '.join(result['network'])}, {result['steps']} steps; {machine['processor']}, torch {versions.get('torch')}"
    )
    return table


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rescore", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, help="the folder of the data sets")
    parser.add_argument("--seeds", type=_numbers, default=[0, 1, 2], help="comma-separated, default 0,1,2")
    parser.add_argument("--steps", type=int, default=200, help="of each training")
    parser.add_argument("--architecture", default="compact")
    parser.add_argument("--encoder", default="compact-16-32")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--check", action="store_true", help=f"exit 1 if a set ranks below {TARGET} with the margin")
    parser.add_argument("--save", action="store_true", help="write a dated file under benchmarks/results/")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


if __name__ == "__main__":
    raise SystemExit(main())
