import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from shared.errors import ConfigError, LinkError
from shared.fetcher import FolderFetcher, HttpFetcher, build_fetcher, server_time

Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def store(answer: Answer) -> Iterator[str]:
    """Serve one answer to every request on a port of loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, name="store")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def content(data: bytes, *, promised: int | None = None, status: int = 200) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        if promised is not None:
            request.send_header("Content-Length", str(promised))
        request.end_headers()
        request.wfile.write(data)

    return answer


def test_a_file_comes_as_it_lies_in_the_store() -> None:
    asked = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        content(b"model", promised=5)(request)

    with store(answer) as url:
        assert HttpFetcher(url + "/").fetch("releases/strip/x.onnx", limit=5) == b"model"

    assert asked == ["/releases/strip/x.onnx"]


@pytest.mark.parametrize("status", [404, 410])
def test_a_file_that_is_not_there_is_none(status: int) -> None:
    with store(content(b"", promised=0, status=status)) as url:
        assert HttpFetcher(url).fetch("x", limit=5) is None


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_store_that_cannot_answer_is_asked_again_later(status: int) -> None:
    with store(content(b"", promised=0, status=status)) as url, pytest.raises(LinkError, match=f"answers {status}"):
        HttpFetcher(url).fetch("x", limit=5)


def test_more_than_the_limit_is_not_taken() -> None:
    with store(content(b"123456", promised=6)) as url, pytest.raises(LinkError, match="more than 5 bytes"):
        HttpFetcher(url).fetch("x", limit=5)


def test_an_endless_answer_is_cut_at_the_limit() -> None:
    sent = 0

    def endless(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.send_response(200)
        request.end_headers()
        try:
            while sent < 50_000_000:
                sent += request.wfile.write(b"x" * 10_000)
        except OSError:
            pass

    with store(endless) as url, pytest.raises(LinkError, match="more than 1000 bytes"):
        HttpFetcher(url).fetch("x", limit=1000)
    assert sent < 50_000_000


def test_an_answer_that_breaks_off_is_asked_again_later() -> None:
    with store(content(b"123", promised=5)) as url, pytest.raises(LinkError, match="trying again later"):
        HttpFetcher(url).fetch("x", limit=5)


def test_a_store_that_is_not_there_is_asked_again_later() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(LinkError, match=f"127.0.0.1:{port}/x: .*trying again later"):
        HttpFetcher(f"http://127.0.0.1:{port}").fetch("x", limit=5)


def test_a_store_that_does_not_speak_http_is_asked_again_later() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def babble() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"\x00\x01garbage\r\n\r\n")

        thread = threading.Thread(target=babble, name="babble")
        thread.start()
        with pytest.raises(LinkError, match="trying again later"):
            HttpFetcher(f"http://127.0.0.1:{server.getsockname()[1]}").fetch("x", limit=5)
        thread.join()


def test_a_mounted_store_brings_files_within_the_same_bounds(tmp_path: Path) -> None:
    (tmp_path / "rollouts").mkdir()
    (tmp_path / "rollouts" / "strip.json").write_bytes(b"12345")
    fetcher = build_fetcher((tmp_path).as_uri())

    assert isinstance(fetcher, FolderFetcher)
    assert fetcher.fetch("rollouts/strip.json", limit=5) == b"12345"
    assert fetcher.fetch("rollouts/other.json", limit=5) is None
    assert fetcher.fetch("rollouts", limit=5) is None
    with pytest.raises(LinkError, match="more than 4 bytes"):
        fetcher.fetch("rollouts/strip.json", limit=4)


def test_a_store_whose_folder_is_not_there_is_away_and_not_empty(tmp_path: Path) -> None:
    fetcher = build_fetcher((tmp_path / "unmounted").as_uri())

    with pytest.raises(LinkError, match=f"{tmp_path}/unmounted: no folder is there; trying again later"):
        fetcher.fetch("rollouts/strip.json", limit=5)


@pytest.mark.parametrize("host", ["...", "a" * 70])
def test_a_host_that_no_name_can_be_is_away_and_not_a_fault_of_ours(host: str) -> None:
    with pytest.raises(LinkError, match=r"label.* too long.*; trying again later"):
        HttpFetcher(f"http://{host}").fetch("x", limit=5)
    with pytest.raises(LinkError, match="too long"):
        server_time(f"http://{host}")


def test_a_folder_with_spaces_in_its_name_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "usb stick ü"
    folder.mkdir()
    (folder / "x").write_bytes(b"1")

    assert build_fetcher(folder.as_uri()).fetch("x", limit=5) == b"1"


@pytest.mark.parametrize("url", ["ftp://host/x", "releases", "", "http://[::1", "javascript:1"])
def test_an_address_that_is_no_store_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="expected http://, https:// or file://"):
        build_fetcher(url)


def test_a_server_s_clock_is_read_whatever_it_answers() -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_response_only(404)
            self.send_header("Date", "Sun, 06 Nov 1994 08:49:37 GMT")
            self.end_headers()

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        found = server_time(f"http://127.0.0.1:{server.server_port}")
        thread.join()

    # RFC 9110's own example.
    assert found == 784111777.0


def test_a_folder_has_no_clock_and_a_server_that_is_away_is_named(tmp_path: Path) -> None:
    assert server_time(tmp_path.as_uri()) is None
    with pytest.raises(LinkError, match=r"127\.0\.0\.1:1"):
        server_time("http://127.0.0.1:1")
