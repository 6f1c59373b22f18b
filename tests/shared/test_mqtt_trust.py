"""Who is who between a node and a real broker with TLS and passwords; every refusal is told in one line and tried again."""

import datetime as dt
import ipaddress
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from shared.bus import Connected, Disconnected, Event
from shared.errors import ConfigError
from shared.mqtt import MqttBus
from shared.transport import BrokerTable

PATIENCE_S = 30.0
FROM, UNTIL = dt.datetime(2020, 1, 1, tzinfo=dt.UTC), dt.datetime(2120, 1, 1, tzinfo=dt.UTC)
Key = ec.EllipticCurvePrivateKey


def name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def authority(directory: Path, words: str) -> tuple[x509.Certificate, Key, Path]:
    """Make a certificate authority and the file that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder(name(words), name(words), key.public_key(), x509.random_serial_number(), FROM, UNTIL)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = directory / f"{words}.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key, file


def certify(directory: Path, issuer: x509.Certificate, issuer_key: Key, host: str) -> tuple[Path, Path]:
    """Make a broker's certificate for one host, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    try:
        alternative: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        alternative = x509.DNSName(host)
    certificate = (
        x509.CertificateBuilder(issuer.subject, name(host), key.public_key(), x509.random_serial_number(), FROM, UNTIL)
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    paths = directory / f"{host}.crt", directory / f"{host}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths


def passwords(directory: Path, **users: str) -> Path:
    program = shutil.which("mosquitto_passwd")
    if program is None:
        pytest.skip("needs mosquitto_passwd")
    file = directory / "passwords"
    file.touch(mode=0o600)
    for user, word in users.items():
        subprocess.run([program, "-b", str(file), user, word], check=True, capture_output=True)
    return file


Serve = Callable[..., Path]


@pytest.fixture
def serve(mosquitto: Any, tmp_path: Path) -> Serve:
    """Start the broker with TLS for a host and with a user, and give the file that trusts it."""

    def begin(host: str = "127.0.0.1") -> Path:
        certificate, key, ca_file = authority(tmp_path, "plant")
        server, server_key = certify(tmp_path, certificate, key, host)
        users = passwords(tmp_path, press="let me in")
        mosquitto.access = (
            f"cafile {ca_file}",
            f"certfile {server}",
            f"keyfile {server_key}",
            "allow_anonymous false",
            f"password_file {users}",
        )
        mosquitto.stop()
        mosquitto.start()
        return ca_file

    return begin


def bus_of(mosquitto: Any, directory: Path, ca_file: Path | None, password: str = "let me in") -> MqttBus:  # noqa: S107  # of the test's own broker
    secret = directory / "press.password"
    secret.touch(mode=0o600)
    secret.write_text(f"{password}\n", encoding="utf-8")
    table = BrokerTable(
        port=mosquitto.port,
        username="press",
        password_file=secret.name,
        ca_file=None if ca_file is None else str(ca_file),
    )
    return MqttBus(table, client_id="press-01", base=directory)


def heard(bus: MqttBus, *, tries: int) -> list[Event]:
    """Gather what a bus says until it has tried so often, or is connected."""
    events: list[Event] = []
    bus.start()
    try:
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and bus._tries < tries:
            events += bus.events(timeout_s=0.1)
            if any(isinstance(event, Connected) for event in events):
                break
    finally:
        bus.stop()
    return events + bus.events(timeout_s=0.0)


def test_a_node_with_the_right_ca_and_password_gets_in(serve: Serve, mosquitto: Any, tmp_path: Path) -> None:
    ca_file = serve()

    assert heard(bus_of(mosquitto, tmp_path, ca_file), tries=3) == [Connected()]


def test_a_broker_of_another_ca_is_not_trusted(serve: Serve, mosquitto: Any, tmp_path: Path) -> None:
    serve()
    _, _, stranger = authority(tmp_path, "stranger")

    (said,) = heard(bus_of(mosquitto, tmp_path, stranger), tries=2)

    # Which words follow depends on whether the broker sends the stranger's own certificate along.
    assert isinstance(said, Disconnected)
    assert said.reason.startswith("its certificate is not accepted: ")


def test_a_broker_of_another_host_is_not_trusted(serve: Serve, mosquitto: Any, tmp_path: Path) -> None:
    ca_file = serve(host="broker.example")

    (said,) = heard(bus_of(mosquitto, tmp_path, ca_file), tries=2)

    assert isinstance(said, Disconnected)
    assert said.reason.startswith("its certificate is not accepted: IP address mismatch")
    assert "127.0.0.1" in said.reason


def test_a_wrong_password_is_told_in_one_line(serve: Serve, mosquitto: Any, tmp_path: Path) -> None:
    ca_file = serve()

    (said,) = heard(bus_of(mosquitto, tmp_path, ca_file, password="guess"), tries=2)  # noqa: S106  # the wrong one

    assert said == Disconnected("refuses: Not authorized")


def test_tls_on_one_side_only_is_told_in_one_line(serve: Serve, mosquitto: Any, tmp_path: Path) -> None:
    ca_file = serve()
    (plain,) = heard(bus_of(mosquitto, tmp_path, None), tries=2)
    mosquitto.access = ("allow_anonymous true",)
    mosquitto.stop()
    mosquitto.start()

    (tls,) = heard(bus_of(mosquitto, tmp_path, ca_file), tries=2)

    assert plain == Disconnected("closed the connection before it answered; is it MQTT, and with TLS or without?")
    assert isinstance(tls, Disconnected)
    assert tls.reason


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_ca_file_that_holds_no_certificate_is_refused_before_connecting(tmp_path: Path, content: str | None) -> None:
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"broker\.ca_file: .*ca\.pem: .*; it must hold the certificate that signed"):
        MqttBus(BrokerTable(ca_file=str(ca_file)), client_id="press-01")
