"""Single stages on a line that held its rounds: what they wait for, what they leave alone, what they refuse."""

import json
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from shared.clock import ManualClock
from shared.errors import ConfigError, StateError
from tests.trainer.rounds.benches import opened, state
from trainer.commands.rounds import app
from trainer.learning.weights import read_record
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pool
from trainer.pool.schema import candidate
from trainer.rounds.answering import await_labels
from trainer.rounds.collecting import collect
from trainer.rounds.embedding import stored_space
from trainer.rounds.machine import EnoughCollected, Stage, first_round, next_round
from trainer.rounds.selecting import select
from trainer.rounds.spacing import make_space
from trainer.rounds.training import starting_model, train_run
from trainer.rounds.workbench import StoppedError
from trainer.rounds.worker import current_round, perform
from trainer.selection.reference import is_reserved

pytestmark = pytest.mark.slow


class EventfulClock(ManualClock):
    """A clock on which something happens while one waits."""

    def __init__(self, happens: Callable[[], None]) -> None:
        super().__init__()
        self.waits = 0
        self._happens = happens

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.waits += 1
        self._happens()
        return super().wait(stop, seconds)


def test_collecting_waits_for_new_candidates_and_embeds_those_that_came_without(site: Any) -> None:
    site.set("min_pool = 60", "min_pool = 60\nmin_new = 20")
    clock = EventfulClock(lambda: site.send(range(20 + clock.waits, 21 + clock.waits)))

    with opened(site, clock) as bench:
        round_ = next_round(current_round(bench))
        fact = collect(bench, round_)
        left = bench.pool.without_embedding("steel", round_.space or "")

    assert fact == EnoughCollected()
    # Sixteen patches a frame: one frame is not twenty candidates, two are.
    assert clock.waits == 2
    assert left == []


def test_a_stage_that_waits_ends_when_it_is_told_to(site: Any) -> None:
    site.set("min_pool = 60", "min_pool = 6000")
    before = state(site)
    stop = threading.Event()
    clock = EventfulClock(stop.set)

    with opened(site, clock, stop) as bench:
        round_ = next_round(current_round(bench))
        with pytest.raises(StoppedError):
            perform(bench, round_)

    assert clock.waits == 1
    assert state(site) == before


class StopAfter(threading.Event):
    """A wish to end that is heard after a number of looks."""

    def __init__(self, looks: int) -> None:
        super().__init__()
        self._looks = looks

    def is_set(self) -> bool:
        self._looks -= 1
        return self._looks < 0


@pytest.fixture
def broken_off(site: Any) -> tuple[Any, str, str]:
    """A training stopped in its eleventh step with a checkpoint every fourth, its run and that run's whole weights."""
    with opened(site) as bench:
        run = train_run(bench, next_round(current_round(bench))).run
    whole = read_record(site.directory / "runs" / run).weights_sha256
    shutil.rmtree(site.directory / "runs" / run)
    site.set("threads = 1", "threads = 1\ncheckpoint_every = 4")
    with opened(site, stop=StopAfter(10)) as bench, pytest.raises(StoppedError):
        train_run(bench, next_round(current_round(bench)))
    return site, run, whole


def told_of(text: str, *names: str) -> list[dict[str, Any]]:
    return [event for event in map(json.loads, text.splitlines()) if event["event"] in names]


