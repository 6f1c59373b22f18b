"""What a measurement of the node means: fine, worth knowing, or a fault with what to do about it. Pure."""

from dataclasses import dataclass
from typing import Final, Literal

from edge_agent.courier.room import Disk, room_bytes
from edge_agent.releases.trial import Outcome
from shared.codec import MAX_MESSAGE_BYTES
from shared.config import AgentConfig, LineConfig

State = Literal["ok", "note", "fault"]

#: What a node must be able to keep while nobody takes it: a day.
ENOUGH_HOURS: Final = 24.0
#: Times travel with candidates; people look for a part by the minute.
MOST_SKEW_S: Final = 30.0
#: Every group of candidates waits for one sync of the disk.
SLOW_SYNC_MS: Final = 200.0
#: Below this no crop of a useful size fits into a message.
LEAST_PACKET_BYTES: Final = 16_000
#: Besides the spool: two releases, and one on its way.
RESERVE_BYTES: Final = 1 << 30
#: Bytes a pixel and channel of steel takes in a crop (JPEG q95 0.31, PNG 0.57 in a measurement of one sensor's noise).
_BYTES_PER_VALUE: Final = {"jpeg": 0.31, "png": 0.57}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    name: str
    state: State
    text: str
    #: What to do; empty where nothing is to be done.
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.state:5} {self.name}: {self.text}" + (f"; {self.advice}" if self.advice else "")


def judge_packages(found: dict[str, str]) -> Finding:
    """Judge which runtimes are installed."""
    if not found:
        return Finding(
            "runtime", "fault", "onnxruntime is not installed", "install winnow[edge,cpu] or winnow[edge,gpu]"
        )
    text = ", ".join(f"{name} {version}" for name, version in found.items())
    if len(found) > 1:
        return Finding(
            "runtime", "fault", f"{text}: both overwrite each other's files", "uninstall both, then install one of them"
        )
    return Finding("runtime", "ok", text)


def judge_provider(asked: str, got: str, *, device: str, strict: bool) -> Finding:
    """Judge what a session runs on against what was asked for."""
    if asked in {"auto", got}:
        return Finding("provider", "ok", f"asked for {asked}, {got} runs on {device}")
    advice = "install winnow[gpu] and the driver, or set runtime.provider to " + (
        '"auto"' if strict else '"auto"; until then the node inspects more slowly'
    )
    return Finding("provider", "fault", f"asked for {asked}, {got} runs on {device}", advice)


def judge_trial(line: str, release: str, outcome: Outcome) -> Finding:
    """Judge the golden tiles of a release that passed them."""
    said = [
        f"{what} {apart:.1e} apart"
        for what, apart in (("scores", outcome.scores_apart), ("embeddings", outcome.embeddings_apart))
        if apart is not None
    ]
    timed = "" if outcome.tile_ms is None else f", {outcome.tile_ms:.0f} ms a tile"
    text = f"{release} answers its golden tiles on {outcome.provider} in {outcome.precision}, {', '.join(said)}{timed}"
    return Finding(f"trial {line}", "ok", text)


def judge_spool(agent: AgentConfig, lines: dict[str, LineConfig], *, held_bytes: int, disk: Disk) -> Finding:
    """Judge for how many hours the node can keep everything that its budget lets through."""
    room = min(agent.spool.cap_bytes, room_bytes(held_bytes, disk))
    rate = sum(_bytes_per_hour(lines[camera.line]) for camera in agent.cameras)
    hours = room / rate
    text = f"room for {hours:.0f} h without the trainer ({room / 1e6:.0f} MB at about {rate / 1e6:.1f} MB/h)"
    if hours >= ENOUGH_HOURS:
        return Finding("spool", "ok", text)
    small = room < agent.spool.cap_bytes
    advice = "free the disk" if small else "raise spool.cap_bytes or lower the budget"
    return Finding("spool", "fault", f"{text}, at least {ENOUGH_HOURS:.0f} h are wanted", advice)


def judge_disk(path: str, *, free_bytes: int, held_bytes: int, cap_bytes: int, sync_ms: float) -> Finding:
    """Judge whether the disk holds what the spool may take, and how long it takes to be sure of a write."""
    text = f"{path} has {free_bytes / 1e9:.1f} GB free, a sync takes {sync_ms:.1f} ms"
    needed = max(0, cap_bytes - held_bytes) + RESERVE_BYTES
    if free_bytes < needed:
        return Finding(
            "disk",
            "fault",
            f"{text}, spool and releases may take {needed / 1e9:.1f} GB more",
            "free the disk or lower spool.cap_bytes",
        )
    if sync_ms > SLOW_SYNC_MS:
        return Finding(
            "disk",
            "fault",
            f"{text}, at most {SLOW_SYNC_MS:.0f} ms are wanted",
            "look at the disk's health, or move the node's directory to another disk",
        )
    return Finding("disk", "ok", text)


def judge_clock(skew_s: float | None, *, against: str) -> Finding:
    """Judge the node's clock against another's; positive when the node is ahead."""
    if skew_s is None:
        return Finding("clock", "note", f"compared with nobody, {against} tells no time", "")
    ahead = f"{abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} {against}"
    if abs(skew_s) > MOST_SKEW_S:
        return Finding(
            "clock",
            "fault",
            f"{ahead}, at most {MOST_SKEW_S:.0f} s are wanted",
            "set up NTP (timedatectl set-ntp true)",
        )
    # The header counts whole seconds.
    return Finding("clock", "ok", f"as {against}" if abs(skew_s) < 2.0 else ahead)


def judge_broker(where: str, max_packet_bytes: int | None) -> Finding:
    """Judge what a broker that took us allows."""
    if max_packet_bytes is None or max_packet_bytes >= MAX_MESSAGE_BYTES:
        limit = "no limit of its own" if max_packet_bytes is None else f"packets up to {max_packet_bytes} bytes"
        return Finding("broker", "ok", f"{where} speaks MQTT 5, {limit}")
    text = f"{where} takes packets up to {max_packet_bytes} bytes, a candidate may have {MAX_MESSAGE_BYTES}"
    state: State = "fault" if max_packet_bytes < LEAST_PACKET_BYTES else "note"
    return Finding("broker", state, text, "raise max_packet_size in mosquitto.conf")


def judge_broker_away(where: str, reason: str) -> Finding:
    """Say why a broker did not take us, and what that asks for."""
    return Finding("broker", "fault", f"{where}: {reason}", _broker_advice(reason))


def _broker_advice(reason: str) -> str:
    low = reason.lower()
    if "protocol version" in low:
        return "the broker must speak MQTT 5: mosquitto 2"
    if "not authori" in low or "user name" in low or "password" in low:
        return "check broker.username, broker.password_file and the broker's access list"
    if "certificate" in low or "tls" in low:
        return "check broker.ca_file and broker.port"
    return "check broker.host and broker.port, and that the broker runs; candidates wait in the spool until then"


def _bytes_per_hour(line: LineConfig) -> float:
    """Say what one camera of a line may send, crops by their usual size."""
    values = line.grid.crop_px**2 * line.grid.channels
    crop = min(_BYTES_PER_VALUE[line.crop.format] * values, MAX_MESSAGE_BYTES)
    rate = line.budget.patches_per_hour * crop
    limit = line.budget.bytes_per_hour
    return rate if limit is None else min(rate, limit)
