"""What a node says of itself: birth, last will, heartbeat."""

from importlib import metadata

from edge_agent.courier.spool import SpoolCounts
from edge_agent.courier.uplink import Uplink
from edge_agent.handoff import Beat
from shared.messages import Heartbeat, NodeState


def version() -> str:
    """Name the installed version; empty when winnow runs from a bare folder."""
    try:
        return metadata.version("winnow")
    except metadata.PackageNotFoundError:
        return ""


def birth(boot: str, *, provider: str, troubles: tuple[str, ...] = ()) -> NodeState:
    """Say that this start of the node is online, and what a person should look at."""
    return NodeState(boot=boot, online=True, version=version(), provider=provider, troubles=troubles)


def will(boot: str, *, troubles: tuple[str, ...] = ()) -> NodeState:
    """Say that this start of the node is gone; a later start has another boot and is not meant."""
    return NodeState(boot=boot, online=False, version=version(), troubles=troubles)


def heartbeat(
    *, boot: str, wall: float, beat: Beat | None, spool: SpoolCounts, cap_bytes: int, uplink: Uplink
) -> Heartbeat:
    """Put the counters of both processes together."""
    return Heartbeat(
        boot=boot,
        at=wall,
        cameras=beat.cameras if beat else (),
        handoff_dropped=beat.handoff_dropped if beat else 0,
        inspecting=beat.inspecting if beat else False,
        spooled=spool.items,
        spooled_bytes=spool.bytes,
        evicted=spool.evicted,
        dead=spool.dead,
        sent=uplink.sent,
        sent_bytes=uplink.sent_bytes,
        acked=uplink.acked,
        deferred=uplink.deferred,
        spool_cap_bytes=cap_bytes,
    )
