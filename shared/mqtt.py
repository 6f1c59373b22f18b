"""MQTT 5: the one door to paho.

Callbacks only enqueue; they never work and never raise, because paho's network thread would die of it in
silence. Every connection is a client of its own: what paho still holds of the one before, and would send first
and for ever, goes with it, because whoever publishes keeps what it sends. Why there is no connection is said
once, and again when the reason is another one.
"""

import random
import ssl
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from shared.backoff import backoff_s
from shared.bus import Connected, Denied, Disconnected, Event, Inbox, Received, Will
from shared.clock import SystemClock
from shared.errors import ConfigError, LinkError
from shared.secret import read_secret
from shared.transport import BrokerTable

#: Reconnects wait from the first up to the most, doubling.
_FIRST_WAIT_S: Final = 1.0
_MOST_WAIT_S: Final = 60.0
#: What stands where a broker gives no reason.
_UNSPECIFIED: Final = 0x80
#: How long a broker has to say that it has the last word.
_GOODBYE_S: Final = 2.0
#: This many connections in a row that lasted no longer than this are no accident.
_SHORTS: Final = 3
_SHORT_S: Final = 5.0
#: What a subscriber may be sent at most: above the 120 kB that a message may have.
_MAX_INCOMING_BYTES: Final = 160_000
#: "Protocol error" is what mosquitto says for its message_size_limit, which it does not announce; then "Packet too large".
_COMPLAINTS: Final = frozenset({0x82, 0x95})


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
        wake: threading.Event | None = None,
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._filters = filters
        self._will = will
        self._inbox = Inbox(wake=wake)
        self._password = read_secret(base / broker.password_file) if broker.password_file else None
        self._tls = None if broker.ca_file is None else trust(base / broker.ca_file)
        self._online = False
        self._answered = False
        #: What was said last, so that it is not said again at every try.
        self._said: str | None = None
        self._gone = threading.Event()
        self._stopped = threading.Event()
        self._tries = 0
        self._clock = SystemClock()
        self._last_word: paho.MQTTMessageInfo | None = None
        #: When the connection was made, and how often it broke soon after.
        self._online_at = 0.0
        self._short = 0
        self._client = self._new_client()
        self._keeper = threading.Thread(target=self._keep, name="mqtt", daemon=True)

    @property
    def dropped(self) -> int:
        """How many messages found the inbox full."""
        return self._inbox.dropped

    def start(self) -> None:
        self._keeper.start()

    def stop(self) -> None:
        self._stopped.set()
        self._await_last_word()
        self._client.disconnect()
        self._gone.set()
        if self._keeper.ident is not None:
            self._keeper.join()

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
        self._last_word = answer

    def _await_last_word(self) -> None:
        """Wait a moment until the broker has what was published last.

        A socket that is closed with answers in it unread is reset, and the broker loses what it had not read: the goodbye
        as well, so that it would publish the will over the last word.
        """
        if self._online and self._last_word is not None:
            with suppress(RuntimeError, ValueError):
                self._last_word.wait_for_publish(_GOODBYE_S)

    def _keep(self) -> None:
        """Connect, and again whenever the connection is gone, until stopped."""
        rng = random.Random()  # noqa: S311  # jitter is no secret
        while not self._stopped.is_set():
            self._gone.clear()
            self._connect()
            if self._stopped.is_set():
                # stop() may have come between the check and the connection.
                self._client.disconnect()
            self._gone.wait()
            self._client.loop_stop()
            self._client = self._new_client()
            self._tries += 1
            self._clock.wait(self._stopped, backoff_s(self._tries, rng, first_s=_FIRST_WAIT_S, most_s=_MOST_WAIT_S))

    def _connect(self) -> None:
        self._answered = False
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
        properties.MaximumPacketSize = _MAX_INCOMING_BYTES
        try:
            self._client.connect(
                self._broker.host, self._broker.port, keepalive=20, clean_start=True, properties=properties
            )
        except (OSError, ValueError) as error:
            self._short = 0
            self._say_away(_reason(error))
            self._gone.set()
            return
        self._client.loop_start()

    def _new_client(self) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=paho.MQTTv5,
            reconnect_on_failure=False,
        )
        client.max_inflight_messages_set(100)
        if self._broker.username is not None:
            client.username_pw_set(self._broker.username, self._password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        if self._will is not None:
            client.will_set(self._will.topic, self._will.payload, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _on_connect(
        self, client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        self._answered = True
        if reason.is_failure:
            self._say_away(f"refuses: {reason}")
            return
        self._tries = 0
        self._online, self._online_at = True, self._clock.monotonic()
        self._said = None
        for pattern in self._filters:
            client.subscribe(pattern, qos=1)
        self._inbox.put(Connected(getattr(properties, "MaximumPacketSize", None)))

    def _on_disconnect(
        self, _client: paho.Client, _data: Any, _flags: Any, reason: ReasonCode, _properties: Any
    ) -> None:
        was_online, self._online = self._online, False
        if self._stopped.is_set():
            pass
        elif was_online:
            # A broker ends the older of two connections of one name without saying so.
            is_short = reason.value == _UNSPECIFIED and self._clock.monotonic() - self._online_at < _SHORT_S
            self._short = self._short + 1 if is_short else 0
            twin = f"; is there another client named {self._client_id}?" if self._short >= _SHORTS else ""
            self._say_away(f"{reason}{twin}", complains=reason.value in _COMPLAINTS)
        elif not self._answered:
            self._say_away("closed the connection before it answered; is it MQTT, and with TLS or without?")
        self._gone.set()

    def _on_subscribe(
        self, _client: paho.Client, _data: Any, _mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        for reason in reasons:
            self._mind_refusal("hear", reason)

    def _on_publish(self, _client: paho.Client, _data: Any, _mid: int, reason: ReasonCode, _properties: Any) -> None:
        self._mind_refusal("publish", reason)

    def _on_message(self, _client: paho.Client, _data: Any, message: paho.MQTTMessage) -> None:
        self._inbox.put(Received(message.topic, bytes(message.payload)))

    def _say_away(self, reason: str, *, complains: bool = False) -> None:
        if reason != self._said:
            self._said = reason
            self._inbox.put(Disconnected(reason, complains=complains))

    def _mind_refusal(self, what: str, reason: ReasonCode) -> None:
        if reason.is_failure and (text := f"may not {what} ({reason})") != self._said:
            self._said = text
            self._inbox.put(Denied(text))


class _Socket(ssl.SSLSocket):
    """A socket that is closed when the other side is not whom we trust; paho leaves it open."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT002  # the standard library's signature
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def trust(ca_file: Path) -> ssl.SSLContext:
    """Trust a broker whose certificate this file's signed, and no other."""
    try:
        context = ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        raise ConfigError(
            f"broker.ca_file: {ca_file}: {_reason(error)}; it must hold the certificate that signed the broker's"
        ) from None
    context.sslsocket_class = _Socket
    return context


def _reason(error: Exception) -> str:
    match error:
        case ssl.SSLCertVerificationError():
            return f"its certificate is not accepted: {error.verify_message}"
        case ssl.SSLError():
            return f"no TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
        case OSError():
            return error.strerror or str(error)
        case _:
            return str(error)
