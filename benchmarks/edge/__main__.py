"""What scoring inside the graph costs a node, what fewer bits save, and what the agent adds of its own.

smp's U-Net on ResNet34 with 19 classes, trained for a minute on the simulated line, tiles of 1024 pixels, one thread.
Graphs run in turns in one process; figures are medians of ratios of neighbouring runs in processor time, so that a machine
that others use as well slows both sides. The agent's own time is what its frame loop uses outside onnxruntime, candidates made
and handed over included. ``stride`` trains two smaller networks on defects of a few pixels and compares how both strides
rank their patches.

Why to doubt it: one network and one processor; on a busy machine convolutions, which use every unit of a core, slow down
more than the memory-bound softmax does, so ``naive`` looks better than on a quiet one.

    python -m benchmarks.edge [--json] [--check] [--only ROWS] [--provider cuda] [--weights FILE] [--save]

``--check`` exits 1 and names each missed target. ``--provider cuda`` measures what only a GPU shows, and refuses without one.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from scipy.stats import spearmanr

from benchmarks.edge import gpu, tiny
from benchmarks.edge.agent import own_time
from benchmarks.edge.graphs import build
from benchmarks.edge.network import UNET, planted, trained
from benchmarks.edge.timing import ONE_THREAD, all_outputs, open_on_cpu, paired, ratio
from deploy.demo.machine import machine_facts, package_versions
from shared.errors import ConfigError
from shared.geometry import Image, PatchGrid
from shared.steel_line import SteelLine
from trainer.learning.model import TaskModel, build_model
from trainer.learning.weights import from_bytes, to_bytes
from trainer.release.precision import to_int8

RESULTS: Final = Path(__file__).parent.parent / "results"
GRID: Final = PatchGrid(tile_px=1024, patch_px=256, margin_px=128, cell_px=64)
GRAPHS: Final = ("bare", "stride2", "stride1", "stride2-mask", "naive")
ROWS: Final = ("graphs", "int8", "agent", "stride")
_STEPS: Final = 110
_REPEATS: Final = 7
_RANKED_TILES: Final = 8
_CALIBRATION_TILES: Final = 6


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure must reach."""

    figure: str
    words: str
    least: float | None = None
    most: float | None = None

    def misses(self, value: float) -> bool:
        """Say whether the value is on the wrong side; what is no number always is."""
        return not ((self.least is None or value >= self.least) and (self.most is None or value <= self.most))

    def __str__(self) -> str:
        return f">= {self.least:g}" if self.least is not None else f"<= {self.most:g}"


TARGETS: Final = (
    Target("stride2", "task graph, every second row and column / bare logits", most=1.00),
    Target("stride1", "task graph, every pixel / bare logits", most=1.04),
    Target("stride2_mask", "task graph with mask / bare logits", most=1.08),
    Target("naive", "softmax in the graph / ours", least=1.4),
    Target("bytes", "bytes that leave the session, logits / scores", least=5000),
    Target("int8", "int8 task graph / bare logits in fp32", most=0.40),
    Target("int8_rank", "rank correlation of patch scores, int8 and fp32", least=0.999),
    Target("agent_own_ms", "agent's own time per tile, ms", most=2.5),
    Target("agent_own_share", "the same / onnxruntime's", most=0.01),
    Target(
        "compact_auc",
        "compact network, tiny defects told from clean patches: AUC of stride 2 less that of 1",
        least=-0.01,
    ),
    Target("unet_auc", "U-Net, the same", least=-0.01),
)


def main() -> int:
    """Measure, print, save and check as asked."""
    options = _options()
    torch.set_num_threads(1)
    result: dict[str, Any] = {
        "machine": machine_facts() | {"cores used": "1"},
        "versions": package_versions(),
        "figures": {},
        "more": {},
    }
    try:
        # A row that is done is saved at once: the next may take minutes.
        for _ in _measured(options, result["figures"], result["more"]):
            if options.save:
                _save(result)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    result["missed"] = _missed(result["figures"])
    if options.json:
        print(json.dumps(result))
    else:
        _show(result)
    if options.check and result["missed"]:
        _say("\n".join(f"edge: {line}" for line in result["missed"]))
        return 1
    return 0


