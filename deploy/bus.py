"""deploy's place on the bus: a client that hears the fleet under a name of its own."""

from pathlib import Path

from deploy.fleet import fleet_filters
from shared.config import SiteConfig
from shared.identity import new_boot_id
from shared.mqtt import MqttBus


def open_bus(site_file: Path, site: SiteConfig) -> tuple[MqttBus, str]:
    """Make a bus that is not started yet; say where its broker is."""
    broker = site.broker
    bus = MqttBus(
        broker,
        client_id=f"winnow-deploy-{new_boot_id()}",
        filters=fleet_filters(site.site),
        base=site_file.parent,
    )
    return bus, f"{broker.host}:{broker.port}"