def test_a_damaged_checkpoint_is_told_and_the_one_before_it_is_taken(
    broken_off: tuple[Any, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    site, run, whole = broken_off
    newest = max((site.directory / "runs" / "steel.checkpoints").rglob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1])
    capsys.readouterr()

    with opened(site) as bench:
        fact = train_run(bench, next_round(current_round(bench)))

    resumed, warning = told_of(capsys.readouterr().out, "resumed", "warning")
    assert newest.stem == "step-00000008"
    assert (resumed["work"], resumed["step"]) == ("train", 4)
    assert "step-00000008 is set aside" in warning["warning"]
    assert fact.run == run
    assert read_record(site.directory / "runs" / run).weights_sha256 == whole
    assert not (site.directory / "runs" / "steel.checkpoints").exists()


def test_a_line_that_writes_other_checkpoints_keeps_its_run_and_goes_on_with_a_broken_one(
    broken_off: tuple[Any, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    site, run, whole = broken_off
    site.set("checkpoint_every = 4", "checkpoint_every = 7")
    capsys.readouterr()

    with opened(site) as bench:
        train_run(bench, next_round(current_round(bench)))
        site.set("checkpoint_every = 7", "checkpoint_every = 0")
        went_on = told_of(capsys.readouterr().out, "resumed")
    written = (site.directory / "runs" / run / "run.json").stat().st_mtime_ns
    with opened(site) as bench:
        train_run(bench, next_round(current_round(bench)))

    assert [event["step"] for event in went_on] == [8]
    assert read_record(site.directory / "runs" / run).weights_sha256 == whole
    assert (site.directory / "runs" / run / "run.json").stat().st_mtime_ns == written


def test_a_space_stays_when_only_its_checkpoints_change_and_is_trained_by_the_recipe_of_its_line(site: Any) -> None:
    record = site.directory / "spaces" / "steel" / "space.json"
    before = record.stat().st_mtime_ns
    site.set("min_patches = 40", "min_patches = 40\ncheckpoint_every = 3")

    with opened(site) as bench:
        stays = make_space(bench, first_round())
        # No file can say so on a grey line; the refusal shows that the training was told of the recipe.
        coloured = msgspec.structs.replace(bench.line, space=msgspec.structs.replace(bench.line.space, recipe="colour"))
        with pytest.raises(ConfigError, match="recipe colour on images of 1 channels"):
            make_space(replace(bench, line=coloured), first_round())

    assert stays.space == json.loads(record.read_bytes())["id"]
    assert record.stat().st_mtime_ns == before


def test_people_are_waited_for_until_every_task_is_painted(site: Any) -> None:
    site.set('source = "oracle"', 'source = "folder"')
    with opened(site) as bench:
        round_ = replace(next_round(current_round(bench)), stage=Stage.SELECT)
        round_ = perform(bench, round_)
    people = site.directory.parent / "people"
    runner = CliRunner()

    def paint() -> None:
        from trainer.commands.labels import app as labels
        from trainer.labelling.oracle import answer_open_tasks

        runner.invoke(labels, ["export", str(site.site_toml), str(people)], catch_exceptions=False)
        with Pool.open(site.directory) as pool:
            answer_open_tasks(pool, site.line)

    clock = EventfulClock(paint)
    with opened(site, clock) as bench:
        await_labels(bench, round_)

    assert clock.waits == 1
    assert len(json.loads((people / "labels.json").read_text(encoding="utf-8"))["tasks"]) == 16


def test_the_stages_of_a_round_can_be_performed_by_hand_one_after_another(site: Any) -> None:
    runner = CliRunner()

    for command, stage in (("select", "label"), ("train", "release"), ("export", "done")):
        told = runner.invoke(app, [command, str(site.site_toml), "--json"], catch_exceptions=False)
        assert told.exit_code == 0
        with Pool.open(site.directory) as pool:
            row = pool.round("steel")
        assert row is not None
        assert (row.number, row.stage) == (2, stage)

    assert (site.directory / "public" / "releases" / "steel" / "steel-0004" / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("command", "lacking"), [("train", "labels to train on"), ("export", "run that passed the gate")]
)
def test_a_stage_that_is_not_due_is_refused_by_name(site: Any, command: str, lacking: str) -> None:
    before = state(site)

    with pytest.raises(StateError, match=f"round 1 is in stage done and has no {lacking}; nothing was done"):
        CliRunner().invoke(app, [command, str(site.site_toml)], catch_exceptions=False)

    assert state(site) == before


def test_a_second_holder_of_the_rounds_is_refused(site: Any) -> None:
    paths = TrainerPaths(site.directory)

    with paths.claim("rounds-steel"), pytest.raises(StateError, match='"rounds-steel" is held by process'):
        CliRunner().invoke(app, ["select", str(site.site_toml)], catch_exceptions=False)


def test_a_space_folder_that_is_not_the_rounds_own_is_refused(site: Any) -> None:
    with (
        opened(site) as bench,
        pytest.raises(StateError, match=r"holds space .*, the rounds of line steel go by space ffff"),
    ):
        stored_space(bench, "f" * 64)


def test_training_begins_anew_where_the_line_changed_its_network(site: Any) -> None:
    with opened(site) as bench:
        run = current_round(bench).run
        kept = starting_model(bench, run)
    site.set('encoder = "compact-16-32"\nsteps = 20', 'encoder = "compact-16-16"\nsteps = 20')
    with opened(site) as bench:
        changed = starting_model(bench, run)

    assert kept is not None
    assert changed is None


def test_how_the_nodes_scores_rank_beside_the_newest_runs_is_told(site: Any) -> None:
    with opened(site) as bench:
        round_ = next_round(current_round(bench))
        select(bench, round_)
        ids = bench.pool.ids("steel")
        scores = bench.pool.scores(ids, round_.run or "")
        with bench.pool.write() as connection:
            for name, score in zip(ids, scores, strict=True):
                # A node whose scores are others, in the very order of the re-scores.
                connection.execute(
                    sa.update(candidate).where(candidate.c.id == name).values(score=float(score) ** 2 / 2)
                )

        fact = select(bench, round_).fact

    assert fact.rank_correlation == pytest.approx(1.0)


def test_a_short_reference_set_is_said_so(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site.set("batch = 16", "batch = 200")
    with opened(site) as bench:
        waiting = [name for name in bench.pool.ids("steel", reason="floor") if is_reserved(name, bench.line.selection)]
        selection = select(bench, next_round(current_round(bench)))

    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert 0 < len(waiting) < 20
    assert sorted(selection.reference) == sorted(waiting)
    assert f"{len(waiting)} floor patches wait for the reference set, 20 were asked for" in [
        event["note"] for event in events if event["event"] == "note"
    ]
