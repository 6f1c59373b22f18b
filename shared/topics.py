"""Topics: ``winnow/v1/<site>/<who>/<what>[/<line>]``."""

from dataclasses import dataclass
from typing import Final

from shared.codec import MAX_MESSAGE_BYTES
from shared.errors import WireError
from shared.identity import is_name

ROOT = "winnow/v1"
#: What MQTT puts around a payload beside the topic, at most.
_PACKET_OVERHEAD_BYTES: Final = 16


def candidates(site: str, node: str, line: str) -> str:
    """Node to trainer."""
    return f"{ROOT}/{site}/{node}/cand/{line}"


def state(site: str, node: str) -> str:
    """Node to all, retained, with a last will."""
    return f"{ROOT}/{site}/{node}/state"


def heartbeat(site: str, node: str) -> str:
    """Node to all."""
    return f"{ROOT}/{site}/{node}/heartbeat"


def reported(site: str, node: str) -> str:
    """Node to all, retained."""
    return f"{ROOT}/{site}/{node}/reported"


def ack(site: str, node: str) -> str:
    """Trainer to node."""
    return f"{ROOT}/{site}/{node}/ack"


def hint(site: str) -> str:
    """Deploy to nodes."""
    return f"{ROOT}/{site}/_fleet/hint"


def worker_state(site: str, worker: str) -> str:
    """Trainer worker to all, retained, with a last will."""
    return f"{ROOT}/{site}/_trainer/{worker}/state"


def all_workers(site: str) -> str:
    """The filter that hears every trainer worker of a site."""
    return f"{ROOT}/{site}/_trainer/+/state"


def all_nodes(site: str, what: str) -> str:
    """The filter that hears one kind of message of every node of a site."""
    return f"{ROOT}/{site}/+/{what}"


def ingest(site: str) -> str:
    """The shared subscription of a site's ingest workers."""
    return f"$share/ingest/{ROOT}/{site}/+/cand/#"


def room(topic: str, max_packet_bytes: int | None) -> int:
    """How many bytes a message on a topic may have: what every reader takes, or less where the broker takes less."""
    if max_packet_bytes is None:
        return MAX_MESSAGE_BYTES
    return min(MAX_MESSAGE_BYTES, max_packet_bytes - len(topic.encode()) - _PACKET_OVERHEAD_BYTES)


@dataclass(frozen=True, slots=True)
class NodeTopic:
    """Who sent a message, by its topic: the only identity that counts."""

    site: str
    node: str
    what: str
    line: str | None


def parse(topic: str) -> NodeTopic:
    """Read a node's topic."""
    parts = topic.split("/")
    if len(parts) not in {5, 6} or parts[:2] != ROOT.split("/") or not all(is_name(part) for part in parts[2:]):
        raise WireError(f'topic "{topic[:120]}": expected {ROOT}/<site>/<node>/<what>[/<line>]; the message is refused')
    return NodeTopic(site=parts[2], node=parts[3], what=parts[4], line=parts[5] if len(parts) == 6 else None)
