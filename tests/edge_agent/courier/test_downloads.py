"""Downloads from a store that is away, incomplete or wrong."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec import Struct

from edge_agent.courier.downloads import FIRST_WAIT_S, MAX_BAD_TRIES, Downloads
from edge_agent.handoff import Fetch, Fetched, FetchFailed, RolloutSeen
from edge_agent.releases.activation import Held
from edge_agent.releases.shelf import check
from shared.clock import ManualClock
from shared.errors import LinkError
from shared.fetcher import FolderFetcher
from shared.release import Rollout

Build = Callable[..., Held]
Order = Callable[..., Rollout]


def chance(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311  # jitter is no secret


class Store(FolderFetcher):
    """A folder that can be away, and that remembers what it was asked for."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.away = False
        self.asked: list[str] = []

    def fetch(self, path: str, *, limit: int) -> bytes | None:
        self.asked.append(path.rsplit("/", 1)[-1])
        if self.away:
            raise LinkError(f"{path}: the store is away")
        return super().fetch(path, limit=limit)


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.store_root = root / "store"
        self.incoming = root / "incoming"
        self.incoming.mkdir()
        self.store = Store(self.store_root)
        self.clock = ManualClock()
        self.said: list[Struct] = []
        self.boot()

    def boot(self) -> None:
        self.downloads = Downloads(
            self.store,
            node="press-01",
            lines=("strip",),
            incoming=self.incoming,
            poll_s=60.0,
            clock=self.clock,
            rng=chance(3),
            said=self.said.append,
        )

    def pass_time(self, seconds: float) -> None:
        """Let time pass the way the thread does: step, wait as long as it says, step."""
        until = self.clock.monotonic() + seconds
        while (wait := self.downloads.step()) + self.clock.monotonic() <= until:
            self.clock.advance(wait + 0.001)
        self.clock.advance(until - self.clock.monotonic())

    def lies(self, held: Held) -> Path:
        return self.incoming / "strip" / held.release


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def want(held: Held) -> Fetch:
    return Fetch("strip", held.release, held.sha256)


def test_a_release_that_is_asked_for_again_is_named_once(
    tmp_path: Path, build_release: Build, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path)
    held = build_release(world.store_root, 1)
    file = world.store_root / "releases/strip" / held.release / "task.bin"
    file.write_bytes(b"x" + file.read_bytes()[1:])

    for away in (False, True):
        world.store.away = away
        world.downloads.want(Fetch("strip", held.release, held.sha256))
        world.downloads.step()

    told = [record.getMessage() for record in caplog.records if "asked again" in record.getMessage()]
    assert len(told) == 2
    assert [text.count(held.release) for text in told] == [1, 1]


def test_a_rollout_document_is_told_once(world: World, order: Order, build_release: Build) -> None:
    held = build_release(world.store_root, 1)
    first = order(world.store_root, held, 1)

    world.pass_time(300.0)
    assert world.said == [RolloutSeen(first)]
    second = order(world.store_root, held, 2)
    world.pass_time(70.0)

    assert world.said == [RolloutSeen(first), RolloutSeen(second)]


def test_a_hint_makes_it_look_at_once(world: World, order: Order, build_release: Build) -> None:
    world.downloads.step()
    rollout = order(world.store_root, build_release(world.store_root, 1), 1)
    world.downloads.step()
    assert world.said == []

    world.downloads.hint()
    world.downloads.step()

    assert world.said == [RolloutSeen(rollout)]


def test_a_rollout_for_other_nodes_is_not_told(world: World, order: Order, build_release: Build) -> None:
    held = build_release(world.store_root, 1)
    order(world.store_root, held, 1, nodes=("press-02",))
    world.pass_time(70.0)
    assert world.said == []

    mine = order(world.store_root, held, 2, nodes=("press-02", "press-01"))
    world.pass_time(70.0)

    assert world.said == [RolloutSeen(mine)]


@pytest.mark.parametrize("content", [b"", b"{", b'{"line": "strip"}', b"[" * 100_000])
def test_a_broken_rollout_document_is_ignored(world: World, order: Order, build_release: Build, content: bytes) -> None:
    path = world.store_root / "rollouts" / "strip.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    world.pass_time(70.0)
    assert world.said == []

    rollout = order(world.store_root, build_release(world.store_root, 1), 1)
    world.pass_time(70.0)

    assert world.said == [RolloutSeen(rollout)]


