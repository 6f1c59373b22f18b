"""How many frames per second the simulated steel line draws on one core.

Measured: ``SteelLine.frame`` at 256 px (scale 0.5), 512 px (scale 1) and 1024 px (scale 1), on frames that follow one
another and on frames far apart, after the imprints of the roll have been drawn once; and what that first frame costs.
The BLAS threads are pinned to one. Each figure is the best of three repeats: other work on the machine only slows.

    python benchmarks/steel_line.py [--json] [--check]

``--check`` exits 1 and names each missed target.
"""

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict, dataclass

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # read when numpy is first imported

import numpy as np

from shared.processor import processor_name
from shared.steel_line import SteelLine

VIEWS = ((256, 0.5), (512, 1.0), (1024, 1.0))
TARGETS_PER_S = {512: 20.0}
FAR_APART = 1_237


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one frame size."""

    side_px: int
    scale: float
    first_frame_ms: float
    following_per_s: float
    far_apart_per_s: float


def frames_per_s(line: SteelLine, numbers: range) -> float:
    """Draw these frames three times and return the best rate."""
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        for number in numbers:
            line.frame(number)
        best = min(best, time.perf_counter() - start)
    return len(numbers) / best


def measure(side_px: int, scale: float, frames: int) -> Row:
    """Measure one frame size on a line of its own, so that nothing is cached before the first frame."""
    line = SteelLine(20, f"bench-{side_px}", height_px=side_px, width_px=side_px, scale=scale)
    start = time.perf_counter()
    line.frame(0)
    first_ms = 1e3 * (time.perf_counter() - start)
    far = range(0, frames * FAR_APART, FAR_APART)
    for number in far:
        line.frame(number)
    return Row(side_px, scale, first_ms, frames_per_s(line, range(frames)), frames_per_s(line, far))


def main() -> int:
    """Measure, print, and check if asked to."""
    parser = argparse.ArgumentParser(description="frames per second of the simulated steel line")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true", help="exit 1 naming each missed target")
    parser.add_argument("--frames", type=int, default=60, help="frames per repeat")
    options = parser.parse_args()
    machine = {"processor": processor_name(), "python": platform.python_version(), "numpy": np.__version__}
    rows = [measure(side_px, scale, options.frames) for side_px, scale in VIEWS]
    missed = [
        f"{row.side_px} px: {rate:.1f} frames/s {how}, the target is {TARGETS_PER_S[row.side_px]:.0f}"
        for row in rows
        if row.side_px in TARGETS_PER_S
        for how, rate in (("following", row.following_per_s), ("far apart", row.far_apart_per_s))
        if rate < TARGETS_PER_S[row.side_px]
    ]
    if options.json:
        print(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows], "missed": missed}))
    else:
        print(
            " · ".join((machine["processor"], f"python {machine['python']}", f"numpy {machine['numpy']}", "one core"))
        )
        print(f"{'frame':>12} {'scale':>6} {'first frame':>12} {'following':>14} {'far apart':>14}")
        for row in rows:
            size = f"{row.side_px} x {row.side_px}"
            rates = f"{row.following_per_s:>10.0f} f/s {row.far_apart_per_s:>10.0f} f/s"
            print(f"{size:>12} {row.scale:>6} {row.first_frame_ms:>9.0f} ms {rates}")
    if options.check and missed:
        print("\n".join(f"steel_line: {line}" for line in missed), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
