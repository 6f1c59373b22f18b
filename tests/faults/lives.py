"""The lives that the nursery forks: our own commands, with a witness beside the courier's spool."""

import json
import os
import random
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path

from tests.faults.witness import LEDGER, watch_spool

#: How many hostile messages come in one transaction.
_AT_ONCE = 20


def courier() -> int:
    """``python -m edge_agent.courier AGENT.toml --boot ID``."""
    from edge_agent.courier.__main__ import main

    watch_spool(Path(os.environ[LEDGER]))
    return main()


def winnow() -> None:
    """``winnow …``."""
    from deploy.cli import main

    main()


def stores() -> None:
    """A spool, an uplink, an ingest and a pool in one process, from candidate to acknowledgement, until the disk dies.

    Arguments: the directory, the site, the boot of this life, its seed, and which store a control keeps from syncing
    with which pragma.
    """
    from edge_agent.courier.spool import Item, Spool
    from edge_agent.courier.uplink import Uplink
    from shared import codec, topics
    from shared.bus import MemoryBroker, MemoryBus
    from shared.clock import ManualClock
    from shared.config import load_site
    from shared.messages import WorkerState
    from tests.faults.plant import SITE, candidate_of, value_of
    from trainer.pool.ingest import Ingest
    from trainer.pool.pool import Pool

    directory, site_toml, boot, seed, careless, pragma = sys.argv[1:]
    dice = random.Random(seed)  # noqa: S311  # no secret
    watch_spool(Path(os.environ[LEDGER]))
    clock = ManualClock()
    broker = MemoryBroker()
    node = MemoryBus(broker, filters=(topics.ack(SITE, "press-01"), topics.all_workers(SITE)))
    centre = MemoryBus(broker, filters=(topics.ingest(SITE),))
    spool = Spool.open(Path(directory) / "spool.db", cap_bytes=100_000_000, ballast_bytes=1 << 16)
    pool = Pool.open(Path(directory) / "trainer", clock=clock)
    if careless == "spool":
        spool._connection.execute(pragma)
    elif careless == "pool":
        with closing(pool._engine.raw_connection()) as connection:
            connection.cursor().execute(pragma)
    uplink = Uplink(spool, node, site=SITE, node="press-01", window=20, rng=dice)
    _, lines = load_site(Path(site_toml))
    ingest = Ingest(pool, site=SITE, lines=lines, bus=centre, clock=clock)
    node.start()
    centre.start()
    centre.publish(
        topics.worker_state(SITE, "main"), codec.encode(WorkerState(boot="00000001", online=True)), retain=True
    )
    number = 0
    while True:
        items = []
        for _ in range(dice.randrange(1, 12)):
            candidate = candidate_of(number, boot=boot)
            items.append(Item(candidate.id, "small", value_of(number), codec.encode(candidate)))
            number += 1
        print(*(item.id for item in items), sep="\n", flush=True)
        spool.accept(items)
        clock.advance(dice.uniform(0.0, 10.0))
        uplink.handle(node.events(timeout_s=0), wall=clock.now(), now=clock.monotonic())
        uplink.send(wall=clock.now(), now=clock.monotonic())
        if dice.random() < 0.7 and (away := ingest.step(timeout_s=0).away) is not None:
            raise away


def ingest() -> None:
    """An ingest that is sent hostile messages only, with little memory to spare.

    Arguments: the site, the seed, how many messages, and how many bytes more than at its start it may have.
    """
    import resource

    from shared import topics
    from shared.bus import MemoryBroker, MemoryBus, Received
    from shared.clock import ManualClock
    from shared.config import load_site
    from tests.faults.hostile import KINDS
    from tests.faults.plant import SITE
    from trainer.pool.ingest import Ingest
    from trainer.pool.pool import Pool

    site_toml, seed, count, room = sys.argv[1:]
    dice = random.Random(int(seed))  # noqa: S311  # no secret
    site, lines = load_site(Path(site_toml))
    pool = Pool.open(Path(site_toml).parent / site.trainer.directory)
    bus = MemoryBus(MemoryBroker(), filters=(topics.ingest(SITE),))
    ingest = Ingest(pool, site=SITE, lines=lines, bus=bus, clock=ManualClock())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + int(room)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    refused: Counter[str] = Counter()
    let_in: Counter[str] = Counter()
    sent = 0
    while sent < int(count):
        kind = KINDS[sent // _AT_ONCE % len(KINDS)]
        for _ in range(_AT_ONCE):
            # Whatever a broker would let through comes here, the ingest's own topics or not.
            bus.inbox.put(Received(*kind(dice)))
        sent += _AT_ONCE
        refusals = ingest.step(timeout_s=0, limit=_AT_ONCE).refusals
        refused.update(refusal.kind for refusal in refusals)
        let_in.update({kind.__name__: _AT_ONCE - len(refusals)} if len(refusals) < _AT_ONCE else {})
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    print(json.dumps({"sent": sent, "refused": refused, "let_in": let_in, "grown_bytes": grown}))