def test_a_release_comes_complete(world: World, build_release: Build) -> None:
    held = build_release(world.store_root, 1)

    world.downloads.want(want(held))
    world.downloads.step()

    assert world.said == [Fetched("strip", held.release, str(world.lies(held)))]
    assert check(world.lies(held), sha256=held.sha256, line="strip").release == held.release


def test_a_store_that_is_away_is_asked_again_and_less_often(world: World, build_release: Build) -> None:
    held = build_release(world.store_root, 1)
    world.store.away = True
    world.downloads.want(want(held))

    world.pass_time(600.0)
    asked = world.store.asked.count("manifest.json")
    world.store.away = False
    world.pass_time(200.0)

    assert 6 <= asked <= 14
    assert [type(message) for message in world.said] == [Fetched]


def test_a_release_that_is_not_there_yet_is_waited_for(world: World, build_release: Build, tmp_path: Path) -> None:
    held = build_release(tmp_path / "later", 1)
    world.downloads.want(want(held))
    world.pass_time(5.0)
    assert world.said == []

    world.store_root.mkdir(exist_ok=True)
    (tmp_path / "later" / "releases").rename(world.store_root / "releases")
    world.pass_time(60.0)

    assert [type(message) for message in world.said] == [Fetched]


@pytest.mark.parametrize("name", ["manifest.json", "task.bin"])
def test_a_flipped_byte_is_given_up_after_a_few_tries_and_never_written(
    world: World, build_release: Build, name: str
) -> None:
    held = build_release(world.store_root, 1)
    file = world.store_root / "releases" / "strip" / held.release / name
    data = bytearray(file.read_bytes())
    data[10] ^= 1
    file.write_bytes(data)

    world.downloads.want(want(held))
    world.pass_time(20 * FIRST_WAIT_S)

    (failed,) = world.said
    assert isinstance(failed, FetchFailed)
    assert f"{name}: sha256" in failed.reason
    assert world.store.asked.count(name) == MAX_BAD_TRIES
    assert not (world.lies(held) / name).exists()


def test_a_file_longer_than_the_manifest_says_is_not_taken(world: World, build_release: Build) -> None:
    held = build_release(world.store_root, 1)
    file = world.store_root / "releases" / "strip" / held.release / "task.bin"
    file.write_bytes(file.read_bytes() + b"x")

    world.downloads.want(want(held))
    world.downloads.step()

    assert world.said == []
    assert not (world.lies(held) / "task.bin").exists()


def test_the_manifest_of_another_release_is_refused(world: World, build_release: Build) -> None:
    one, two = build_release(world.store_root, 1), build_release(world.store_root, 2, bias=0.1)

    world.downloads.want(Fetch("strip", one.release, two.sha256))
    world.pass_time(20 * FIRST_WAIT_S)

    assert [type(message) for message in world.said] == [FetchFailed]


def test_a_download_goes_on_with_the_files_that_are_there(world: World, build_release: Build) -> None:
    held = build_release(world.store_root, 1)
    world.downloads.want(want(held))
    world.downloads.step()
    (world.lies(held) / "manifest.json").unlink()
    (world.lies(held) / "golden.bin").write_bytes(b"half")
    world.store.asked.clear()
    world.boot()

    world.downloads.want(want(held))
    world.downloads.step()

    assert world.store.asked == ["strip.json", "manifest.json", "golden.bin"]
    check(world.lies(held), sha256=held.sha256, line="strip")


def test_what_was_fetched_before_makes_way(world: World, build_release: Build) -> None:
    one, two = build_release(world.store_root, 1), build_release(world.store_root, 2, bias=0.1)
    for held in (one, two):
        world.downloads.want(want(held))
        world.downloads.step()

    assert [path.name for path in (world.incoming / "strip").iterdir()] == [two.release]


def test_the_newest_wish_of_a_line_counts(world: World, build_release: Build) -> None:
    one, two = build_release(world.store_root, 1), build_release(world.store_root, 2, bias=0.1)
    world.store.away = True
    world.downloads.want(want(one))
    world.downloads.step()
    world.store.away = False

    world.downloads.want(want(two))
    world.pass_time(100.0)

    assert [message.release for message in world.said if isinstance(message, Fetched)] == [two.release]
