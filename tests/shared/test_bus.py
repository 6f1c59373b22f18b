import json
import threading
from pathlib import Path

import pytest

from shared.bus import Connected, Disconnected, Inbox, MemoryBroker, MemoryBus, Received, matches
from shared.errors import LinkError

#: Pattern, topic, whether MQTT 5 section 4.7 says it matches. test_mqtt.py asks a real broker the same table.
MATCHES = json.loads(Path(__file__).with_name("filters.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("pattern", "topic", "expected"), MATCHES)
def test_filters_match_as_mqtt_says(pattern: str, topic: str, expected: bool) -> None:  # a table's column
    assert matches(pattern, topic) is expected
    assert matches(f"$share/group/{pattern}", topic) is expected


def test_wildcards_do_not_hear_the_brokers_own_topics() -> None:
    assert not matches("#", "$SYS/broker/uptime")
    assert not matches("+/broker/uptime", "$SYS/broker/uptime")
    assert matches("$SYS/#", "$SYS/broker/uptime")


def test_a_full_inbox_drops_messages_and_counts_them() -> None:
    inbox = Inbox(2)

    for payload in (b"1", b"2", b"3", b"4"):
        inbox.put(Received("t", payload))

    assert [event.payload for event in inbox.take(timeout_s=0, limit=10)] == [b"1", b"2"]
    assert inbox.dropped == 2


def test_a_full_inbox_still_takes_a_change_of_connection() -> None:
    inbox = Inbox(2)
    inbox.put(Received("t", b"1"))
    inbox.put(Received("t", b"2"))

    inbox.put(Disconnected("gone"))

    assert inbox.take(timeout_s=0, limit=10) == [Received("t", b"2"), Disconnected("gone")]
    assert inbox.dropped == 1


def test_an_inbox_holds_no_more_bytes_than_it_may() -> None:
    inbox = Inbox(max_bytes=1000)

    for size in (400, 400, 300, 100):
        inbox.put(Received("t", bytes(size)))

    assert inbox.dropped == 1
    assert [len(event.payload) for event in inbox.take(timeout_s=0, limit=2) if isinstance(event, Received)] == [
        400,
        400,
    ]
    inbox.put(Received("t", bytes(900)))
    assert [len(event.payload) for event in inbox.take(timeout_s=0, limit=9) if isinstance(event, Received)] == [
        100,
        900,
    ]


def test_who_waits_for_more_than_the_bus_is_woken() -> None:
    wake = threading.Event()
    inbox = Inbox(wake=wake)
    assert not wake.is_set()

    inbox.put(Disconnected("gone"))

    assert wake.is_set()


def test_events_come_in_order_and_no_more_than_asked() -> None:
    inbox = Inbox()
    for number in range(5):
        inbox.put(Received("t", bytes([number])))

    assert len(inbox.take(timeout_s=0, limit=3)) == 3
    assert [event.payload for event in inbox.take(timeout_s=0, limit=3)] == [b"\x03", b"\x04"]
    assert inbox.take(timeout_s=0, limit=3) == []


def member(broker: MemoryBroker, *filters: str) -> MemoryBus:
    bus = MemoryBus(broker, filters=filters)
    bus.start()
    return bus


def drain(bus: MemoryBus) -> list[object]:
    return list(bus.events(timeout_s=0))


def test_a_member_hears_what_its_filters_name() -> None:
    broker = MemoryBroker()
    left, right = member(broker, "a/#"), member(broker, "b/#")

    left.publish("b/c", b"hello")

    assert drain(left) == [Connected(None)]
    assert drain(right) == [Connected(None), Received("b/c", b"hello")]


def test_a_late_member_hears_what_is_retained() -> None:
    broker = MemoryBroker()
    member(broker).publish("a/state", b"online", retain=True)

    assert drain(member(broker, "a/+")) == [Connected(None), Received("a/state", b"online")]


def test_an_empty_retained_message_takes_the_old_one_away() -> None:
    broker = MemoryBroker()
    bus = member(broker)
    bus.publish("a/state", b"online", retain=True)

    bus.publish("a/state", b"", retain=True)

    assert drain(member(broker, "a/+")) == [Connected(None)]


def test_a_shared_subscription_hears_nothing_retained() -> None:
    broker = MemoryBroker()
    member(broker).publish("a/state", b"online", retain=True)

    assert drain(member(broker, "$share/g/a/+")) == [Connected(None)]


def test_publishing_while_the_broker_is_away_raises_and_sends_nothing() -> None:
    broker = MemoryBroker()
    bus = member(broker, "a")
    broker.set_online(False)

    with pytest.raises(LinkError, match="stays with its sender"):
        bus.publish("a", b"1", retain=True)

    broker.set_online(True)
    assert [type(event) for event in drain(bus)] == [Connected, Disconnected, Connected]
    assert broker.sent == []


def test_a_member_that_left_hears_nothing() -> None:
    broker = MemoryBroker()
    bus, other = member(broker, "a"), member(broker)
    bus.stop()

    other.publish("a", b"1")

    assert drain(bus) == [Connected(None)]


def test_a_member_learns_the_brokers_packet_limit() -> None:
    bus = MemoryBus(MemoryBroker(), max_packet_bytes=9_000)
    bus.start()

    assert drain(bus) == [Connected(9_000)]
