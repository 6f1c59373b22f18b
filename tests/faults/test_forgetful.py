"""The forgetful disk forgets what it should and nothing else."""

import pytest

from tests.faults.forgetful import SECTOR, WEATHERS, Disk, File, Folder, PowerCutError, Weather


def disk_with(name: str, *, weather: Weather, seed: int = 0) -> tuple[Disk, File]:
    disk = Disk()
    disk.arm(changes=10**9, weather=weather, seed=seed)
    made = File()
    disk.root.seen[name] = made
    disk.named(disk.root)
    return disk, made


def after_the_cut(disk: Disk) -> dict[str, bytes]:
    disk.cut()
    disk.restore()
    return {name: bytes(entry.seen) for name, entry in disk.root.seen.items() if isinstance(entry, File)}


@pytest.mark.parametrize("weather", WEATHERS)
def test_what_was_synced_stays_in_any_weather(weather: Weather) -> None:
    disk, made = disk_with("a", weather=weather)
    made.write(0, b"x" * 3000)
    made.truncate(2000)
    made.write(5000, b"y")
    made.sync()
    disk.root.sync()

    assert after_the_cut(disk) == {"a": b"x" * 2000 + bytes(3000) + b"y"}


def test_what_was_not_synced_is_gone() -> None:
    disk, made = disk_with("a", weather="drop")
    made.write(0, b"old")
    made.sync()
    made.write(0, b"new and longer")

    assert after_the_cut(disk) == {"a": b"old"}


def test_a_torn_write_keeps_some_sectors_whole_and_loses_others() -> None:
    disk, made = disk_with("a", weather="torn", seed=3)
    made.write(0, b"o" * 100 * SECTOR)
    made.sync()
    made.write(0, b"n" * 100 * SECTOR)

    found = after_the_cut(disk)["a"]

    sectors = [found[at : at + SECTOR] for at in range(0, len(found), SECTOR)]
    assert len(sectors) == 100
    assert set(sectors) == {b"o" * SECTOR, b"n" * SECTOR}
    assert 30 < sectors.count(b"n" * SECTOR) < 70


@pytest.mark.parametrize(("weather", "is_there"), [("drop", True), ("strict", False)])
def test_a_name_lasts_from_the_sync_of_its_folder_on(weather: Weather, is_there: bool) -> None:
    disk, made = disk_with("a", weather=weather)
    made.write(0, b"x")
    made.sync()

    assert after_the_cut(disk) == ({"a": b"x"} if is_there else {})


def test_in_strict_weather_what_was_removed_comes_back() -> None:
    disk, made = disk_with("a", weather="strict")
    made.write(0, b"x")
    made.sync()
    disk.root.sync()
    del disk.root.seen["a"]
    disk.named(disk.root)

    assert after_the_cut(disk) == {"a": b"x"}


def test_the_cut_comes_before_its_change_and_nothing_is_done_after_it() -> None:
    disk = Disk()
    disk.arm(changes=2, weather="drop", seed=0)
    disk.change()
    disk.change()

    with pytest.raises(PowerCutError):
        disk.change()
    assert (disk.is_off, disk.changes) == (True, 2)
    with pytest.raises(PowerCutError):
        disk.change()

    disk.restore()
    disk.change()
    assert not disk.is_off


def test_a_path_leads_through_folders_only() -> None:
    disk = Disk()
    disk.root.seen["folder"] = Folder(seen={"a": File()})

    assert isinstance(disk.find("/folder/a"), File)
    for path in ("/other", "/folder/b", "/folder/a/b"):
        with pytest.raises(KeyError):
            disk.find(path)
