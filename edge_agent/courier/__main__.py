"""``python -m edge_agent.courier AGENT.toml --boot ID [--node NAME]``: what the supervisor starts."""

import argparse
import os
import queue
import random
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from edge_agent.child import heed_the_supervisor_alone
from edge_agent.courier.downloads import Downloads
from edge_agent.courier.heartbeat import will
from edge_agent.courier.intake import Intake
from edge_agent.courier.process import Courier
from edge_agent.courier.spool import Spool
from edge_agent.courier.uplink import Uplink
from edge_agent.database import describe_aside, set_aside_before
from edge_agent.handoff import FromCourier, ToCourier, Troubled, read_lines, write_line
from edge_agent.log import LOG, set_up_log
from edge_agent.paths import NodePaths
from shared import codec, topics
from shared.bus import Will
from shared.clock import SystemClock
from shared.config import load_agent
from shared.errors import ConfigError, LinkError, StateError, WinnowError, WireError
from shared.fetcher import build_fetcher
from shared.messages import NodeState
from shared.mqtt import MqttBus
from shared.transport import SpoolTable

#: A broker that is to hear of a broken disk has this long to answer.
_PATIENCE_S: Final = 5.0


def main() -> int:
    """Run the process and return its exit status."""
    parser = argparse.ArgumentParser(prog="edge_agent.courier")
    parser.add_argument("agent_toml", type=Path)
    parser.add_argument("--boot", required=True)
    parser.add_argument("--node", help="what the log says until the file was read")
    parser.add_argument("--trouble", action="append", default=[])
    options = parser.parse_args()
    # The supervisor ends its children in order; what a terminal or systemd sends to all of them must not end them first.
    heed_the_supervisor_alone()
    # Whatever a library prints belongs to the log, not between the messages.
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    source = os.fdopen(os.dup(0), "rb")
    set_up_log(node=options.node or options.agent_toml.stem, part="courier")
    try:
        return run(options.agent_toml, boot=options.boot, troubles=options.trouble, source=source, sink=sink)
    except WinnowError as error:
        LOG.error("%s", error)
        with suppress(BrokenPipeError):
            write_line(sink, Troubled(str(error)))
        return os.EX_CONFIG if isinstance(error, ConfigError) else 1


def run(agent_toml: Path, *, boot: str, troubles: Sequence[str], source: BinaryIO, sink: BinaryIO) -> int:
    """Carry candidates, reports and releases until the supervisor says stop or is gone."""
    agent, lines = load_agent(agent_toml)
    set_up_log(node=agent.node, part="courier")
    paths = NodePaths.of(agent_toml, agent)
    clock, rng = SystemClock(), random.Random()  # noqa: S311  # jitter is no secret
    fetcher = build_fetcher(agent.releases_url)
    topic = topics.state(agent.site, agent.node)
    wake = threading.Event()
    bus = MqttBus(
        agent.broker,
        client_id=f"winnow-{agent.site}-{agent.node}",
        filters=(topics.ack(agent.site, agent.node), topics.all_workers(agent.site), topics.hint(agent.site)),
        will=Will(topic, codec.encode(will(boot))),
        base=agent_toml.resolve().parent,
        wake=wake,
    )
    try:
        spool = Spool.open(paths.spool, cap_bytes=agent.spool.cap_bytes)
    except StateError as error:
        # A node whose disk is broken cannot carry candidates, but it can say so.
        bus.start()
        bus.events(timeout_s=_PATIENCE_S)
        _leave_word(bus, topic, will(boot, troubles=(str(error),)))
        raise
    if spool.set_aside is not None:
        LOG.error("spool: not readable, set aside as %s; a new one is begun", spool.set_aside)
    _say_cap(spool, agent.spool)
    words: queue.Queue[FromCourier] = queue.Queue()
    downloads = Downloads(
        fetcher,
        node=agent.node,
        lines=tuple(lines),
        incoming=paths.incoming,
        poll_s=agent.poll_s,
        clock=clock,
        rng=rng,
        said=words.put,
    )
    courier = Courier(
        agent,
        boot=boot,
        bus=bus,
        spool=spool,
        intake=Intake(paths.handoff_socket, wake=wake),
        uplink=Uplink(spool, bus, site=agent.site, node=agent.node, window=agent.spool.window, rng=rng),
        downloads=downloads,
        clock=clock,
        wake=wake,
        said=lambda message: write_line(sink, message),
        troubles=(*troubles, *map(describe_aside, set_aside_before(paths.spool))),
    )
    commands: queue.Queue[ToCourier | None] = queue.Queue()
    threading.Thread(target=_listen, args=(source, commands), name="commands", daemon=True).start()
    threading.Thread(target=_fetch, args=(downloads, commands), name="downloads", daemon=True).start()
    bus.start()
    try:
        while courier.turn(commands, words):
            pass
    except BrokenPipeError:
        LOG.warning("supervisor: gone; the process ends")
    except StateError as error:
        _leave_word(bus, topic, will(boot, troubles=(str(error),)))
        raise
    courier.finish()
    return 0


def _say_cap(spool: Spool, wanted: SpoolTable) -> None:
    held, asked = spool.cap_bytes / 1e6, wanted.cap_bytes / 1e6
    if spool.cap_bytes < wanted.cap_bytes:
        LOG.warning("spool: up to %.0f MB, the disk has no more; spool.cap_bytes asks for %.0f MB", held, asked)
    else:
        LOG.info("spool: up to %.0f MB", held)


def _leave_word(bus: MqttBus, topic: str, state: NodeState) -> None:
    """Say why the node is gone, where the last will could not."""
    with suppress(LinkError):
        bus.publish(topic, codec.encode(state), retain=True)
    bus.stop()


def _fetch(downloads: Downloads, commands: "queue.Queue[ToCourier | None]") -> None:
    try:
        downloads.run()
    except Exception:  # noqa: BLE001  # whatever it is, it is said and the process ends
        # A courier that no longer fetches must not look like one with nothing to fetch: it is started again.
        LOG.exception("downloads: ended")
        commands.put(None)


def _listen(source: BinaryIO, commands: "queue.Queue[ToCourier | None]") -> None:
    try:
        for message in read_lines(source, ToCourier):  # type: ignore[arg-type, var-annotated]  # mypy knows no type of a union
            commands.put(message)
    except WireError as error:
        LOG.error("%s", error)
    commands.put(None)


if __name__ == "__main__":
    sys.exit(main())
