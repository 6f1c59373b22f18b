"""How fast candidates become durable: on the node, and all the way into the pool.

Four rates in every round, one after another on one machine, so that ratios are within one round: bare paho publishing to
a private mosquitto on loopback (QoS 1, up to the last PUBACK, nobody hears), the spool accepting the same bytes durably,
bare paho from a publisher to a subscriber, and the whole chain with real processes: hand-off socket, spool, mosquitto,
ingest with its checks, pool commit, acknowledgement, deleted from the spool. Candidates are of 30 kB, a JPEG crop of the
default size with its embedding. The rate of a row is the median of its rounds; a ratio is the median of the rounds' ratios.

Why to doubt it: loopback has no latency, publisher, broker and trainer share the cores of one machine, and "durable" is
what the disk's own flush says: a disk that lies makes the spool and the pool fast. On a busy machine the chain, four
processes that wait for each other, suffers more than one client that publishes; what it costs each process is the sturdier
figure: time on a core for each candidate, and how many cores' worth of time the chain got while it ran.

    python -m benchmarks.uplink [--json] [--check] [--rounds N] [--candidates N] [--save]

``--check`` exits 1 and names each missed target.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"  # read when numpy is first imported

from rich.console import Console
from rich.table import Table

from benchmarks.uplink.bare import delivered_per_s, published_per_s, publisher, subscriber
from benchmarks.uplink.chain import (
    Candidates,
    Courier,
    accepted_per_s,
    config_line,
    cpu_s,
    received,
    trainer,
    write_config,
)
from deploy.broker import PrivateBroker
from deploy.demo.machine import machine_facts, package_versions
from edge_agent.courier.spool import Spool
from shared.clock import SystemClock
from shared.codec import encode

RESULTS: Final = Path(__file__).parent.parent / "results"
RATES: Final = {
    "published": "bare paho, published to nobody",
    "accepted": "spool, durable accepts",
    "delivered": "bare paho, publisher to subscriber",
    "committed": "whole chain, durable on both sides",
}
#: Figure, unit and the least it must reach.
TARGETS: Final = {"accepted/published": ("", 0.25), "committed": ("/s", 500.0)}
_BOOT: Final = "0000be9c"


def main() -> int:
    """Measure, print, save and check as asked."""
    options = _options()
    result = run(rounds=options.rounds, count=options.candidates)
    if options.json:
        print(json.dumps(result))
    else:
        _show(result, Console(width=None if sys.stdout.isatty() else 130))
    if options.save:
        path = RESULTS / f"uplink-{datetime.now(UTC):%Y-%m-%d}.json"
        path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        print(f"saved {path}", file=sys.stderr)
    if options.check and result["missed"]:
        print("\n".join(f"uplink: {line}" for line in result["missed"]), file=sys.stderr)
        return 1
    return 0


def run(*, rounds: int, count: int) -> dict[str, Any]:
    """Measure all rates, round by round."""
    found: list[dict[str, float]] = []
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="winnow-uplink-")))
        broker = PrivateBroker(root, clock=SystemClock(), also=("max_queued_messages 0",))
        broker.start()
        stack.callback(broker.stop)
        write_config(root, broker.port)
        make = Candidates(config_line(root))
        bare = stack.enter_context(publisher(broker.port))
        words = stack.enter_context(subscriber(broker.port))
        centre = stack.enter_context(trainer(root))
        courier = stack.enter_context(Courier(root, boot=_BOOT))
        spool = Spool.open(root / "bench.db", cap_bytes=2_000_000_000)
        stack.callback(spool.close)
        sizes: list[int] = []
        # The first round warms everything up and is not counted.
        for number in range(rounds + 1):
            candidates = make.make(count, boot=_BOOT)
            payloads = [encode(candidate) for candidate in candidates]
            sizes += map(len, payloads)
            rates = {
                "published": published_per_s(bare, payloads),
                "accepted": accepted_per_s(spool, candidates, payloads),
                "delivered": delivered_per_s(bare, payloads, words),
            }
            processes = {"trainer": centre, "courier": courier.pid, "broker": broker.pid}
            before = {name: cpu_s(pid) for name, pid in processes.items()}
            rates["committed"] = courier.delivered_per_s(candidates, payloads)
            worked = {f"{name}_ms": 1000 * (cpu_s(pid) - before[name]) / count for name, pid in processes.items()}
            cores = sum(worked.values()) * rates["committed"] / 1000
            rates |= worked | {"cores": cores, "committed_per_core": 1000 / max(sum(worked.values()), 1e-9)}
            said = ", ".join(f"{name} {rates[name]:.0f}/s" for name in RATES)
            print(f"round {number}: {said}, on {rates['cores']:.2f} cores", file=sys.stderr)
            if number:
                found.append(rates)
        if (there := received(root)) != count * (rounds + 1):
            raise SystemExit(f"uplink: {there} candidates in the pool, {count * (rounds + 1)} were acknowledged")
    figures = summary(found)
    return {
        "machine": machine_facts(),
        "versions": package_versions(),
        "candidates": count,
        "candidate_bytes": round(statistics.mean(sizes)),
        "rounds": found,
        "figures": figures,
        "load": os.getloadavg()[0],
        "missed": missed(figures),
    }


def summary(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Take the medians: of each rate, and of each round's ratios."""
    figures = {name: statistics.median(rates[name] for rates in rounds) for name in rounds[0]}
    for above, below in (("accepted", "published"), ("committed", "delivered")):
        figures[f"{above}/{below}"] = statistics.median(rates[above] / rates[below] for rates in rounds)
    return figures