def _missed(figures: dict[str, float]) -> list[str]:
    return [
        f"{target.words}: {figures[target.figure]:.4g}, the target is {target}"
        for target in TARGETS
        if target.figure in figures and target.misses(figures[target.figure])
    ]


def _save(result: dict[str, Any]) -> None:
    """Write the day's file; rows that were measured the same day on the same machine stay beside those of this run.

    A figure is paired within its own row; ``measured_at`` says which rows are of one run.
    """
    now = datetime.now(UTC)
    path = RESULTS / f"edge-{now:%Y-%m-%d}.json"
    # A row is saved as it is done: what has a time already was measured then.
    times = result.setdefault("measured_at", {})
    times |= dict.fromkeys(result["figures"].keys() - times.keys(), f"{now:%H:%M}")
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if (before.get("machine"), before.get("versions")) == (result["machine"], result["versions"]):
        result = result | {
            name: before[name] | result[name] for name in ("figures", "more", "measured_at") if name in before
        }
    result = result | {"missed": _missed(result["figures"])}
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _say(f"saved {path}")


def _measured(options: argparse.Namespace, figures: dict[str, float], more: dict[str, Any]) -> Iterator[None]:
    """Fill in one row after another."""
    if set(options.only) & {"graphs", "int8", "agent"} or options.provider == "cuda":
        tiles, graphs = _prepared(options)
        if options.provider == "cuda":
            more["cuda"] = gpu.measure(graphs, GRID, tiles[:1], _frames(tiles), repeats=10 * _REPEATS)
            yield
            return
        if "graphs" in options.only:
            _graphs(graphs, tiles[:1], figures, more)
            yield
        if "int8" in options.only:
            _int8(graphs, tiles, figures, more)
            yield
        if "agent" in options.only:
            _say("agent")
            found = own_time(graphs["stride2"], _frames(tiles), _classes(), runtime=ONE_THREAD)
            figures |= {"agent_own_ms": found["own_ms"], "agent_own_share": found["own_share"]}
            more["agent"] = found
            yield
    if "stride" in options.only:
        for name in tiny.NETWORKS:
            _say(f"stride: {name}")
            found = tiny.measure(name, steps=150, tiles=40)
            figures[f"{name}_auc"] = found["auc_stride2"] - found["auc_stride1"]
            more[f"stride {name}"] = found
            yield


def _prepared(options: argparse.Namespace) -> tuple[Image, dict[str, bytes]]:
    """Train the network, draw tiles that it never saw, and export what is needed."""
    if options.provider == "cuda":
        # Before a minute is spent on training.
        gpu.demand()
    model = _network(options.weights)
    tiles, _ = planted(_tile_line(4), range(_RANKED_TILES + 1), seed=2)
    names = [name for name in GRAPHS if "graphs" in options.only or name in {"bare", "stride2"}]
    graphs = {}
    for name in names:
        _say(f"exporting {name}")
        graphs[name] = build(name, model, GRID)
    return tiles, graphs


def _network(weights: Path | None) -> TaskModel:
    """Train the network, or take it from where an earlier run left it."""
    if weights is not None and weights.exists():
        model = build_model(UNET, classes=_classes(), channels=1, seed=0)
        from_bytes(model, weights.read_bytes(), what=str(weights))
        return model.eval()
    _say(f"training, {_STEPS} steps")
    model = trained(UNET, SteelLine(3, "edge", height_px=256, width_px=256), steps=_STEPS)
    if weights is not None:
        weights.write_bytes(to_bytes(model))
    return model


def _tile_line(seed: int) -> SteelLine:
    """Make a line on which every patch has a chance of a defect: ranks of patches that are all alike are noise."""
    names = SteelLine(0, "edge").classes
    return SteelLine(seed, "edge", height_px=GRID.tile_px, width_px=GRID.tile_px, rates=dict.fromkeys(names, 0.6))


