"""The rows of the selection benchmark that measure seconds and memory, and what each must reach."""

import math
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import fmean, median, stdev
from typing import Any, Final

import numpy as np

from benchmarks.selection.meter import Meter, say
from benchmarks.selection.pools import Pool, industrial
from trainer.selection.algebra import NumpyAlgebra
from trainer.selection.kernels.cosine import CosineForm
from trainer.selection.kernels.quality import QualityKernel, quality
from trainer.selection.kernels.similarity import choose_tau
from trainer.selection.neighbourhoods import cut
from trainer.selection.numbers import Ints, Vectors
from trainer.selection.problem import Problem
from trainer.selection.samplers.block import BlockKdpp, neighbourhood_size
from trainer.selection.samplers.dense import DenseKdpp
from trainer.selection.samplers.law import Law
from trainer.selection.samplers.lowrank import LowRankKdpp
from trainer.selection.strategies.greedy import Greedy
from trainer.selection.strategies.kdpp import Kdpp
from trainer.selection.strategies.strategy import Strategy
from trainer.selection.twins import find_twins

A: Final = 0.4
B: Final = 0.6
D: Final = 128
#: Laid on the diagonal of the cosine kernel that is compared with dppy.
NUGGET: Final = 0.1
DRAWS: Final = 20
#: Differences of means within so many standard errors are noise.
NOISE: Final = 3.0
#: `--quick` divides pools and batches by this.
QUICK: Final = 50


@dataclass(frozen=True, slots=True)
class Target:
    """What one figure of a row must reach."""

    figure: str
    least: float | None = None
    most: float | None = None
    unit: str = ""

    def misses(self, value: float) -> bool:
        """Say whether the value is on the wrong side; what is no number always is."""
        return not ((self.least is None or value >= self.least) and (self.most is None or value <= self.most))

    def __str__(self) -> str:
        bound = f">= {self.least:g}" if self.least is not None else f"<= {self.most:g}"
        return f"{self.figure} {bound}{self.unit}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what is measured, by what, and what it must reach."""

    what: str
    measure: Callable[[int], dict[str, Any]]
    targets: tuple[Target, ...]


def problem_of(pool: Pool, tau: float) -> Problem:
    """Put a pool as a problem with nothing labelled."""
    return Problem(pool.embeddings, pool.scores, np.empty((0, pool.embeddings.shape[1]), np.float32), tau)


def blocks_and_dense(shrink: int) -> dict[str, Any]:
    """Draw ``quality`` by neighbourhoods and from the whole kernel, and compare seconds, inclusions and log-determinants."""
    n, k = 4_000 // shrink, 533 // shrink
    pool = industrial(n, d=D, seed=0)
    weights = quality(pool.scores, a=A, b=B)
    nothing = pool.embeddings[:0]

    def block() -> tuple[Law, float]:
        rng = np.random.default_rng(1)
        tau = choose_tau(pool.embeddings, k, rng)
        kernel = QualityKernel(pool.embeddings, weights, tau, nothing)
        twins = find_twins(pool.embeddings, above=0.99)
        neighbourhoods = cut(pool.embeddings, most=neighbourhood_size(n), groups=twins, rng=rng)
        return _drawn(BlockKdpp.of(kernel, neighbourhoods, algebra=NumpyAlgebra(), workers=1).sized(k)), tau

    def dense() -> tuple[Law, float]:
        tau = choose_tau(pool.embeddings, k, np.random.default_rng(1))
        kernel = QualityKernel(pool.embeddings, weights, tau, nothing)
        return _drawn(DenseKdpp.of(kernel.among(np.arange(n))).sized(k)), tau

    block()
    (ours, tau), ours_s = _timed(block, times=5)
    say(f"  block: {ours_s:.2f} s")
    (whole, _), whole_s = _timed(dense, times=1 if shrink == 1 else 3)
    say(f"  dense: {whole_s:.2f} s; {DRAWS} more draws of each")
    kernel = QualityKernel(pool.embeddings, weights, tau, nothing)
    ours_log, whole_log = (_log_dets(law, kernel) for law in (ours, whole))
    ours_p, whole_p = ours.inclusion(), whole.inclusion()
    if ours_p is None or whole_p is None:
        return {"error": "a sampler does not know its inclusions"}
    gap = fmean(ours_log) - fmean(whole_log)
    return {
        "tau": tau,
        "block_s": ours_s,
        "dense_s": whole_s,
        "ratio": whole_s / ours_s,
        "mean_dp": float(np.abs(ours_p - whole_p).mean()),
        "mean_p": float(whole_p.mean()),
        "correlation": float(np.corrcoef(ours_p, whole_p)[0, 1]),
        "block_log_det": fmean(ours_log),
        "block_log_det_se": _error(ours_log),
        "dense_log_det": fmean(whole_log),
        "dense_log_det_se": _error(whole_log),
        "log_det_gap_in_errors": abs(gap) / math.hypot(_error(ours_log), _error(whole_log)),
    }


