"""The yardstick: bare paho at a real broker, QoS 1, the same bytes, nothing kept and nothing checked.

The publisher stands in this process and gives its client's queue to the network as fast as the broker takes it; the
subscriber that counts what arrives stands in a process of its own.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

#: As many as ``shared.mqtt`` lets be on their way.
INFLIGHT: Final = 100
_PATIENCE_S: Final = 120.0


@contextmanager
def publisher(port: int) -> Iterator[paho.Client]:
    """Connect a client that publishes."""
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bare-publisher", protocol=paho.MQTTv5)
    client.max_inflight_messages_set(INFLIGHT)
    there = threading.Event()
    client.on_connect = lambda *_: there.set()
    client.connect("127.0.0.1", port)
    client.loop_start()
    if not there.wait(_PATIENCE_S):
        raise SystemExit("uplink: the broker takes no connection")
    try:
        yield client
    finally:
        client.disconnect()
        client.loop_stop()


def published_per_s(client: paho.Client, payloads: list[bytes]) -> float:
    """Publish to a topic that nobody hears, up to the broker's last acknowledgement."""
    done, left = threading.Event(), [len(payloads)]

    def acknowledged(*_: object) -> None:
        left[0] -= 1
        if not left[0]:
            done.set()

    client.on_publish = acknowledged
    start = time.perf_counter()
    for payload in payloads:
        client.publish("bare/unheard", payload, qos=1)
    if not done.wait(_PATIENCE_S):
        raise SystemExit("uplink: the broker did not acknowledge everything")
    return len(payloads) / (time.perf_counter() - start)


@contextmanager
def subscriber(port: int) -> Iterator[IO[str]]:
    """Start the process that counts, and give its words: one line for every round that has arrived."""
    command = [sys.executable, "-m", "benchmarks.uplink.bare", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        try:
            yield child.stdout
        finally:
            child.stdin.close()


def delivered_per_s(client: paho.Client, payloads: list[bytes], words: IO[str]) -> float:
    """Publish to the process that counts, until it has everything."""
    client.on_publish = None
    start = time.perf_counter()
    for payload in payloads:
        client.publish("bare/heard", payload, qos=1)
    client.publish("bare/heard", b"", qos=1)
    words.readline()
    return len(payloads) / (time.perf_counter() - start)


def _count(port: int) -> None:
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id="bare-subscriber", protocol=paho.MQTTv5)

    def connected(*_: object) -> None:
        client.subscribe("bare/heard", qos=1)

    def arrived(_client: object, _data: object, message: paho.MQTTMessage) -> None:
        if not message.payload:
            print("arrived", flush=True)

    client.on_connect = connected
    client.on_subscribe = lambda *_: print("ready", flush=True)
    client.on_message = arrived
    client.connect("127.0.0.1", port)
    client.loop_start()
    sys.stdin.read()
    client.disconnect()
    client.loop_stop()


if __name__ == "__main__":
    _count(int(sys.argv[1]))
