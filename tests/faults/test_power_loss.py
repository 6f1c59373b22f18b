"""The power goes while spool and pool write; what was accepted is on one of the two platters."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.faults.accounting import Holdings, look, violations
from tests.faults.amnesia import Amnesia
from tests.faults.conftest import Say
from tests.faults.forgetful import WEATHERS, Weather
from tests.faults.nursery import Nursery
from tests.faults.plant import write_site
from tests.faults.witness import LEDGER, Ledger

#: How many changes of the disk a life has at most before the power goes: a commit is a few dozen.
MOST_CHANGES = 1500


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    modules = ("tests.faults.lives", "tests.faults.plant", "edge_agent.courier.uplink", "trainer.pool.ingest")
    with Nursery.opened(tmp_path_factory.mktemp("logs"), *modules) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Control:
    """A store that is kept from syncing on purpose, and with what."""

    store: str = ""
    pragma: str = ""


@dataclass(slots=True)
class Cuts:
    """What a row of power cuts left behind."""

    ledger: Ledger
    offered: set[str] = field(default_factory=set)
    found: Holdings = field(default_factory=Holdings)
    wrong: list[str] = field(default_factory=list)
    done: int = 0


class PowerStation:
    """Gives life after life a disk to write to, cuts the power of each, and looks at what is there."""

    def __init__(self, amnesia: Amnesia, nursery: Nursery, folder: Path) -> None:
        self._amnesia = amnesia
        self._nursery = nursery
        self._site_toml = write_site(folder / "centre", port=1)
        self._ledger = Ledger(folder / "ledger")

    def cut(self, cycles: int, *, weather: Weather, seed: int, control: Control = Control()) -> Cuts:
        """Cut the power so often, or until something is lost."""
        dice = random.Random(seed)  # noqa: S311  # no secret
        cuts = Cuts(self._ledger)
        while cuts.done < cycles and not cuts.wrong:
            # The first lives make the files: that is a few dozen changes.
            changes = dice.randrange(1, 100 if cuts.done < 3 else MOST_CHANGES)
            self._amnesia.arm(changes=changes, weather=weather, seed=seed + cuts.done)
            cuts.done += 1
            cuts.offered.update(self._live(f"{cuts.done:08x}", seed + cuts.done, control))
            assert self._amnesia.is_off(), f"seed={seed} cut={cuts.done}: the life ended before the power went"
            self._amnesia.restore()
            cuts.found = look([self._amnesia.path / "spool.db"], self._amnesia.path / "trainer")
            cuts.wrong = violations(cuts.found, accepted=self._ledger.look(), offered=cuts.offered)
        return cuts

    def _live(self, boot: str, seed: int, control: Control) -> list[str]:
        """Let one life write until its disk is dead, and return what it offered."""
        life = self._nursery.bear(
            "tests.faults.lives:stores",
            str(self._amnesia.path),
            str(self._site_toml),
            boot,
            str(seed),
            control.store,
            control.pragma,
            log="stores.log",
            **{LEDGER: str(self._ledger.path)},
        )
        offered = life.stdout.read().decode("ascii").split()
        life.wait()
        return offered


@pytest.fixture
def station(amnesiac: Amnesia, nursery: Nursery, tmp_path: Path) -> PowerStation:
    return PowerStation(amnesiac, nursery, tmp_path)


@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize("cycles", [12, pytest.param(250, marks=pytest.mark.soak)])
def test_a_power_cut_loses_nothing_that_was_accepted(
    station: PowerStation, say: Say, weather: Weather, cycles: int
) -> None:
    seed = 1000 * WEATHERS.index(weather)

    cuts = station.cut(cycles, weather=weather, seed=seed)

    say(
        f"power loss, {weather}: seed={seed}, {cuts.done} cuts, {len(cuts.ledger.accepted)} accepted, "
        f"{len(cuts.found.pool)} in the pool, {len(cuts.found.spool)} in the spool, {len(cuts.wrong)} violations"
    )
    assert cuts.wrong == [], f"seed={seed} weather={weather} cut={cuts.done}"
    assert cuts.ledger.accepted


@pytest.mark.parametrize(
    ("control", "weather"),
    [
        (Control("spool", "PRAGMA synchronous = OFF"), "drop"),
        (Control("pool", "PRAGMA synchronous = OFF"), "drop"),
        pytest.param(Control("spool", "PRAGMA synchronous = NORMAL"), "drop", marks=pytest.mark.soak),
        pytest.param(Control("spool", "PRAGMA synchronous = NORMAL"), "worst", marks=pytest.mark.soak),
        pytest.param(Control("pool", "PRAGMA synchronous = NORMAL"), "drop", marks=pytest.mark.soak),
    ],
)
def test_a_store_that_does_not_sync_is_found_out(
    station: PowerStation, say: Say, control: Control, weather: Weather
) -> None:
    """The controls: the same cuts and the same eye must catch a store that promises too much."""
    cuts = station.cut(40, weather=weather, seed=7, control=control)

    said = f"power loss, control: {control.store} with {control.pragma}, {weather}, seed=7"
    say(f"{said}: found out by cut {cuts.done}: {'; '.join(cuts.wrong)}")
    assert cuts.wrong, f"{said}: nothing was lost in {cuts.done} cuts"
