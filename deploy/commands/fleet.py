"""`winnow fleet`: what every node of a site does."""

import threading
from collections.abc import Sequence
from typing import Annotated

import typer

from deploy.bus import open_bus
from deploy.commands.release import JsonOption, SiteFile, show_table
from deploy.fleet import Fleet, NodeView, connect, listen
from shared.clock import SystemClock
from shared.config import load_site
from shared.console import Console

app = typer.Typer(help="The nodes of a site.", no_args_is_help=True)

_CONNECT_S = 10.0
_SETTLE_S = 1.0


@app.callback()
def _fleet() -> None:
    """See what every node of a site does."""


@app.command("status")
def status(
    site_file: SiteFile,
    *,
    wait_s: Annotated[
        float, typer.Option("--wait-s", min=0.0, help="How long to wait for a heartbeat of every node online.")
    ] = 10.0,
    as_json: JsonOption = False,
) -> None:
    """List the nodes: online or not, what they run, what they have seen and sent."""
    site, _ = load_site(site_file)
    fleet, clock, stop = Fleet(), SystemClock(), threading.Event()
    bus, where = open_bus(site_file, site)
    heard = connect(bus, clock=clock, stop=stop, timeout_s=_CONNECT_S, where=where)
    console = Console(as_json=as_json)
    listen(fleet, bus, clock=clock, stop=stop, timeout_s=_SETTLE_S, enough=lambda _: False, heard=heard)
    everyone = listen(fleet, bus, clock=clock, stop=stop, timeout_s=wait_s, enough=_all_beat)
    bus.stop()
    if not everyone:
        silent = [name for name, view in fleet.nodes.items() if view.online and view.heartbeat is None]
        console.warn(f"no heartbeat within {wait_s:g} s from {', '.join(sorted(silent))}; their counters are missing")
    for name, view in sorted(fleet.nodes.items()):
        for trouble in view.troubles:
            console.warn(f"node {name}: {trouble}")
    if not fleet.nodes and not as_json:
        console.warn(f"site {site.site}: no node has ever spoken to broker {where}")
    rows = [row for name in sorted(fleet.nodes) for row in _rows(name, fleet.nodes[name])]
    columns = ("node", "online", "line", "release", "state", "rollout", "reason", *_COUNTERS)
    show_table(console, f"fleet of {site.site}", columns, rows, people=_for_people(columns, rows))


_ALWAYS = ("node", "online", "line", "release", "state", "frames")
#: Shown to people where a node has one: what is 0 everywhere only takes room from what is not.
_WHERE_ANY = ("bad", "missed", "patches", "sent", "spooled", "evicted", "dropped", "dead")
_COUNTERS = (
    *("inspecting", "frames", "bad", "missed", "patches", "sent", "acked", "spooled", "evicted", "dropped", "dead"),
    *("deferred", "spool_cap_bytes"),
)


def _all_beat(fleet: Fleet) -> bool:
    return all(view.heartbeat is not None for view in fleet.nodes.values() if view.online)


def _for_people(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> tuple[str, ...]:
    """Name the columns that a person is shown."""
    return (*_ALWAYS, *(name for name in _WHERE_ANY if any(row[columns.index(name)] for row in rows)))


def _rows(name: str, view: NodeView) -> list[tuple[object, ...]]:
    """One row per line of a node; the counters of its cameras are added up, those of the node repeat."""
    beat = view.heartbeat
    reports = () if view.reported is None else view.reported.lines
    rows: list[tuple[object, ...]] = []
    for report in reports or (None,):
        counters: tuple[object, ...] = (None,) * len(_COUNTERS)
        if beat is not None:
            cameras = [camera for camera in beat.cameras if report is None or camera.line == report.line]
            counters = (
                beat.inspecting,
                sum(camera.frames for camera in cameras),
                sum(camera.frames_bad for camera in cameras),
                sum(camera.frames_missed for camera in cameras),
                sum(camera.patches for camera in cameras),
                beat.sent,
                beat.acked,
                beat.spooled,
                beat.evicted,
                beat.handoff_dropped,
                beat.dead,
                beat.deferred,
                beat.spool_cap_bytes,
            )
        line = (
            (None,) * 5
            if report is None
            else (
                report.line,
                report.release,
                report.state,
                report.rollout,
                report.reason,
            )
        )
        rows.append((name, view.online, *line, *counters))
    return rows
