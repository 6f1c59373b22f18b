"""Collect: wait until the pool is worth a selection; meanwhile embed what came without an embedding."""

from trainer.rounds.embedding import Embedder
from trainer.rounds.machine import EnoughCollected, Round
from trainer.rounds.workbench import Workbench


def collect(bench: Workbench, round_: Round) -> EnoughCollected:
    """Wait for ``rounds.min_pool`` embedded candidates, ``rounds.min_new`` of them since the newest release or selection."""
    rules = bench.line.rounds
    assert round_.space is not None
    embedder = Embedder(bench)
    told = -1
    while True:
        bench.check()
        embedder.catch_up(round_.space, round_.number)
        ready = len(bench.pool.ids(bench.line.line, space=round_.space))
        fresh = received(bench) - round_.received
        if ready >= rules.min_pool and fresh >= rules.min_new:
            return EnoughCollected()
        if ready != told:
            told = ready
            bench.event(
                "collecting",
                f"round {round_.number}: {ready} of {rules.min_pool} candidates in the pool, {fresh} of {rules.min_new} new",
                round=round_.number,
                pool=ready,
                min_pool=rules.min_pool,
                new=fresh,
                min_new=rules.min_new,
            )
        bench.wait()


def received(bench: Workbench) -> int:
    """Return how many candidates the line's cameras have ever sent."""
    return bench.pool.counters(bench.line.line)["received"]
