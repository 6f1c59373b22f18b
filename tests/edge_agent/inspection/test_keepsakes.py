"""What a camera's filter remembers, across starts of its node."""

import threading
from pathlib import Path

import msgspec
import numpy as np
import pytest

from edge_agent.inspection.keepsakes import Keepsakes
from edge_agent.stream.filter import Keepsake
from shared.clock import ManualClock

ROWS = np.random.default_rng(0).normal(size=(5, 8)).astype(np.float32)
KEPT = Keepsake((1.0, 0.0, 2.5, 0.0), "a" * 64, ROWS)


def written(keepsakes: Keepsakes) -> None:
    """Let the writer write what waits, and end."""
    stop = threading.Event()
    stop.set()
    keepsakes.run(stop)


def kept(directory: Path, keepsake: Keepsake = KEPT, clock: ManualClock | None = None) -> Path:
    keepsakes = Keepsakes(directory, clock or ManualClock())
    keepsakes.put_down("top", "strip", keepsake)
    written(keepsakes)
    return directory / "top.bin"


def test_what_was_put_down_is_recalled_with_its_age(tmp_path: Path) -> None:
    clock = ManualClock()
    kept(tmp_path, clock=clock)
    clock.advance(90.0)

    recalled = Keepsakes(tmp_path, clock).recall("top", "strip")

    assert recalled is not None
    keepsake, elapsed_s = recalled
    assert (keepsake.tokens, keepsake.space, elapsed_s) == (KEPT.tokens, KEPT.space, 90.0)
    assert keepsake.rows is not None
    np.testing.assert_allclose(keepsake.rows, ROWS, atol=2e-3)


def test_the_newest_is_written_and_a_clock_that_went_back_adds_no_time(tmp_path: Path) -> None:
    clock = ManualClock(start=5000.0)
    keepsakes = Keepsakes(tmp_path, clock)
    for tokens in (1.0, 2.0, 3.0):
        keepsakes.put_down("top", "strip", Keepsake((tokens,), None, None))
    written(keepsakes)

    recalled = Keepsakes(tmp_path, ManualClock(start=10.0)).recall("top", "strip")

    assert recalled is not None
    assert (recalled[0].tokens, recalled[0].rows, recalled[1]) == ((3.0,), None, 0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["top.bin"]


def test_nothing_is_recalled_for_a_camera_that_is_new_or_moved_to_another_line(tmp_path: Path) -> None:
    kept(tmp_path)
    keepsakes = Keepsakes(tmp_path, ManualClock())

    assert keepsakes.recall("side", "strip") is None
    assert keepsakes.recall("top", "other") is None
    assert (tmp_path / "top.bin").exists()


def changed(path: Path, **fields: object) -> bytes:
    return msgspec.msgpack.encode({**msgspec.msgpack.decode(path.read_bytes()), **fields})


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.read_bytes()[:-7],
        lambda _: b"",
        lambda _: b"\xc1" * 100,
        lambda path: changed(path, schema=9),
        lambda path: changed(path, rows=["float16", [5, 9], b"short"]),
        lambda path: changed(path, rows=["int32", [1, 1], b"1234"]),
        lambda path: changed(path, rows=["float16", [1, 1], np.array([np.nan], np.float16).tobytes()]),
        lambda path: changed(path, tokens=[float("nan")]),
        lambda _: bytes(17 << 20),
    ],
)
def test_a_damaged_file_is_set_aside_and_the_camera_begins_with_nothing(tmp_path: Path, damage: object) -> None:
    path = kept(tmp_path)
    data = damage(path)
    path.write_bytes(data)

    assert Keepsakes(tmp_path, ManualClock(start=7.0)).recall("top", "strip") is None

    assert [(entry.name, entry.read_bytes()) for entry in tmp_path.iterdir()] == [("top.bin.corrupt-7", data)]


def test_a_disk_that_takes_nothing_is_said_once_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "memory").write_text("a file where the folder should be", encoding="utf-8")
    keepsakes = Keepsakes(tmp_path / "memory", ManualClock())

    with caplog.at_level("WARNING", logger="winnow"):
        for _ in range(3):
            keepsakes.put_down("top", "strip", KEPT)
            written(keepsakes)

    assert len(caplog.records) == 1


def test_a_file_that_cannot_even_be_looked_for_is_said_and_nothing_recalled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A disk that answers nothing but errors; a name that is too long is refused as it would refuse any."""
    assert Keepsakes(tmp_path / ("x" * 300), ManualClock()).recall("top", "strip") is None

    assert "camera top: " in caplog.text
    assert "File name too long" in caplog.text
    assert "not remembered" in caplog.text


def test_a_damaged_file_that_cannot_be_set_aside_is_said_and_nothing_recalled(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept(tmp_path).write_bytes(b"\xc1")
    (tmp_path / "top.bin.corrupt-5000").mkdir()

    assert Keepsakes(tmp_path, ManualClock(start=5000.0)).recall("top", "strip") is None

    assert "cannot be set aside: Is a directory" in caplog.text
    assert (tmp_path / "top.bin").read_bytes() == b"\xc1"
