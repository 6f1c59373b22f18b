"""A run released over the gate: by the command, and by a worker that waits."""

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deploy.commands.release import app as release_app
from shared.console import Console
from tests.trainer.rounds.test_stages import EventfulClock, opened
from trainer.cli import app
from trainer.pool.pool import Pool
from trainer.release.publish import list_manifests
from trainer.rounds.machine import Round, Stage, next_round
from trainer.rounds.wish import open_wish, read_round, wish_override, write_round
from trainer.rounds.worker import _tell_done, hold_rounds, perform

pytestmark = pytest.mark.slow


@pytest.fixture
def held(finished_site: Any, tmp_path: Path) -> Any:
    """A line whose second run was held back, so that its first serves; the next round collects."""
    site = finished_site.copy_to(tmp_path)
    with Pool.open(site.directory) as pool:
        first, second = (read_round(row) for row in pool.rounds("steel"))
        shutil.rmtree(site.directory / "public" / "releases" / "steel" / "steel-0003")
        back = replace(second, passed=False, reasons=("it fell",), serving=first.run, release=first.release)
        write_round(pool, "steel", back)
        write_round(pool, "steel", next_round(back))
    return site


class EventfulConsole(Console):
    """A console on which something happens when an event is told."""

    def __init__(self, name: str, happens: Callable[[], None]) -> None:
        super().__init__(as_json=True)
        self._name = name
        self._happens = happens

    def event(self, name: str, text: str = "", **fields: object) -> None:
        super().event(name, text, **fields)
        if name == self._name:
            self._happens()


def wish(site: Any) -> None:
    with Pool.open(site.directory) as pool:
        wish_override(pool, "steel", reason="old lamps", by="mara", now=99.0)


def newest(site: Any) -> list[Round]:
    with Pool.open(site.directory) as pool:
        return [read_round(row) for row in pool.rounds("steel")][-2:]


def test_a_worker_that_waits_releases_what_is_wished_and_waits_on(held: Any, capsys: Any) -> None:
    held.set("min_pool = 60", "min_pool = 6000")

    def wish() -> None:
        with Pool.open(held.directory) as pool, suppress(Exception):
            wish_override(pool, "steel", reason="worse on [old] lamps only", by="mara", now=99.0)

    with opened(held, EventfulClock(wish)) as bench:
        after = perform(bench, newest(held)[-1])

    overridden, current = newest(held)
    assert (after.stage, after.number, after.serving, after.release) == (Stage.COLLECT, 2, overridden.run, "steel-0003")
    assert current == after
    assert (overridden.stage, overridden.passed, overridden.serving) == (Stage.DONE, False, overridden.run)
    manifest = list_manifests(held.directory / "public", "steel")[-1]
    assert (manifest.lineage.run, manifest.lineage.round, manifest.lineage.labels) == (overridden.run, 1, 32)
    assert manifest.lineage.override == overridden.override
    events = {event["event"]: event for event in map(json.loads, capsys.readouterr().out.splitlines())}
    assert (events["overridden"]["by"], events["overridden"]["reasons"]) == ("mara", ["it fell"])

    shown = CliRunner().invoke(release_app, ["show", str(held.site_toml), "steel-0003"])
    machine = CliRunner().invoke(release_app, ["show", str(held.site_toml), "steel-0003", "--json"])

    assert "worse on [old] lamps only" in " ".join(shown.output.replace("│", " ").split())
    assert json.loads(machine.output)["override"] == {
        "reason": "worse on [old] lamps only",
        "by": "mara",
        "at": "1970-01-01 00:01:39Z",
    }


def test_the_command_shows_the_verdict_and_releases_over_it(held: Any, finished_site: Any) -> None:
    # Published already, as by a worker that was killed before its commit.
    shelf = Path("public") / "releases" / "steel" / "steel-0003"
    shutil.copytree(finished_site.directory / shelf, held.directory / shelf)

    before = CliRunner().invoke(app, ["gate", str(held.site_toml), "--json"])
    done = CliRunner().invoke(app, ["gate", str(held.site_toml), "--override", "old lamps", "--by", "mara", "--json"])
    shown = CliRunner().invoke(app, ["gate", str(held.site_toml)])

    verdict = json.loads(before.output)
    assert (verdict["passed"], verdict["reasons"], verdict["override"]) == (False, ["it fell"], None)
    assert set(verdict["classes"]) == {"background", "scratch", "inclusion"}
    assert sum(row["patches"] > 0 for row in verdict["classes"].values()) > 0
    assert [json.loads(line)["event"] for line in done.output.splitlines()] == ["overridden", "released"]
    overridden, current = newest(held)
    assert overridden.serving == current.serving == overridden.run
    assert "overridden by mara: old lamps" in shown.output


def test_while_a_worker_holds_the_rounds_the_wish_waits_for_it(held: Any) -> None:
    with opened(held) as bench, bench.paths.claim("rounds-steel"):
        done = CliRunner().invoke(
            app, ["gate", str(held.site_toml), "--override", "old lamps", "--by", "mara", "--json"]
        )

    assert json.loads(done.output)["event"] == "wished"
    with Pool.open(held.directory) as pool:
        assert open_wish(pool, "steel") is not None
        assert len(list_manifests(held.directory / "public", "steel")) == 2


def test_a_wish_that_comes_while_the_next_round_is_judged_and_held_back_is_heeded(held: Any, capsys: Any) -> None:
    wished, waiting = newest(held)
    run = f"steel-r002-{str(wished.run)[-8:]}"
    shutil.copytree(held.directory / "runs" / str(wished.run), held.directory / "runs" / run)
    held.set("[rounds]", "class_floors = { background = 1.0 }\n[rounds]")
    due = replace(waiting, stage=Stage.GATE, run=run)
    with Pool.open(held.directory) as pool:
        write_round(pool, "steel", due)

    with opened(held) as bench:
        after = perform(replace(bench, console=EventfulConsole("stage", lambda: wish(held))), due)

    overridden, judged = newest(held)
    assert judged == after
    assert (judged.stage, judged.passed, judged.serving) == (Stage.DONE, False, wished.run)
    assert (overridden.number, overridden.serving) == (1, wished.run)
    assert list_manifests(held.directory / "public", "steel")[-1].lineage.run == wished.run
    told = [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()]
    assert told.index("gate") < told.index("overridden")


def test_a_wish_is_heeded_where_all_rounds_are_done_and_told_as_released_only_then(held: Any, capsys: Any) -> None:
    held.set("max_rounds = 2", "max_rounds = 3")
    last, waiting = newest(held)
    done = replace(waiting, stage=Stage.DONE, run=last.run, passed=False, reasons=("it fell",))
    with Pool.open(held.directory) as pool:
        write_round(pool, "steel", done)
    wish(held)
    with opened(held) as bench:
        _tell_done(bench, newest(held)[-1])

        hold_rounds(bench)

    assert newest(held)[-1].serving == last.run
    events = list(map(json.loads, capsys.readouterr().out.splitlines()))
    told = [event["released"] for event in events if event["event"] == "round_done" and event["round"] == 2]
    assert told == [False, True]