def lowrank_and_dppy(n: int, dppy_times: int, shrink: int) -> dict[str, Any]:
    """Draw a tenth of a pool by cosine plus a nugget, by us and by dppy as it stands.

    dppy's call is the plain one. Where its sums overflow (``dppy_overflowed`` counts how many of them do) what it draws
    follows no known law: it is timed, not believed. Ours is the median of five, dppy's the least of what it ran.
    """
    n //= shrink
    k = n // 10
    embeddings = industrial(n, d=D, seed=0).embeddings

    def ours() -> Law:
        return _drawn(LowRankKdpp.of(CosineForm(embeddings, NUGGET)).sized(k))

    ours()
    law, ours_s = _timed(ours, times=5)
    rng = np.random.default_rng(2)
    again = [_timed(lambda: law.draw(rng))[1] for _ in range(20)]
    say(f"  lowrank: {ours_s:.3f} s, each further draw {1e3 * median(again):.1f} ms; dppy now, up to minutes")
    theirs = [_dppy(embeddings, k, repeat=attempt == 0) for attempt in range(dppy_times)]
    dppy_s, dppy_again_s = (min(run[name] for run in theirs) for name in ("seconds", "again_s"))
    return {
        "lowrank_s": ours_s,
        "dppy_s": dppy_s,
        "dppy_times": dppy_times,
        "dppy_overflowed": theirs[0]["overflowed"],
        "ratio": dppy_s / ours_s,
        "lowrank_again_s": median(again),
        "dppy_again_s": dppy_again_s,
        "again_ratio": dppy_again_s / median(again),
    }


def _dppy(embeddings: Vectors, k: int, *, repeat: bool) -> dict[str, float]:
    """Time dppy's exact draw from the embeddings on, then another one from the same object."""
    with warnings.catch_warnings(action="ignore"):
        from dppy.finite_dpps import FiniteDPP  # noqa: PLC0415  # draws in matplotlib

        began = time.perf_counter()
        exact = embeddings.astype(np.float64)
        kernel = exact @ exact.T
        kernel[np.diag_indices_from(kernel)] += NUGGET
        dpp = FiniteDPP("likelihood", L=kernel)
        dpp.sample_exact_k_dpp(k, random_state=np.random.RandomState(1))
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        if repeat:
            dpp.sample_exact_k_dpp(k, random_state=np.random.RandomState(2))
        again_s = time.perf_counter() - began if repeat else float("inf")
    say(f"  dppy: {seconds:.1f} s")
    return {"seconds": seconds, "again_s": again_s, "overflowed": int(np.count_nonzero(~np.isfinite(dpp.E_poly)))}


def at_scale(  # noqa: D417  # the rest is what it is named
    n: int, k: int, strategy: Strategy, shrink: int, *, d: int = D, times: int = 1, spreads: bool = True
) -> dict[str, Any]:
    """Choose a batch from a large pool as the product does, explanations included.

    Args:
        spreads: Whether the strategy goes by a temperature, which is then chosen inside the measured time.
    """
    pool = industrial(n // shrink, d=d, seed=0)
    k //= shrink
    # What is imported and compiled late is no part of a choice.
    _choose(industrial(400, d=d, seed=1), 20, strategy, spreads=spreads)
    meter = Meter()
    seconds, most_above, most = [], 0, 0
    for _ in range(1 if shrink > 1 else times):
        meter.start()
        drawn = _choose(pool, k, strategy, spreads=spreads)
        seconds.append(meter.lap())
        most_above, most = max(most_above, meter.bytes_above()), max(most, meter.bytes_in_all())
        say(f"  {strategy.name}: {seconds[-1]:.2f} s, {meter.bytes_above() / 1e9:.3f} GB")
    return {
        "seconds": median(seconds),
        "least_s": min(seconds),
        "times": len(seconds),
        "above_embeddings_gb": most_above / 1e9,
        "in_all_gb": most / 1e9,
        "different": len(np.unique(drawn)) == k,
    }


def _choose(pool: Pool, k: int, strategy: Strategy, *, spreads: bool) -> Ints:
    rng = np.random.default_rng(1)
    tau = choose_tau(pool.embeddings, k, rng) if spreads else 1.0
    return strategy.choose(problem_of(pool, tau), k, rng).indices


def _drawn(law: Law) -> Law:
    """Draw once: a law that has not been drawn from may have put work off."""
    law.draw(np.random.default_rng(3))
    return law


def _timed(work: Callable[[], Any], *, times: int = 1) -> tuple[Any, float]:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - began)
    return result, median(seconds)


