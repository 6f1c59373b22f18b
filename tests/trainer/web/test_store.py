import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import ConfigError
from shared.fetcher import HttpFetcher
from shared.release import release_path, rollout_path
from trainer.web.server import HttpServer
from trainer.web.store import build_app, locate


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "public"
    release = root / release_path("strip", "strip-0001")
    release.parent.mkdir(parents=True)
    release.write_bytes(b'{"release": 1}')
    (release.parent / "task.onnx").write_bytes(bytes(range(256)) * 1000)
    (release.parent / ".task.onnx.part").write_bytes(b"half")
    (root / "rollouts").mkdir()
    (root / rollout_path("strip")).write_bytes(b'{"rollout": 1}')
    (root / "secret.txt").write_bytes(b"top level")
    (root / "notes").mkdir()
    (root / "notes" / "plain.txt").write_bytes(b"on no shelf")
    (tmp_path / "pool.db").write_bytes(b"crops")
    (root / "releases" / "out").symlink_to(tmp_path)
    (root / "releases" / "link.json").symlink_to(tmp_path / "pool.db")
    return root


class Site:
    def __init__(self, server: HttpServer) -> None:
        self.port = server.port
        self.well = True

    def ask(self, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


@pytest.fixture
def site(root: Path) -> Iterator[Site]:
    def health() -> tuple[bool, dict[str, object]]:
        return asked.well, {"site": "mill"}

    server = HttpServer(build_app(root, health), host="127.0.0.1", port=0)
    asked = Site(server)
    server.start()
    yield asked
    server.stop()


def test_nodes_fetch_what_the_store_holds(site: Site, root: Path) -> None:
    fetcher = HttpFetcher(f"http://127.0.0.1:{site.port}")

    manifest = fetcher.fetch(release_path("strip", "strip-0001"), limit=1 << 20)
    model = fetcher.fetch(release_path("strip", "strip-0001", "task.onnx"), limit=1 << 20)
    rollout = fetcher.fetch(rollout_path("strip"), limit=1 << 20)

    assert (manifest, rollout) == (b'{"release": 1}', b'{"rollout": 1}')
    assert model == (root / release_path("strip", "strip-0001", "task.onnx")).read_bytes()
    assert fetcher.fetch(release_path("strip", "strip-0002"), limit=1 << 20) is None


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/releases",
        "/releases/",
        "/releases/strip",
        "/releases/strip/strip-0001",
        "/releases/strip/strip-0001/",
        "/releases/strip/strip-0001/.task.onnx.part",
        "/secret.txt",
        "/notes/plain.txt",
        "/pool.db",
        "/../pool.db",
        "/releases/../../pool.db",
        "/releases/..%2f..%2fpool.db",
        "/releases/%2e%2e/secret.txt",
        "/releases/out/pool.db",
        "/releases/link.json",
        "/releases//strip/strip-0001/manifest.json",
        "/releases/strip/strip-0001/manifest.json%00",
        "/docs",
        "/openapi.json",
        "/" + "a" * 5000,
        "/releases/" + "a/" * 300,
    ],
)
def test_nothing_else_is_served_and_nothing_is_listed(site: Site, path: str) -> None:
    status, headers, body = site.ask(path)

    assert status == 404
    assert body == b'{"error":"no such file"}'
    assert headers["x-content-type-options"] == "nosniff"


def test_files_are_sent_as_what_they_are(site: Site) -> None:
    status, headers, _ = site.ask("/" + release_path("strip", "strip-0001", "task.onnx"))

    assert status == 200
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-length"] == "256000"
    assert site.ask("/" + rollout_path("strip"))[1]["cache-control"] == "no-store"


def test_the_store_is_read_only(site: Site, root: Path) -> None:
    path = rollout_path("strip")

    assert [site.ask("/" + path, method)[0] for method in ("PUT", "POST", "DELETE", "PATCH")] == [405] * 4
    assert (root / path).read_bytes() == b'{"rollout": 1}'
    assert site.ask("/" + path, "HEAD")[::2] == (200, b"")


def test_health_says_whether_candidates_get_in(site: Site) -> None:
    status, _, body = site.ask("/healthz")
    assert (status, json.loads(body)) == (200, {"ok": True, "site": "mill"})

    site.well = False
    status, _, body = site.ask("/healthz")
    assert (status, json.loads(body)) == (503, {"ok": False, "site": "mill"})


def test_an_address_in_use_is_refused_by_name(root: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(ConfigError, match=rf"http_port {port} on 127\.0\.0\.1: Address already in use"):
            HttpServer(build_app(root, lambda: (True, {})), host="127.0.0.1", port=port)


def test_an_address_of_another_machine_is_refused_by_name(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"192\.0\.2\.1"):
        HttpServer(build_app(root, lambda: (True, {})), host="192.0.2.1", port=0)


def test_a_stopped_server_gives_its_address_back(root: Path) -> None:
    first = HttpServer(build_app(root, lambda: (True, {})), host="127.0.0.1", port=0)
    first.start()
    first.stop()

    second = HttpServer(build_app(root, lambda: (True, {})), host="127.0.0.1", port=first.port)
    second.stop()

    assert not first.alive()


def test_a_path_is_located_without_a_server(root: Path) -> None:
    assert locate(root, "rollouts/strip.json") == root / "rollouts" / "strip.json"
    assert locate(root, "rollouts/strip.json\x00") is None
    assert locate(root, "rollouts/\udcff") is None
