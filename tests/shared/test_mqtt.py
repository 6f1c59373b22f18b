"""The same protocol against a real broker: what MemoryBus promises, MQTT keeps."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.bus import Connected, Denied, Disconnected, Event, Received, Will
from shared.errors import ConfigError, LinkError
from shared.mqtt import MqttBus
from shared.transport import BrokerTable

PATIENCE_S = 15.0


def until(bus: MqttBus, wanted: Callable[[Event], bool]) -> list[Event]:
    """Gather events up to the one that was wanted."""
    seen: list[Event] = []
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        seen += bus.events(timeout_s=0.2)
        if any(wanted(event) for event in seen):
            return seen
    pytest.fail(f"nothing of that kind within {PATIENCE_S} s, only {seen}")


def is_connected(event: Event) -> bool:
    return isinstance(event, Connected)


def received(events: list[Event]) -> list[tuple[str, bytes]]:
    return [(event.topic, event.payload) for event in events if isinstance(event, Received)]


@contextmanager
def connected(port: int, client_id: str, *filters: str, will: Will | None = None) -> Iterator[MqttBus]:
    bus = MqttBus(BrokerTable(port=port), client_id=client_id, filters=filters, will=will)
    bus.start()
    try:
        until(bus, is_connected)
        yield bus
    finally:
        bus.stop()


def settled(bus: MqttBus) -> None:
    """Return once the bus's subscriptions hold: MQTT keeps the order, so our own message comes after them."""
    bus.publish("settled", b"")
    until(bus, lambda event: isinstance(event, Received) and event.topic == "settled")


def test_a_second_client_of_the_same_name_is_guessed_at(mosquitto: Any) -> None:
    with connected(mosquitto.port, "twin") as first:
        # Each throws the other off, for ever.
        other = MqttBus(BrokerTable(port=mosquitto.port), client_id="twin")
        other.start()
        try:
            seen = until(first, lambda event: isinstance(event, Disconnected) and "is there another" in event.reason)
        finally:
            other.stop()

    reasons = [event.reason for event in seen if isinstance(event, Disconnected)]
    assert reasons[-1].endswith("; is there another client named twin?")
    assert not any("is there another" in reason for reason in reasons[:-1])
    assert len(reasons) >= 3


def test_a_message_reaches_who_asked_for_it_and_nobody_else(mosquitto: Any) -> None:
    with (
        connected(mosquitto.port, "sender") as sender,
        connected(mosquitto.port, "ear", "a/+", "settled") as ear,
    ):
        settled(ear)

        sender.publish("b/x", b"not for you")
        sender.publish("a/x", b"for you")

        events = until(ear, lambda event: isinstance(event, Received))
        assert received(events) == [("a/x", b"for you")]


def test_filters_match_as_a_real_broker_matches(mosquitto: Any) -> None:
    table = json.loads(Path(__file__).with_name("filters.json").read_text(encoding="utf-8"))
    patterns = sorted({pattern for pattern, _, _ in table})
    heard: set[tuple[str, str]] = set()

    with ExitStack() as stack:
        sender = stack.enter_context(connected(mosquitto.port, "sender"))
        ears = {
            pattern: stack.enter_context(connected(mosquitto.port, f"ear-{number}", pattern, "settled"))
            for number, pattern in enumerate(patterns)
        }
        for ear in ears.values():
            settled(ear)
        for topic in sorted({topic for _, topic, _ in table}):
            sender.publish(topic, b"x")
        sender.publish("settled", b"end")
        for pattern, ear in ears.items():
            events = until(ear, lambda event: isinstance(event, Received) and event.payload == b"end")
            heard |= {(pattern, topic) for topic, payload in received(events) if payload == b"x"}

    assert [(pattern, topic) in heard for pattern, topic, _ in table] == [row[2] for row in table]


def test_the_will_of_a_node_that_dies_is_retained(mosquitto: Any) -> None:
    will = Will("node/state", b"offline")
    with (
        connected(mosquitto.port, "watch", "node/state", "settled") as watch,
        connected(mosquitto.port, "dying", will=will) as dying,
    ):
        settled(watch)

        # A process that dies says no goodbye: the connection ends under the client.
        dying._client.socket().shutdown(socket.SHUT_RDWR)

        events = until(watch, lambda event: isinstance(event, Received))
        assert received(events) == [("node/state", b"offline")]
    with connected(mosquitto.port, "late", "node/state") as late:
        assert received(until(late, lambda event: isinstance(event, Received))) == [("node/state", b"offline")]