def _log_dets(law: Law, kernel: QualityKernel) -> list[float]:
    rng = np.random.default_rng(4)
    return [float(np.linalg.slogdet(kernel.among(law.draw(rng))).logabsdet) for _ in range(DRAWS)]


def _error(values: list[float]) -> float:
    return stdev(values) / len(values) ** 0.5


def _kdpp(weighting: str, sampler: str) -> Strategy:
    return Kdpp(weighting=weighting, sampler=sampler, a=A, b=B, conditioned=True)


_QUALITY: Final = _kdpp("quality", "block")
_DISTANCE: Final = _kdpp("eq3-distance", "lowrank")
_GREEDY: Final = Greedy(a=A, b=B, sampler="block", conditioned=True)

SPEED: Final = {
    "block-4000": Row(
        "Block beside Dense, quality, N = 4,000, k = 533",
        blocks_and_dense,
        (Target("ratio", least=10), Target("mean_dp", most=0.003), Target("log_det_gap_in_errors", most=NOISE)),
    ),
    "dppy-2000": Row(
        "LowRank beside dppy exact, cos + 0.1 I, N = 2,000, k = 200",
        partial(lowrank_and_dppy, 2_000, 3),
        (Target("ratio", least=20),),
    ),
    "dppy-4000": Row(
        "LowRank beside dppy exact, cos + 0.1 I, N = 4,000, k = 400",
        partial(lowrank_and_dppy, 4_000, 2),
        (Target("ratio", least=100), Target("again_ratio", least=100)),
    ),
    "dppy-10000": Row(
        "LowRank beside dppy exact, cos + 0.1 I, N = 10,000, k = 1,000",
        partial(lowrank_and_dppy, 10_000, 1),
        (Target("ratio", least=800),),
    ),
    "quality-60000": Row(
        "quality by Block, N = 60,000, k = 8,000, D = 128",
        partial(at_scale, 60_000, 8_000, _QUALITY, times=3),
        (Target("seconds", most=15, unit=" s"), Target("above_embeddings_gb", most=0.6, unit=" GB")),
    ),
    "distance-60000": Row(
        "eq3-distance by LowRank, N = 60,000, k = 8,000, D = 128",
        partial(at_scale, 60_000, 8_000, _DISTANCE, times=3, spreads=False),
        (Target("seconds", most=3, unit=" s"), Target("above_embeddings_gb", most=0.5, unit=" GB")),
    ),
    "greedy-60000": Row(
        "block greedy, quality, N = 60,000, k = 8,000, D = 128",
        partial(at_scale, 60_000, 8_000, _GREEDY, times=3),
        (Target("seconds", most=3, unit=" s"),),
    ),
    "distance-60000-d512": Row(
        "eq3-distance by LowRank, N = 60,000, k = 8,000, D = 512",
        partial(at_scale, 60_000, 8_000, _DISTANCE, d=512, times=3, spreads=False),
        (Target("seconds", most=15, unit=" s"), Target("above_embeddings_gb", most=1.0, unit=" GB")),
    ),
    "quality-1000000": Row(
        "quality by Block, N = 1,000,000, k = 10,000, D = 128",
        partial(at_scale, 1_000_000, 10_000, _QUALITY),
        (Target("seconds", most=60, unit=" s"), Target("in_all_gb", most=4.0, unit=" GB")),
    ),
    "distance-1000000": Row(
        "eq3-distance by LowRank, N = 1,000,000, k = 10,000, D = 128",
        partial(at_scale, 1_000_000, 10_000, _DISTANCE, spreads=False),
        (Target("seconds", most=40, unit=" s"),),
    ),
}
