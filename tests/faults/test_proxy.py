"""The proxy does to a stream what its faults are called."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.faults.plant import wait_until
from tests.faults.proxy import Proxy


class Echo:
    """A server that says everything back."""

    def __init__(self) -> None:
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._say_back, args=(connection,), daemon=True).start()

    @staticmethod
    def _say_back(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(4096):
                    connection.sendall(data)
            except OSError:
                return

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()


@pytest.fixture
def link() -> Iterator[Proxy]:
    echo = Echo()
    with Proxy.opened(echo.port) as proxy:
        yield proxy
    echo.close()


@pytest.fixture
def client(link: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", link.port), timeout=60.0) as connection:
        yield connection


def said_back(client: socket.socket, words: bytes) -> bytes:
    """Say something and hear as much of it as comes back before the connection ends."""
    heard = b""
    with suppress(ConnectionResetError, BrokenPipeError):
        client.sendall(words)
        while len(heard) < len(words) and (data := client.recv(65536)):
            heard += data
    return heard


def test_a_good_link_changes_nothing(link: Proxy, client: socket.socket) -> None:
    words = bytes(range(256)) * 100

    assert said_back(client, words) == words
    wait_until(lambda: link.passed == 2 * len(words), "both directions are counted")


@pytest.mark.parametrize("fault", ["latency", "rate"])
def test_a_slow_link_brings_everything_in_order(link: Proxy, client: socket.socket, fault: str) -> None:
    words = bytes(range(256)) * 10
    link.harm(fault)

    assert said_back(client, words) == words
    assert link.bites[fault] >= 2


def test_a_cut_lets_exactly_so_much_through(link: Proxy, client: socket.socket) -> None:
    link.harm("cut", cut_after=700)

    assert len(said_back(client, bytes(3000))) <= 700
    assert (link.bites["cut"], link.broken, link.passed) == (1, 1, 700)


def test_a_reset_breaks_what_is_open_and_lets_the_next_through(link: Proxy, client: socket.socket) -> None:
    assert said_back(client, b"hello") == b"hello"
    link.harm("reset")

    wait_until(lambda: link.bites["reset"] == 1, "the connection is broken")
    with pytest.raises(OSError, match="reset"):
        client.recv(10)
    link.heal()
    with socket.create_connection(("127.0.0.1", link.port), timeout=60.0) as again:
        assert said_back(again, b"hello") == b"hello"


def test_a_link_that_is_down_turns_everybody_away(link: Proxy) -> None:
    link.harm("down")
    wait_until(lambda: link.bites["down"] == 1, "it is down")

    # The reset may come while the connection is still being made.
    with (
        suppress(ConnectionResetError),
        socket.create_connection(("127.0.0.1", link.port), timeout=60.0) as client,
    ):
        assert said_back(client, b"hello") == b""
    wait_until(lambda: link.bites["down"] == 2, "it turned the client away")


def test_what_a_black_hole_swallowed_does_not_come_back(link: Proxy, client: socket.socket) -> None:
    link.harm("black hole")
    client.sendall(b"hello")
    wait_until(lambda: link.bites["black hole"] == 1, "it is swallowed")

    link.heal()

    assert said_back(client, b"are you there?") == b""
    assert link.passed == 0
