"""``winnow agent``: run one node, or look at what it would send."""

import itertools
import os
import signal
import stat
import threading
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from edge_agent.log import LOG, set_up_log
from edge_agent.paths import NodePaths
from shared.clock import SystemClock
from shared.config import AgentConfig, load_agent
from shared.console import Console
from shared.errors import StateError
from shared.fetcher import build_fetcher
from shared.secret import read_secret
from shared.sources import PluginSource, RtspSource

if TYPE_CHECKING:
    from edge_agent.inspection.cameras.camera import BadFrame, Frame
    from edge_agent.stream.filter import Verdict
    from shared.geometry import Image, Patch

app = typer.Typer(no_args_is_help=True, help="One node: its cameras, its stream filter and the releases it runs.")

AgentToml = Annotated[Path, typer.Argument(metavar="AGENT.toml", help="The node's configuration.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON lines to standard output.")]


@app.command()
def run(
    agent_toml: AgentToml,
    *,
    until_done: Annotated[
        bool, typer.Option("--until-done", help="End when every source has ended and the spool is drained.")
    ] = False,
    drain_s: Annotated[
        float, typer.Option("--drain-s", min=0.0, help="With --until-done: wait this long for the spool.")
    ] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Run the node until it is stopped.

    A node that is started through a pipe also ends when that pipe closes. With --until-done it ends with 1 when
    candidates stay in the spool.
    """
    from edge_agent.supervisor import Ending, Supervisor  # help answers without it

    agent, lines = load_agent(agent_toml)
    _check_files(agent, agent_toml.resolve().parent)
    set_up_log(node=agent.node, part="supervisor")
    stop = threading.Event()
    caught: list[int] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        caught.append(number)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    # A terminal that is closed; nohup asks not to hear of it.
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, on_signal)
    if not until_done:
        _stop_with_pipe(stop)
    supervisor = Supervisor(
        agent_toml.resolve(),
        agent,
        tuple(lines),
        ending=Ending(until_done=until_done, drain_s=drain_s),
        console=Console(as_json=as_json),
        clock=SystemClock(),
    )
    supervisor.run(stop)
    if signal.SIGINT in caught:
        raise typer.Exit(130)
    if until_done and not caught and not supervisor.is_drained:
        raise typer.Exit(1)


@app.command()
def replay(
    agent_toml: AgentToml,
    *,
    camera: Annotated[str, typer.Option("--camera", help="Which of the node's cameras.")],
    release: Annotated[
        Path | None, typer.Option("--release", help="A folder with a release; without one the node is cold.")
    ] = None,
    clip: Annotated[
        Path | None, typer.Option("--clip", exists=True, help="A folder of images or a video to look at instead.")
    ] = None,
    frames: Annotated[int | None, typer.Option("--frames", min=1, help="How many frames to judge.")] = None,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE.png", help="Write a picture of what would be sent.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Judge a camera's frames and say what would be sent and why; nothing is sent and nothing is moved.

    Ends with 1 when not one frame could be judged.
    """
    from edge_agent.inspection.cameras.build import find_camera  # help answers without it
    from edge_agent.inspection.contact_sheet import MOST_PATCHES
    from edge_agent.inspection.replay import replay as judge

    console = Console(as_json=as_json)
    agent, lines = load_agent(agent_toml)
    grid = lines[find_camera(agent, camera, agent_toml).line].grid
    reasons: Counter[str] = Counter()
    accepted: Counter[str] = Counter()
    seen = 0
    shown: list[tuple[Image, str]] = []
    judged = judge(agent_toml, camera, release=release, clip=clip, frames=frames)
    for number, group in itertools.groupby(judged, key=_frame_number):
        picks: list[dict[str, object]] = []
        patches = 0
        for entry in group:
            if not isinstance(entry, tuple):
                console.warn(f"frame {number}: {entry.reason}; skipped")
                continue
            frame, patch, verdict = entry
            patches += 1
            reasons[verdict.reason] += 1
            if verdict.accepted:
                accepted[verdict.reason] += 1
                pick = {"row": patch.row, "col": patch.col, "reason": verdict.reason, "score": verdict.score}
                picks.append({**pick, "gain": verdict.gain})
                if sheet is not None and len(shown) < MOST_PATCHES:
                    shown.append((grid.patch(frame.image, patch), verdict.reason))
        text = "\n".join(f"frame {number}: sends {_describe(pick)}" for pick in picks)
        seen += 1
        console.event("frame", text, frame=number, patches=patches, accepted=picks)
    console.table("verdicts", ("reason", "patches", "sent"), [(r, n, accepted[r]) for r, n in reasons.most_common()])
    sent, patches = accepted.total(), reasons.total()
    text = f"{seen} frames, {patches} patches: {sent} would be sent"
    console.event("summary", text, frames=seen, patches=patches, sent=sent)
    if sheet is not None:
        _write_sheet(sheet, shown, console)
    if not patches:
        raise typer.Exit(1)


@app.command("test-camera")
def look_through(
    agent_toml: AgentToml,
    camera: Annotated[str, typer.Argument(metavar="CAMERA", help="Which of the node's cameras.")],
    *,
    frames: Annotated[int, typer.Option("--frames", min=1, help="End after so many frames.")] = 20,
    within_s: Annotated[float, typer.Option("--within-s", min=0.1, max=600.0, help="End after so long.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Look through one camera: does it answer, how large are its frames, how many a second, and if not, why not.

    Ends with 1 when there was no frame. Nothing is judged, sent or moved.
    """
    from edge_agent.inspection.cameras.build import build_camera, find_camera, leaving_no_trace
    from edge_agent.inspection.cameras.probe import probe

    agent, lines = load_agent(agent_toml)
    table = leaving_no_trace(find_camera(agent, camera, agent_toml))
    line, clock = lines[table.line], SystemClock()
    kind = str(type(table.source).__struct_config__.tag)
    built = build_camera(table, line, node=agent.node, base=agent_toml.resolve().parent, clock=clock, until_done=True)
    found = probe(built, clock, frames=frames, within_s=within_s)
    size = found.size
    text = f"camera {camera} ({kind}): no frame: {found.reason}"
    if size is not None:
        rows, columns = line.grid.patch_shape(*size)
        rate = "" if found.frames_per_s is None else f", {found.frames_per_s:.3g} frames/s"
        ids = "".join(f", {name} {value}" for name, value in found.ids)
        text = f"camera {camera} ({kind}): {size[0]} x {size[1]} pixels, {rows} x {columns} patches{rate}{ids}"
    Console(as_json=as_json).event(
        "camera",
        text,
        camera=camera,
        type=kind,
        reachable=found.reachable,
        height=None if size is None else size[0],
        width=None if size is None else size[1],
        frames_per_s=found.frames_per_s,
        frames=found.frames,
        frames_bad=found.bad,
        ids=dict(found.ids),
        reason=found.reason,
    )
    if not found.reachable:
        raise typer.Exit(1)


def _write_sheet(path: Path, shown: "list[tuple[Image, str]]", console: Console) -> None:
    from edge_agent.inspection.contact_sheet import contact_sheet
    from shared.files import write_durably
    from shared.images import encode_image

    if not shown:
        console.warn(f"{path}: nothing would be sent; no picture is written")
        return
    write_durably(path, encode_image(contact_sheet(shown)))
    console.event("sheet", f"{path}: {len(shown)} patches, green novel, blue floor", file=str(path), patches=len(shown))


@app.command()
def mask(
    agent_toml: AgentToml,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="An image of the line.")],
    *,
    release: Annotated[Path, typer.Option("--release", help="A folder with a release.")],
    out: Annotated[Path, typer.Option("--out", help="Where the PNG goes; classes are its palette.")],
    line: Annotated[
        str | None, typer.Option("--line", help="Which of the node's lines; the only one by itself.")
    ] = None,
) -> None:
    """Say the class of every pixel of an image, through a release's mask graph."""
    from edge_agent.inspection.masking import mask_image  # help answers without it

    out.write_bytes(mask_image(agent_toml, image, line=line, release=release))
    Console().event("mask", f"{out}: the classes of {image}")


@app.command()
def doctor(agent_toml: AgentToml, *, as_json: AsJson = False) -> None:
    """Look at everything the node depends on and say what is wrong and what to do; exit 1 if anything is a fault.

    A running node may be examined.
    """
    from edge_agent.doctor.examination import examine  # help answers without it

    console = Console(as_json=as_json)
    found = []
    for finding in examine(agent_toml, clock=SystemClock()):
        console.event(
            "finding",
            str(finding),
            about=finding.name,
            state=finding.state,
            says=finding.text,
            advice=finding.advice,
        )
        found.append(finding.state)
    if "fault" in found:
        raise typer.Exit(1)


@app.command()
def dead(
    agent_toml: AgentToml,
    *,
    send_again: Annotated[
        bool, typer.Option("--send-again", help="Put them back among the candidates to send.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the candidates that the trainer or the broker will not have, and why; the node must not be running.

    The newest hundred are kept. After the cause is cured they can be sent again.
    """
    from edge_agent.courier.spool import Spool  # help answers without it

    agent, _ = load_agent(agent_toml)
    path = NodePaths.of(agent_toml, agent).spool
    if not path.exists():
        raise StateError(f'{path}: no spool is there yet; "winnow agent run" makes it')
    console = Console(as_json=as_json)
    spool = Spool.open(path, cap_bytes=agent.spool.cap_bytes)
    try:
        if spool.set_aside is not None:
            raise StateError(
                f"{path}: not readable, set aside as {spool.set_aside.name}; a new one is begun, look at the disk"
            )
        rows = [(entry.id, entry.line, _utc(entry.at), entry.bytes, entry.reason) for entry in spool.dead()]
        console.table(f"dead of {agent.node}", ("id", "line", "at", "bytes", "reason"), rows)
        if send_again:
            accepted = spool.revive()
            text = f"node {agent.node}: {accepted.new} candidates are sent again, {accepted.evicted} gave way"
            console.event("revived", text, node=agent.node, candidates=accepted.new, evicted=accepted.evicted)
    finally:
        spool.close()


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _frame_number(entry: "tuple[Frame, Patch, Verdict] | BadFrame") -> int:
    return entry[0].number if isinstance(entry, tuple) else entry.number


def _describe(pick: dict[str, object]) -> str:
    details = [f"{name} {pick[name]:.3g}" for name in ("score", "gain") if pick[name] is not None]
    return f"patch {pick['row']},{pick['col']} ({', '.join([str(pick['reason']), *details])})"


def _check_files(agent: AgentConfig, base: Path) -> None:
    """Refuse at the start what the courier would only stumble over later."""
    if agent.broker.password_file is not None:
        read_secret(base / agent.broker.password_file)
    for camera in agent.cameras:
        if isinstance(camera.source, RtspSource) and camera.source.password_file is not None:
            read_secret(base / camera.source.password_file)
        if isinstance(camera.source, PluginSource):
            from edge_agent.inspection.cameras.plugin import find_plugin, named  # few nodes have one

            find_plugin(camera.source.plugin, what=named(camera.name, camera.source))
    build_fetcher(agent.releases_url)
    if agent.broker.ca_file is not None:
        from shared.mqtt import trust  # the other commands need no broker

        trust(base / agent.broker.ca_file)


def _stop_with_pipe(stop: threading.Event) -> None:
    """End with the process that started this one through a pipe; a terminal or /dev/null says nothing."""
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def watch() -> None:
        while os.read(0, 4096):
            continue
        LOG.info("standard input ended; the node stops")
        stop.set()

    threading.Thread(target=watch, name="stdin", daemon=True).start()
