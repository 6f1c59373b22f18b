"""The examination: one look at everything a node depends on. Nothing is changed but a file that is written and removed.

A running node may be examined: its databases are locked and left alone, and the broker is asked under another name.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Final

from edge_agent.courier.ballast import BALLAST_BYTES, BALLAST_NAME, Ballast
from edge_agent.courier.room import look_at
from edge_agent.doctor.findings import (
    Finding,
    judge_broker,
    judge_broker_away,
    judge_clock,
    judge_disk,
    judge_packages,
    judge_provider,
    judge_spool,
    judge_trial,
)
from edge_agent.inspection.cameras.plugin import load_plugin
from edge_agent.inspection.runtime import device_name, first_provider, versions
from edge_agent.paths import NodePaths
from edge_agent.releases.trial import run_trial
from shared.bus import Connected, Disconnected
from shared.clock import Clock
from shared.config import AgentConfig, LineConfig, load_agent
from shared.errors import ConfigError, InputError, LinkError, ReleaseError
from shared.fetcher import build_fetcher, server_time
from shared.files import read_bounded
from shared.identity import sha256_hex
from shared.mqtt import MqttBus
from shared.precision import Provider
from shared.release import MANIFEST_NAME, MAX_MANIFEST_BYTES, read_manifest, rollout_path
from shared.sources import PluginSource

#: How long the broker may take to answer.
_PATIENCE_S: Final = 5.0
#: How often the disk is synced.
_SYNCS: Final = 5


def examine(agent_toml: Path, *, clock: Clock) -> Iterator[Finding]:
    """Look at one thing after another; a configuration that cannot be read is raised."""
    agent, lines = load_agent(agent_toml)
    base, paths = agent_toml.resolve().parent, NodePaths.of(agent_toml, agent)
    packages = judge_packages(versions())
    yield packages
    if packages.state == "ok":
        yield from _releases(agent_toml, agent, lines, paths)
    yield from _plugins(agent)
    yield from _disk(agent, lines, paths, clock)
    yield _broker(agent, base)
    yield _store(agent, lines)
    yield _clock(agent, clock)


def _releases(
    agent_toml: Path, agent: AgentConfig, lines: dict[str, LineConfig], paths: NodePaths
) -> Iterator[Finding]:
    """Run the golden tiles of each line's newest release on the provider that the node would run."""
    ran: str | None = None
    for line in lines:
        directory = _newest(paths.releases / line)
        if directory is None:
            yield Finding(f"trial {line}", "note", "no release on this node yet; it collects and does not inspect")
            continue
        try:
            digest = sha256_hex(read_bounded(directory / MANIFEST_NAME, limit=MAX_MANIFEST_BYTES))
            outcome = run_trial(directory, sha256=digest, line=line, agent_toml=agent_toml, cached=False)
        except ReleaseError as error:
            advice = "roll out a newer release, or remove this one and start the node again: it fetches it anew"
            yield Finding(f"trial {line}", "fault", str(error), advice)
        except (ConfigError, InputError) as error:
            yield Finding(f"trial {line}", "fault", str(error))
        else:
            if outcome is not None:
                ran = outcome.provider
                yield judge_trial(line, directory.name, outcome)
    provider: Provider = "cuda" if ran == "cuda" or (ran is None and first_provider(agent.runtime) == "cuda") else "cpu"
    yield judge_provider(agent.runtime.provider, provider, device=device_name(provider), strict=agent.runtime.strict)


def _plugins(agent: AgentConfig) -> Iterator[Finding]:
    """Load the cameras that other packages bring; the others need nothing that is not there."""
    for camera in agent.cameras:
        if not isinstance(camera.source, PluginSource):
            continue
        try:
            load_plugin(camera.source.plugin, what=f'plugin "{camera.source.plugin}"')
        except ConfigError as error:
            yield Finding(f"camera {camera.name}", "fault", str(error))
        else:
            yield Finding(f"camera {camera.name}", "ok", f'plugin "{camera.source.plugin}" is installed')


