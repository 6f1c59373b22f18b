"""Whether the loop pays: winnow's learning curve against two random baselines, over several seeds.

Each seed is one `winnow demo`: another strip of steel, other noise in every training. Within a run the three arms have the
same labels, the same architecture, the same beginning and the same validation set, so they are compared as differences
within a run; `+-` is the standard deviation over the seeds. Why to doubt it: the strip is simulated, few seeds are few,
and the rounds of one curve are not independent.

    python -m benchmarks.loop [--seeds 0,1,2] [--rounds 5] [--json] [--check] [--save] [--keep DIR]
"""

import argparse
import json
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

from rich.console import Console
from rich.table import Table

ARMS: Final = {"winnow": "miou", "random stream": "miou_random_stream", "random pool": "miou_random_pool"}
RESULTS: Final = Path(__file__).parent / "results"


def main() -> int:
    """Run the demos, print the table, and say whether winnow beat both baselines."""
    options = _options()
    console = Console(stderr=options.json)
    with tempfile.TemporaryDirectory() as scratch:
        home = options.keep or Path(scratch)
        runs = [_run(seed, options.rounds, home / f"seed-{seed}", console) for seed in options.seeds]
    result = compare(runs)
    if options.json:
        print(json.dumps(result))
    else:
        console.print(_table(result))
        console.print(_verdict(result))
    if options.save:
        path = RESULTS / f"loop-{datetime.now(UTC):%Y-%m-%d}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        console.print(f"saved {path}")
    return 1 if options.check and not result["beats_both"] else 0


def compare(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the summaries of several demos side by side."""
    curves = {arm: [[round_[key] for round_ in run["rounds"]] for run in runs] for arm, key in ARMS.items()}
    means = {arm: [fmean(curve) for curve in of_runs] for arm, of_runs in curves.items()}
    ahead = {
        arm: [ours - theirs for ours, theirs in zip(means["winnow"], means[arm], strict=True)]
        for arm in ARMS
        if arm != "winnow"
    }
    ends = {arm: _spread([curve[-1] for curve in of_runs]) for arm, of_runs in curves.items()}
    return {
        # Both of the papers' scenarios at once: a stream that the nodes filter, and the pool that it fills.
        "rows": ["D1"],
        "figure": f"mIoU after the last round, {len(runs)} runs: "
        + ", ".join(f"{arm} {end['mean']:.3f} ± {end['sd']:.3f}" for arm, end in ends.items()),
        "seeds": [run["seed"] for run in runs],
        "labels": [round_["labels"] for round_ in runs[0]["rounds"]],
        "curves": curves,
        "curve_mean": {arm: _spread(values) for arm, values in means.items()},
        "last_round": ends,
        "winnow_ahead": {arm: _spread(values) for arm, values in ahead.items()},
        "beats_both": all(fmean(values) > 0 for values in ahead.values()),
        "beats_both_in_runs": sum(all(values[i] > 0 for values in ahead.values()) for i in range(len(runs))),
        "seconds": [run["seconds"] for run in runs],
        "peak_memory_bytes": [run["peak_memory_bytes"] for run in runs],
        "patches_seen": [run["patches_seen"] for run in runs],
        "patches_sent": [run["patches_sent"] for run in runs],
        "machine": runs[0]["machine"],
        "versions": runs[0]["versions"],
        "settings": runs[0]["settings"],
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {
        "mean": fmean(values),
        "sd": stdev(values) if len(values) > 1 else 0.0,
        "min": min(values),
        "max": max(values),
    }


def _run(seed: int, rounds: int, out: Path, console: Console) -> dict[str, Any]:
    """Hold one demo and return its summary."""
    console.print(f"seed {seed}: {rounds} rounds")
    command = [
        sys.executable,
        "-m",
        "deploy.cli",
        "demo",
        "--seed",
        str(seed),
        "--rounds",
        str(rounds),
        "--out",
        str(out),
    ]
    status = subprocess.run(command, check=False, stdout=sys.stderr).returncode
    if status:
        raise SystemExit(f"seed {seed}: the demo ended with status {status}; nothing is compared")
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    return summary


def _table(result: dict[str, Any]) -> Table:
    table = Table(title=f"mIoU, {len(result['seeds'])} seeds, mean +- standard deviation (lowest to highest)")
    table.add_column("arm")
    for labels in result["labels"]:
        table.add_column(f"{labels} labels", justify="right")
    for column in ("whole curve", "winnow ahead by"):
        table.add_column(column, justify="right")
    for arm, curves in result["curves"].items():
        points = [_words(_spread(list(values))) for values in zip(*curves, strict=True)]
        ahead = "" if arm == "winnow" else _words(result["winnow_ahead"][arm])
        table.add_row(arm, *points, _words(result["curve_mean"][arm]), ahead)
    machine, versions = result["machine"], result["versions"]
    table.caption = (
        f"{machine['processor']}, {machine['cores used']} cores, {fmean(result['seconds']):.0f} s a run, "
        f"torch {versions.get('torch')}, onnxruntime {versions.get('onnxruntime')}"
    )
    return table


def _words(spread: dict[str, float]) -> str:
    return f"{spread['mean']:.3f} +- {spread['sd']:.3f} ({spread['min']:.3f} to {spread['max']:.3f})"


def _verdict(result: dict[str, Any]) -> str:
    runs = f"{result['beats_both_in_runs']} of {len(result['seeds'])} runs"
    words = "beats both baselines" if result["beats_both"] else "does NOT beat both baselines"
    return f"winnow's mean curve {words}; it is ahead of both in {runs}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loop", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=_numbers, default=[0, 1, 2], help="comma-separated, default 0,1,2")
    parser.add_argument("--rounds", type=int, default=5, help="rounds a run, the seed set's included")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--check", action="store_true", help="exit 1 if winnow does not beat both baselines")
    parser.add_argument("--save", action="store_true", help="write a dated file under benchmarks/results/")
    parser.add_argument("--keep", type=Path, help="keep the demos' folders here")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