def _graphs(graphs: dict[str, bytes], tile: Image, figures: dict[str, float], more: dict[str, Any]) -> None:
    _say("graphs")
    opened = {name: open_on_cpu(data, name) for name, data in graphs.items()}
    taken = paired({name: lambda g=graph: all_outputs(g, tile) for name, graph in opened.items()}, repeats=_REPEATS)
    figures |= {
        "stride2": ratio(taken, "stride2", "bare"),
        "stride1": ratio(taken, "stride1", "bare"),
        "stride2_mask": ratio(taken, "stride2-mask", "bare"),
        "naive": ratio(taken, "naive", "stride2"),
        "bytes": sum(found.nbytes for found in all_outputs(opened["bare"], tile))
        / sum(found.nbytes for found in all_outputs(opened["stride2"], tile)),
    }
    more["graph_ms"] = {name: 1000 * float(np.median(times)) for name, times in taken.items()}
    more["naive_over_bare"] = ratio(taken, "naive", "bare")


def _int8(graphs: dict[str, bytes], tiles: Image, figures: dict[str, float], more: dict[str, Any]) -> None:
    _say(f"int8: measuring ranges on {_CALIBRATION_TILES} tiles")
    calibration, _ = planted(_tile_line(6), range(_CALIBRATION_TILES), seed=3)
    small = to_int8(graphs["stride2"], calibration, what="task graph")
    bare, plain, fewer = (
        open_on_cpu(data, what)
        for data, what in ((graphs["bare"], "bare"), (graphs["stride2"], "fp32"), (small, "int8"))
    )
    taken = paired(
        {"bare": lambda: all_outputs(bare, tiles[:1]), "int8": lambda: all_outputs(fewer, tiles[:1])}, repeats=_REPEATS
    )
    _say(f"int8: ranking the patches of {_RANKED_TILES} tiles")
    one, two = (
        np.concatenate([graph.run("tiles", tile[None], "score") for tile in tiles[1:]]) for graph in (plain, fewer)
    )
    figures |= {"int8": ratio(taken, "int8", "bare"), "int8_rank": float(spearmanr(one.ravel(), two.ravel()).statistic)}
    more["int8"] = {
        "patches": one.size,
        "largest_difference": float(np.abs(one - two).max()),
        "score_spread": float(one.std()),
        "bytes": len(small) / len(graphs["stride2"]),
    }


def _frames(tiles: Image) -> list[Image]:
    """Put four tiles' worth of patches into each of two frames."""
    side = GRID.patches_per_side * GRID.patch_px
    whole = np.block(
        [[tiles[0, :side, :side, 0], tiles[1, :side, :side, 0]], [tiles[2, :side, :side, 0], tiles[3, :side, :side, 0]]]
    )
    whole = whole[..., None]
    return [whole, np.ascontiguousarray(whole[::-1])]


def _classes() -> int:
    return len(SteelLine(0, "edge").classes) + 1


def _show(result: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    table = Table(title="Edge: one thread, processor time, paired")
    for name in ("what", "reached", "must reach"):
        table.add_column(name)
    figures = result["figures"]
    for target in TARGETS:
        if target.figure in figures:
            late = " MISSED" if target.misses(figures[target.figure]) else ""
            table.add_row(target.words, f"{figures[target.figure]:.4g}", f"{target}{late}")
    console.print(table)
    for name, found in result["more"].items():
        console.print(f"{name}: {found}", markup=False)
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    console.print(f"{result['machine']['processor']}, one core, python {result['machine']['python']}, {versions}")


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.edge", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--check", action="store_true", help="exit 1 naming each missed target")
    parser.add_argument("--only", type=_rows, default=list(ROWS), help=f"some of {', '.join(ROWS)}, comma-separated")
    parser.add_argument(
        "--provider", choices=["cpu", "cuda"], default="cpu", help="cuda measures what only a GPU shows"
    )
    parser.add_argument("--weights", type=Path, help="where the trained network is kept from one run to the next")
    parser.add_argument("--save", action="store_true", help="write a dated file under benchmarks/results/")
    return parser.parse_args()


def _rows(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{unknown[0]} is no row; known ones are {', '.join(ROWS)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