def test_a_clean_goodbye_leaves_the_last_word_and_no_will(mosquitto: Any) -> None:
    with connected(mosquitto.port, "node", will=Will("node/state", b"died")) as node:
        node.publish("node/state", b"going home", retain=True)

    with connected(mosquitto.port, "late", "node/state") as late:
        assert received(until(late, lambda event: isinstance(event, Received))) == [("node/state", b"going home")]


def test_the_bus_comes_back_with_its_subscriptions_after_the_broker_restarts(mosquitto: Any) -> None:
    with connected(mosquitto.port, "ear", "a/+", "settled") as ear:
        mosquitto.stop()
        until(ear, lambda event: isinstance(event, Disconnected))

        mosquitto.start()

        until(ear, is_connected)
        settled(ear)
        ear.publish("a/x", b"after")
        assert ("a/x", b"after") in received(until(ear, lambda event: isinstance(event, Received)))


def test_publishing_while_the_broker_is_away_is_refused_and_not_sent_later(mosquitto: Any) -> None:
    with connected(mosquitto.port, "node", "a/+", "settled") as node:
        mosquitto.stop()
        until(node, lambda event: isinstance(event, Disconnected))

        with pytest.raises(LinkError, match="away; the message stays with its sender"):
            node.publish("a/x", b"lost")

        mosquitto.start()
        until(node, is_connected)
        node.publish("settled", b"")
        events = until(node, lambda event: isinstance(event, Received) and event.topic == "settled")
        assert received(events) == [("settled", b"")]


def test_a_broker_that_is_not_there_yet_is_found_when_it_comes(mosquitto: Any) -> None:
    mosquitto.stop()
    bus = MqttBus(BrokerTable(port=mosquitto.port), client_id="early")
    bus.start()
    try:
        with pytest.raises(LinkError, match="away"):
            bus.publish("a", b"1")
        assert until(bus, lambda event: isinstance(event, Disconnected)) == [Disconnected("Connection refused")]

        mosquitto.start()

        assert all(isinstance(event, Connected) for event in until(bus, is_connected))
        bus.publish("a", b"1")
    finally:
        bus.stop()


def test_what_was_on_its_way_when_the_broker_went_is_not_sent_again_by_the_client(mosquitto: Any) -> None:
    """Whoever publishes keeps what it sends: a client that sends again by itself would send poison for ever."""
    mosquitto.access = ("allow_anonymous true", "message_size_limit 1000")
    mosquitto.stop()
    mosquitto.start()
    with connected(mosquitto.port, "node", "a/+") as node:
        node.publish("a/poison", bytes(5000))
        (gone,) = until(node, lambda event: isinstance(event, Disconnected))
        assert gone == Disconnected("Protocol error", complains=True)

        until(node, is_connected)
        node.publish("a/good", b"good")

        assert until(node, lambda event: isinstance(event, Received)) == [Received("a/good", b"good")]


def test_the_brokers_packet_size_is_told_with_the_connection(mosquitto: Any) -> None:
    mosquitto.access = ("allow_anonymous true", "max_packet_size 2000")
    mosquitto.stop()
    mosquitto.start()
    bus = MqttBus(BrokerTable(port=mosquitto.port), client_id="node")
    bus.start()

    assert until(bus, is_connected) == [Connected(max_packet_bytes=2000)]
    bus.stop()


def test_what_the_brokers_rules_forbid_is_told_once(mosquitto: Any, tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite open/#\n", encoding="utf-8")
    rules.chmod(0o600)
    mosquitto.access = ("allow_anonymous true", f"acl_file {rules}")
    mosquitto.stop()
    mosquitto.start()
    with connected(mosquitto.port, "node", "open/+") as node:
        for _ in range(3):
            node.publish("closed/x", b"1")
        node.publish("open/x", b"2")

        events = until(node, lambda event: isinstance(event, Received))

        assert events == [Denied("may not publish (Not authorized)"), Received("open/x", b"2")]


def test_a_password_file_others_can_read_is_refused_before_connecting(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    secret.chmod(0o644)

    with pytest.raises(ConfigError, match="chmod 600"):
        MqttBus(BrokerTable(username="node", password_file="password"), client_id="n", base=tmp_path)  # noqa: S106  # a file name
