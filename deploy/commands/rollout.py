"""`winnow rollout`: bring a release to the nodes of a line, and see how far it is."""

import threading
from typing import Annotated

import typer

from deploy.bus import open_bus
from deploy.commands.release import JsonOption, LineOption, SiteFile, chosen_lines, open_store, show_table, utc
from deploy.conductor import Conductor
from deploy.fleet import Fleet, connect, listen
from deploy.rollout import Progress, judge, nodes_meant
from shared.clock import SystemClock
from shared.console import Console
from shared.errors import LinkError
from shared.identity import check_name
from shared.release import Rollout

app = typer.Typer(help="Rollouts of releases to the nodes.", no_args_is_help=True)

_CONNECT_S = 10.0
_SETTLE_S = 1.0


@app.command("start")
def start(
    site_file: SiteFile,
    release: Annotated[str, typer.Argument(help="The release's name; an older one is a rollback.")],
    *,
    line: Annotated[str, typer.Option("--line", help="The line whose nodes are meant.")],
    node: Annotated[list[str] | None, typer.Option("--node", help="Only this node; may be given again.")] = None,
    wait: Annotated[bool, typer.Option(help="Watch until every node runs the release.")] = True,
    timeout_s: Annotated[float, typer.Option("--timeout-s", min=1.0, help="How long to watch.")] = 120.0,
    as_json: JsonOption = False,
) -> None:
    """Write the next rollout document of a line, wake its nodes and watch them take the release."""
    site, lines, store = open_store(site_file)
    chosen_lines(lines, line)
    nodes = tuple(check_name(name, what="--node") for name in node or ())
    console, clock, stop = Console(as_json=as_json), SystemClock(), threading.Event()
    bus, where = open_bus(site_file, site)
    conductor = Conductor(site=site.site, store=store, bus=bus, clock=clock, stop=stop, where=where)
    if not wait:
        _announce(conductor, line, release, nodes, console)
        return
    with console.progress(f"rollout of {release}", line=line, release=release) as step:

        def tell(_: Rollout, progress: Progress) -> None:
            step(len(progress.done), len(progress.standings))

        progress = conductor.conduct(line, release, nodes=nodes, timeout_s=timeout_s, tell=tell)
    console.event(
        "rolled_out",
        f"{release}: {len(progress.done)} of {len(progress.standings)} nodes run it ({', '.join(progress.done)})",
        line=line,
        release=release,
        nodes=list(progress.done),
    )


@app.command("status")
def status(site_file: SiteFile, *, line: LineOption = None, as_json: JsonOption = False) -> None:
    """Show each line's rollout document and where every node stands with it."""
    site, lines, store = open_store(site_file)
    documents = {name: store.rollout(name) for name in chosen_lines(lines, line)}
    fleet, clock, stop = Fleet(), SystemClock(), threading.Event()
    bus, where = open_bus(site_file, site)
    heard = connect(bus, clock=clock, stop=stop, timeout_s=_CONNECT_S, where=where)
    listen(fleet, bus, clock=clock, stop=stop, timeout_s=_SETTLE_S, enough=lambda _: False, heard=heard)
    bus.stop()
    rows: list[tuple[object, ...]] = []
    for name, document in documents.items():
        if document is None:
            rows.append((name, None, None, None, None, None, None, "no rollout yet"))
            continue
        meant = nodes_meant(document, fleet.of_line(name))
        progress = judge(document, meant, fleet.nodes)
        for node in meant:
            report = fleet.nodes[node].line(name) if node in fleet.nodes else None
            running = None if report is None else report.release
            standing = progress.standings[node].value
            reason = "" if report is None else report.reason
            rows.append(
                (name, document.rollout, document.release, utc(document.issued), node, running, standing, reason)
            )
        if not meant:
            rows.append((name, document.rollout, document.release, utc(document.issued), None, None, None, "no node"))
    columns = ("line", "rollout", "release", "issued", "node", "runs", "standing", "reason")
    people = ("line", "rollout", "release", "node", "runs", "standing", "reason")
    show_table(Console(as_json=as_json), "rollouts", columns, rows, people=people)


def _announce(conductor: Conductor, line: str, release: str, nodes: tuple[str, ...], console: Console) -> None:
    try:
        connect(
            conductor.bus,
            clock=conductor.clock,
            stop=conductor.stop,
            timeout_s=_CONNECT_S,
            where=conductor.where,
        )
    except LinkError as error:
        console.warn(f"{error}; the nodes find the document at their next poll")
    document, hinted = conductor.announce(line, release, nodes=nodes)
    conductor.bus.stop()
    console.event(
        "announced",
        f"rollout {document.rollout} of line {line}: asks for {release}",
        line=line,
        release=release,
        rollout=document.rollout,
        hinted=hinted,
    )
