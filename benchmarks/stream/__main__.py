"""What the stream filter reaches per patch that it sends, beside simpler filters with the same budget, and how fast it is.

Every contender sees the same frames with the same scores and embeddings, may send as many patches an hour, and is judged
by the truth of what it sent: patches with a defect, and with a class from the rarer half of the classes, per 100 sent; and how many of all classes it reached. The rivals' thresholds are set on
frames of another camera so that they spend the budget; winnow sets its own as it goes. It stands there twice: as it is, with
the third of the patches that score highest embedded, and with its gate open (``filter.gate_share = 1``), where all are.

Why to doubt it: the network and the space are small and learned in seconds, the simulated line is a simulation, and what
a patch is worth is told by its classes alone, not by what a model learns from it. A filter that sends the same defect
again and again looks good in the first column and bad in the last.

    python -m benchmarks.stream [--data DIR] [--json] [--check] [--save] [--seeds N] [--quick] [--only speed|worth]

``--data DIR`` plays the image set in DIR/neu899 too. ``--check`` exits 1 and names each missed target.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")  # read when numpy is first imported

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.stream import speed
from benchmarks.stream.rivals import Terms, contenders
from benchmarks.stream.streams import Effort, Stream, images, steel
from deploy.demo.machine import machine_facts, package_versions
from shared.config import BudgetTable

RESULTS: Final = Path(__file__).parent.parent / "results"
#: Patches a second that the filter must judge, by the width of the embeddings.
SPEED: Final = {128: 5_000.0, 512: 1_500.0}
#: What the filter may grow by in twenty frames with its memory full.
GROWN_KIB: Final = 256.0
FRAMES_PER_S: Final = 1.0
#: One patch in fifty.
SENT_SHARE: Final = 0.02
COLUMNS: Final = ("sent", "defects per 100", "rare per 100", "classes")


def main() -> int:
    """Measure, print, save and check as asked."""
    options = _options()
    result = run(options)
    if options.json:
        print(json.dumps(result))
    else:
        _show(result)
    if options.save:
        path = RESULTS / f"stream-{datetime.now(UTC):%Y-%m-%d}.json"
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(f"saved {path}", file=sys.stderr)
    if options.check and result["missed"]:
        print("\n".join(f"stream: {line}" for line in result["missed"]), file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Measure what is asked for."""
    found: dict[str, Any] = {"machine": machine_facts(), "versions": package_versions(), "missed": []}
    if options.only != "worth":
        found["speed"] = {dim: speed.measure(dim, frames=10 if options.quick else 60) for dim in SPEED}
        found["missed"] += _missed(found["speed"])
    if options.only != "speed":
        effort = Effort(frames=60, learned_from=8, steps=4, space_steps=4) if options.quick else Effort()
        makers: dict[str, Callable[[int], Stream]] = {"steel line": partial(steel, effort=effort)}
        if options.data is not None:
            makers["neu899"] = partial(images, options.data / "neu899", effort=effort)
        seeds = range(options.seeds)
        found["worth"] = {
            name: _over_seeds([worth(make(seed), seed) for seed in seeds]) for name, make in makers.items()
        }
        found["seeds"] = options.seeds
    return found


def worth(stream: Stream, seed: int) -> dict[str, dict[str, float]]:
    """Play one stream to every contender, and judge what each sent by the truth."""
    patches = sum(len(classes) for classes in stream.truth)
    per_hour = SENT_SHARE * patches / len(stream.frames) * FRAMES_PER_S * 3600.0
    burst = max(1, round(SENT_SHARE * patches / 5))
    terms = Terms(BudgetTable(patches_per_hour=per_hour, burst=burst), FRAMES_PER_S, stream.tau)
    totals = np.concatenate(stream.truth).sum(axis=0)
    there = np.flatnonzero(totals)
    rare = there[np.argsort(totals[there], kind="stable")[: len(there) // 2]]
    found = {}
    for contender in contenders(terms, stream.rehearsal, seed=seed):
        sent = []
        for number, (seen, truth) in enumerate(zip(stream.frames, stream.truth, strict=True)):
            sent.append(truth[contender.offer(number / FRAMES_PER_S, seen)])
        rows = np.concatenate(sent)
        count = max(1, len(rows))
        found[contender.name] = {
            "sent": float(len(rows)),
            "defects per 100": 100.0 * float(rows.any(axis=1).sum()) / count,
            "rare per 100": 100.0 * float(rows[:, rare].any(axis=1).sum()) / count,
            "classes": float(rows.any(axis=0).sum()),
        }
    found["all there is"] = {
        "sent": float(patches),
        "defects per 100": 100.0 * float(np.concatenate(stream.truth).any(axis=1).mean()),
        "rare per 100": 100.0 * float(np.concatenate(stream.truth)[:, rare].any(axis=1).mean()),
        "classes": float(len(there)),
    }
    return found


def _over_seeds(runs: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, dict[str, float]]]:
    return {
        name: {
            column: {
                "mean": float(np.mean([one[name][column] for one in runs])),
                "sd": float(np.std([one[name][column] for one in runs], ddof=1)) if len(runs) > 1 else 0.0,
            }
            for column in COLUMNS
        }
        for name in runs[0]
    }


def _missed(rows: dict[int, dict[str, float]]) -> list[str]:
    slow = [
        f"D = {dim}: {rows[dim]['patches_per_s']:.0f} patches/s, the target is {least:.0f}"
        for dim, least in SPEED.items()
        if rows[dim]["patches_per_s"] < least
    ]
    grown = [
        f"D = {dim}: {rows[dim]['grown_kib']:.0f} KiB more after twenty frames, the target is {GROWN_KIB:.0f}"
        for dim in SPEED
        if rows[dim]["grown_kib"] > GROWN_KIB
    ]
    return slow + grown


def _show(result: dict[str, Any]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 140)
    if "speed" in result:
        table = Table("D", "patches/s", "target", "grown KiB", "peak KiB", title="stream filter, every patch embedded")
        for dim, row in result["speed"].items():
            cells = (
                f"{row['patches_per_s']:.0f}",
                f"{SPEED[dim]:.0f}",
                f"{row['grown_kib']:.0f}",
                f"{row['peak_kib']:.0f}",
            )
            table.add_row(str(dim), *cells)
        console.print(table)
    for stream, rows in result.get("worth", {}).items():
        table = Table("filter", *COLUMNS, title=f"{stream}: mean and sd over {result['seeds']} seeds")
        for name, row in rows.items():
            table.add_row(name, *(f"{row[column]['mean']:.1f} ± {row[column]['sd']:.1f}" for column in COLUMNS))
        console.print(table)
    for line in result["missed"]:
        console.print(f"missed: {line}", style="red")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, metavar="DIR", help="play DIR/neu899 too")
    parser.add_argument("--seeds", type=int, default=3, help="how many streams of each kind")
    parser.add_argument("--only", choices=("speed", "worth"), help="one part")
    parser.add_argument("--quick", action="store_true", help="a look whether it runs; no figures")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit 1 naming each missed target")
    parser.add_argument("--save", action="store_true", help="write the dated result")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
