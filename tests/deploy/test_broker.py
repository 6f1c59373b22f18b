"""The private broker, with the real mosquitto."""

from pathlib import Path

import pytest

from deploy.broker import PrivateBroker, broker_configuration, find_mosquitto, free_port
from shared.bus import Connected, Event, Received
from shared.clock import SystemClock
from shared.errors import ConfigError
from shared.mqtt import MqttBus
from shared.transport import BrokerTable


def _hear(bus: MqttBus, kind: type[Event]) -> Event:
    for _ in range(100):
        for event in bus.events(timeout_s=0.1):
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__}")


def test_messages_pass_and_the_packet_size_is_told(tmp_path: Path) -> None:
    broker = PrivateBroker(tmp_path, clock=SystemClock())
    broker.start()
    bus = MqttBus(BrokerTable(port=broker.port), client_id="a", filters=("winnow/v1/#",))
    try:
        bus.start()
        connected = _hear(bus, Connected)
        bus.publish("winnow/v1/x", b"hello")

        assert connected == Connected(1_000_000)
        assert _hear(bus, Received) == Received("winnow/v1/x", b"hello")
    finally:
        bus.stop()
        broker.stop()

    assert not broker.alive()


def test_a_broker_that_died_comes_back_on_its_port(tmp_path: Path) -> None:
    broker = PrivateBroker(tmp_path, clock=SystemClock())
    broker.start()
    port = broker.port
    assert broker._child is not None
    broker._child.kill()
    broker._child.wait()
    assert not broker.alive()

    broker.restart()

    assert (broker.port, broker.alive()) == (port, True)
    broker.stop()


def test_the_broker_listens_on_this_machine_alone_and_keeps_nothing() -> None:
    lines = broker_configuration(12345).splitlines()

    assert "listener 12345 127.0.0.1" in lines
    assert "persistence false" in lines
    assert sum(line.startswith("listener") for line in lines) == 1


def test_a_missing_broker_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.broker._PLACES", ())

    with pytest.raises(ConfigError, match="apt-get install mosquitto"):
        find_mosquitto(lambda _: None)


def test_free_ports_differ() -> None:
    assert len({free_port() for _ in range(5)}) > 1