def _newest(shelf: Path) -> Path | None:
    """Find the release with the highest number that lies on the node."""
    found = []
    for path in sorted(shelf.glob(f"*/{MANIFEST_NAME}")):
        try:
            manifest = read_manifest(read_bounded(path, limit=MAX_MANIFEST_BYTES), sha256=None, what=str(path))
        except (InputError, ReleaseError):
            found.append((-1, path.parent))
        else:
            found.append((manifest.number, path.parent))
    return max(found)[1] if found else None


def _disk(agent: AgentConfig, lines: dict[str, LineConfig], paths: NodePaths, clock: Clock) -> Iterator[Finding]:
    place = paths.root if paths.root.is_dir() else paths.root.parent
    try:
        disk = look_at(place / paths.spool.name)
        # A node that was never started has yet to take its ballast from what is free.
        due_bytes = Ballast(place / BALLAST_NAME, size_bytes=BALLAST_BYTES).due_bytes()
        sync_ms = _sync_ms(place, clock)
    except OSError as error:
        advice = "the node needs a directory that it may write to"
        yield Finding("disk", "fault", f"{place}: {error.strerror}", advice)
        return
    held, cap = _held_bytes(paths.spool), agent.spool.cap_bytes
    yield judge_disk(str(place), free_bytes=disk.free_bytes, held_bytes=held, cap_bytes=cap, sync_ms=sync_ms)
    yield judge_spool(agent, lines, held_bytes=held, disk=replace(disk, free_bytes=disk.free_bytes - due_bytes))


def _held_bytes(spool: Path) -> int:
    """Say what the spool and its journal take; a spool that was set aside is not the courier's to use again."""
    held = 0
    for suffix in ("", "-wal", "-shm"):
        # A running courier writes its journal back meanwhile.
        with suppress(FileNotFoundError):
            held += spool.with_name(spool.name + suffix).stat().st_size
    return held


def _sync_ms(place: Path, clock: Clock) -> float:
    """Measure how long a small write takes until the disk has it."""
    times = []
    with tempfile.TemporaryFile(dir=place) as file:
        for _ in range(_SYNCS):
            file.write(bytes(4096))
            file.flush()
            began = clock.monotonic()
            os.fsync(file.fileno())
            times.append(clock.monotonic() - began)
    return 1000 * median(times)


def _broker(agent: AgentConfig, base: Path) -> Finding:
    where = f"{agent.broker.host}:{agent.broker.port}"
    try:
        # Another name than the node's: a broker ends the older of two connections of one name.
        bus = MqttBus(agent.broker, client_id=f"winnow-{agent.site}-{agent.node}-doctor", base=base)
    except ConfigError as error:
        return Finding("broker", "fault", str(error))
    bus.start()
    try:
        events = bus.events(timeout_s=_PATIENCE_S, limit=1)
    finally:
        bus.stop()
    match events:
        case [Connected(limit)]:
            return judge_broker(where, limit)
        case [Disconnected(reason)]:
            return judge_broker_away(where, reason)
        case _:
            return judge_broker_away(where, f"no answer within {_PATIENCE_S:.0f} s")


def _store(agent: AgentConfig, lines: dict[str, LineConfig]) -> Finding:
    """Ask the store of releases for every line's rollout document."""
    there_is = (
        "the folder is mounted" if agent.releases_url.lower().startswith("file:") else "winnow trainer serve runs there"
    )
    advice = f"check releases_url, and that {there_is}; the node runs on with what it has"
    try:
        fetcher = build_fetcher(agent.releases_url)
        there = {line: fetcher.fetch(rollout_path(line), limit=MAX_MANIFEST_BYTES) is not None for line in lines}
    except ConfigError as error:
        return Finding("releases", "fault", str(error))
    except LinkError as error:
        return Finding("releases", "fault", str(error).removesuffix("; trying again later"), advice)
    without = [line for line, found in there.items() if not found]
    if without:
        return Finding("releases", "note", f"{agent.releases_url} answers, no rollout yet for {', '.join(without)}")
    return Finding("releases", "ok", f"{agent.releases_url} answers")


def _clock(agent: AgentConfig, clock: Clock) -> Finding:
    try:
        theirs = server_time(agent.releases_url)
    except LinkError as error:
        return Finding("clock", "note", f"compared with nobody: {str(error).removesuffix('; trying again later')}")
    return judge_clock(None if theirs is None else clock.now() - theirs, against=agent.releases_url)
