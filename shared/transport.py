"""How candidates travel: the broker, what waits on the node, and what the centre lets in."""

from typing import Annotated

from msgspec import Meta

from shared.kinds import Count, Host, Port, Table


class BrokerTable(Table, frozen=True):
    """The MQTT 5 broker; the password is read from a file so that it never stands in a configuration."""

    host: Host = "127.0.0.1"
    port: Port = 1883
    username: str | None = None
    password_file: str | None = None
    ca_file: str | None = None


def faults_of_broker(broker: BrokerTable) -> list[str]:
    """Say which settings of a broker cannot be, each behind its key."""
    if broker.password_file is not None and broker.username is None:
        return ["broker.password_file stands without a username; give both"]
    return []


class SpoolTable(Table, frozen=True):
    """Candidates not yet acknowledged."""

    cap_bytes: Annotated[int, Meta(ge=1_000_000)] = 2_000_000_000
    window: Annotated[int, Meta(ge=1, le=1000)] = 50


class IngestTable(Table, frozen=True):
    """What one node may bring before it is told to wait."""

    candidates_per_h: Count = 10_000
    bytes_per_h: Annotated[int, Meta(ge=1_000_000, le=10**15)] = 1_000_000_000
    #: How many hours' worth a node may save up: what it collected while the centre was away comes at once.
    saved_h: Annotated[float, Meta(ge=0.1, le=1000.0)] = 24.0
