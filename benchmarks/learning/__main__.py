"""What our learning costs beside bare PyTorch: a training step, re-scoring a pool, and the memory both take.

``step``: a training step of ours beside a bare loop over the same model, loss and optimizer with one minibatch made
beforehand; what is left of the ratio is the choosing, reading and varying of samples. On a CPU nothing can be hidden
behind the step, so loading has to be cheap; on a GPU the next minibatch is made while it works. ``rescore``: crops through
the scorer beside the bare model's logits. Both take turns in small blocks, in processor time on a CPU, and the ratio is
the median of the pairs. ``memory``: what re-scoring held at the highest, for two pool sizes, each in a process of its own.

Why to doubt it: the patches are made unless ``--data`` names a folder of images; a bare loop that reads its images from
disk would be slower; other work on the machine moves single pairs by some per cent.

    python -m benchmarks.learning [--json] [--check] [--data DIR] [--only ROWS] [--crops N] [--save]

``--check`` exits 1 and names each missed target.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when numpy is first imported

from rich.console import Console
from rich.table import Table

from benchmarks.learning.crops import read_crops
from benchmarks.learning.rescoring import measure_memory, measure_rescore
from benchmarks.learning.steps import measure_step
from deploy.demo.machine import machine_facts, package_versions

RESULTS: Final = Path(__file__).parent.parent / "results"
#: Name, architecture, encoder, crop and minibatch.
NETWORKS: Final = {
    "compact": ("compact", "compact-32-64", 96, 16),
    "unet": ("unet", "resnet34", 128, 4),
}
ROWS: Final = (*(f"step {name}" for name in NETWORKS), *(f"rescore {name}" for name in NETWORKS), "memory")
MOST_RATIO: Final = 1.1
#: By how much the peak may grow when the pool grows fivefold: ids, scores and classes are all that is kept of a crop.
MOST_GROWTH: Final = 1.1
SMALL_POOL: Final = 2_000


def main() -> int:
    """Measure, print, save and check as asked."""
    options = _options()
    if options.peak:
        print(json.dumps(measure_memory(options.peak)))
        return 0
    rows = {name: _measure(name, options) for name in options.only}
    result = {
        "machine": machine_facts() | {"cores used": "1"},
        "versions": package_versions(),
        "data": "made" if options.data is None else options.data.name,
        "rows": rows,
        "missed": missed(rows),
    }
    if options.json:
        print(json.dumps(result))
    else:
        _show(result, Console(width=None if sys.stdout.isatty() else 140))
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"learning-{datetime.now(UTC):%Y-%m-%d}.json"
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if options.check and result["missed"]:
        print("\n".join(f"learning: {line}" for line in result["missed"]), file=sys.stderr)
        return 1
    return 0


def missed(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Name each target that was not reached, with what was reached."""
    lines = []
    for name, row in rows.items():
        if name == "memory" and row["growth"] > MOST_GROWTH:
            lines.append(f"memory: {row['growth']:.2f} times at {row['pools'][1]} crops, the target is {MOST_GROWTH}")
        if name != "memory" and row["ratio"] > MOST_RATIO:
            lines.append(f"{name}: {row['ratio']:.3f} of bare PyTorch, the target is {MOST_RATIO}")
    return lines


def _measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    print(name, file=sys.stderr, flush=True)
    if name == "memory":
        return _memory(options.crops)
    what, network = name.split()
    architecture, encoder, crop_px, minibatch = NETWORKS[network]
    crops = read_crops(options.data, count=64, side_px=crop_px)
    if what == "step":
        return measure_step(crops, architecture=architecture, encoder=encoder, minibatch=minibatch)
    # A large network takes most of an hour for as many crops as a small one scores in a minute.
    count = options.crops if network == "compact" else max(64, options.crops // 50)
    return measure_rescore(crops.images, architecture=architecture, encoder=encoder, count=count)


def _memory(crops: int) -> dict[str, Any]:
    """Ask processes of their own for their peaks."""
    pools = (min(SMALL_POOL, crops // 5), crops)
    peaks = []
    for count in pools:
        command = [sys.executable, "-m", "benchmarks.learning", "--peak", str(count)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        peaks.append(json.loads(answer.stdout))
    return {"pools": pools, "peak_mb": [round(peak / 1e6) for peak in peaks], "growth": peaks[1] / peaks[0]}


def _show(result: dict[str, Any], console: Console) -> None:
    table = Table(title="Learning beside bare PyTorch, one core", show_lines=True)
    for column in ("row", "ours / bare", "target", "also measured"):
        table.add_column(column)
    for name, row in result["rows"].items():
        figure, target = ("growth", MOST_GROWTH) if name == "memory" else ("ratio", MOST_RATIO)
        also = ", ".join(
            f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
            for key, value in row.items()
            if key != figure
        )
        table.add_row(name, f"{row[figure]:.3f}", f"<= {target}{' MISSED' if row[figure] > target else ''}", also)
    console.print(table)
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    console.print(
        f"{machine['processor']}, one core, python {machine['python']}, {versions}; patches: {result['data']}"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.learning", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--check", action="store_true", help="exit 1 naming each missed target")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder of images to cut patches from")
    parser.add_argument("--only", type=_rows, default=ROWS, metavar="ROWS", help="rows, comma-separated")
    parser.add_argument("--crops", type=_count, default=10_000, help="how many crops are re-scored")
    parser.add_argument("--save", action="store_true", help="write a dated file under benchmarks/results/")
    parser.add_argument("--peak", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def _rows(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    for name in names:
        if name not in ROWS:
            raise argparse.ArgumentTypeError(f'"{name}" is no row; known ones are {", ".join(ROWS)}')
    return names


def _count(text: str) -> int:
    if not text.isdecimal() or not 320 <= int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f'"{text}"; expected 320 to 1000000')
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
