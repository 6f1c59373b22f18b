"""MQTT 5: the one door to paho.

Callbacks only enqueue; they never work and never raise, because paho's network thread would die of it in
silence. Nothing is queued inside paho while the broker is away: whoever publishes keeps what it sends.
"""

from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from shared.bus import Connected, Disconnected, Event, Inbox, Received, Will
from shared.config import BrokerTable, read_secret
from shared.errors import LinkError

#: Reconnects wait from one second up to this, doubling.
_MAX_BACKOFF_S = 60
#: What a subscriber may be sent at most: above the 120 kB that a message may have, and an inbox full of them fits.
_MAX_INCOMING_BYTES = 160_000


class MqttBus:
    """A broker connection that comes back by itself; subscriptions are made anew at each connect."""

    def __init__(
        self,
        broker: BrokerTable,
        *,
        client_id: str,
        filters: tuple[str, ...] = (),
        will: Will | None = None,
        base: Path = Path(),
    ) -> None:
        self._broker = broker
        self._filters = filters
        self._inbox = Inbox()
        self._online = False
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=paho.MQTTv5)
        self._client.reconnect_delay_set(1, _MAX_BACKOFF_S)
        self._client.max_inflight_messages_set(100)
        if broker.username is not None:
            password = read_secret(base / broker.password_file) if broker.password_file else None
            self._client.username_pw_set(broker.username, password)
        if broker.ca_file is not None:
            self._client.tls_set(ca_certs=str(base / broker.ca_file))
        if will is not None:
            self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_message = self._on_message

    @property
    def dropped(self) -> int:
        """How many messages found the inbox full."""
        return self._inbox.dropped

    def start(self) -> None:
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
        properties.MaximumPacketSize = _MAX_INCOMING_BYTES
        self._client.connect_async(
            self._broker.host, self._broker.port, keepalive=20, clean_start=True, properties=properties
        )
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def events(self, *, timeout_s: float, limit: int = 256) -> list[Event]:
        return self._inbox.take(timeout_s=timeout_s, limit=limit)

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        # paho would keep an offline message in memory and call it queued: refuse instead.
        if not self._online:
            raise LinkError(f"broker {self._broker.host}:{self._broker.port}: away; the message stays with its sender")
        answer = self._client.publish(topic, payload, qos=1, retain=retain)
        if answer.rc not in {paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_NO_CONN}:
            raise LinkError(
                f"broker {self._broker.host}:{self._broker.port}: {paho.error_string(answer.rc)}; the message stays with its sender"
            )

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._inbox.put(Disconnected(str(reason)))
            return
        self._online = True
        for pattern in self._filters:
            client.subscribe(pattern, qos=1)
        self._inbox.put(Connected(getattr(properties, "MaximumPacketSize", None)))

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        self._online = False
        self._inbox.put(Disconnected(str(reason)))

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._inbox.put(Received(message.topic, bytes(message.payload)))