def missed(figures: dict[str, float]) -> list[str]:
    """Name each target that was not reached, with what was reached."""
    return [
        f"{name}: {figures[name]:.3g}{unit}, the target is at least {least:g}{unit}"
        for name, (unit, least) in TARGETS.items()
        if figures[name] < least
    ]


def _show(result: dict[str, Any], console: Console) -> None:
    figures = result["figures"]
    table = Table(title=f"Candidates of {result['candidate_bytes'] / 1000:.1f} kB, {result['candidates']} a round")
    for name in ("what", "reached", "must reach"):
        table.add_column(name)
    for name, what in RATES.items():
        least = TARGETS.get(name)
        table.add_row(what, f"{figures[name]:,.0f}/s", f">= {least[1]:g}/s" if least else "")
    table.add_row("spool / bare paho published", f"{figures['accepted/published']:.2f}", ">= 0.25")
    table.add_row("whole chain / bare paho delivered", f"{figures['committed/delivered']:.3f}", "reported")
    costs = ", ".join(f"{name} {figures[f'{name}_ms']:.2f} ms" for name in ("trainer", "courier", "broker"))
    table.add_row("time on a core for each candidate", costs, "reported")
    table.add_row("cores that the chain got while it ran", f"{figures['cores']:.2f}", "reported")
    table.add_row("whole chain, for each second of one core", f"{figures['committed_per_core']:,.0f}", "reported")
    console.print(table)
    machine = result["machine"]
    versions = ", ".join(f"{name} {number}" for name, number in result["versions"].items())
    console.print(f"{machine['processor']}, {machine['cores used']} cores, python {machine['python']}, {versions}")
    if result["missed"]:
        console.print("missed: " + "; ".join(result["missed"]))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.uplink", description=(__doc__ or "").split("\n", maxsplit=1)[0]
    )
    parser.add_argument("--json", action="store_true", help="print the result as one JSON object")
    parser.add_argument("--check", action="store_true", help="exit 1 naming each missed target")
    parser.add_argument("--rounds", type=int, default=7, help="how many rounds count")
    parser.add_argument("--candidates", type=int, default=2000, help="how many candidates a round has")
    parser.add_argument("--save", action="store_true", help="write a dated file under benchmarks/results/")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
