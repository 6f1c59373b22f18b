"""Selecting a batch on a line that held its rounds: what is taken, what is refused, and what people are told."""

import json
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from shared.clock import ManualClock
from shared.errors import StateError
from tests.trainer.rounds.benches import opened, state
from trainer.commands.rounds import app
from trainer.pool.pool import Pool, PoolAwayError
from trainer.rounds.machine import Stage, next_round
from trainer.rounds.selecting import select
from trainer.rounds.worker import current_round, perform
from trainer.selection.problem import SelectionError
from trainer.selection.reference import is_reserved

pytestmark = pytest.mark.slow


class FullDisk(Pool):
    """A pool that takes everything but where the round stands."""

    def put_round(self, *_: object, **__: object) -> None:
        raise PoolAwayError("pool: the disk is full")


def test_a_batch_whose_round_cannot_be_written_is_not_handed_over(site: Any) -> None:
    before = state(site)

    with opened(site, kind=FullDisk) as bench:
        round_ = replace(next_round(current_round(bench)), stage=Stage.SELECT)
        with pytest.raises(PoolAwayError):
            perform(bench, round_)

    assert state(site) == before


def test_a_selection_takes_floor_patches_kept_for_reference_and_never_trains_on_them(site: Any) -> None:
    site.send(range(30, 40))
    with opened(site) as bench:
        round_ = next_round(current_round(bench))
        selection = select(bench, round_)
        again = select(bench, round_)
        waiting = set(bench.pool.ids("steel"))

    settings = site.line.selection
    assert len(selection.reference) == 2
    assert all(is_reserved(name, settings) for name in selection.reference)
    assert len(selection.batch.ids) == 14
    assert {pick.id for pick in selection.picks} <= waiting
    assert [pick.id for pick in again.picks] == [pick.id for pick in selection.picks]
    with Pool.open(site.directory) as pool:
        floor = set(pool.ids("steel", reason="floor"))
    assert not any(name in floor and is_reserved(name, settings) for name in selection.batch.ids)


def test_a_batch_is_unlike_what_is_trained_on_not_unlike_the_reference_set(site: Any) -> None:
    with opened(site) as bench:
        selection = select(bench, next_round(current_round(bench)))
        trained, reference = bench.pool.labelled("steel", "train"), bench.pool.labelled("steel", "reference")

    nearest = {why["nearest_labelled"] for why in selection.batch.explanations}
    assert nearest <= set(trained)
    assert not nearest & set(reference)


def test_a_candidate_that_retention_drops_in_the_middle_does_not_end_the_selection(site: Any) -> None:
    with opened(site) as bench:
        round_ = next_round(current_round(bench))
        first = select(bench, round_)
        entries, lose = bench.pool.scores, iter([True])

        def scores_after_a_trim(ids: Any, run: str) -> Any:
            if next(lose, False):
                bench.pool.trim("steel", len(bench.pool.ids("steel", state=None)) - 60)
            return entries(ids, run)

        bench.pool.scores = scores_after_a_trim  # another process would do this between two calls
        second = select(bench, round_)
        dropped = bench.pool.counters("steel")["dropped"]
        waiting = set(bench.pool.ids("steel"))

    assert dropped > 0
    assert len(first.picks) == 16
    assert second.picks
    assert {pick.id for pick in second.picks} <= waiting


def test_a_dry_run_explains_the_next_batch_and_hands_nothing_over(site: Any) -> None:
    site.set("[selection]", '[selection]\nstrategy = "kdpp"')
    before = state(site)

    told = CliRunner().invoke(app, ["select", str(site.site_toml), "--dry-run", "--explain", "--json"])

    events = [json.loads(line) for line in told.stdout.splitlines()]
    rows = [row for row in events if row["event"] == "pick"]
    (summary,) = [row for row in events if row["event"] == "selection"]
    assert told.exit_code == 0
    assert len(rows) == 16
    assert events.index(summary) < events.index(rows[0])
    assert (summary["strategy"], summary["weighting"], summary["sampler"]) == ("kdpp", "quality", "dense")
    assert (summary["train"], summary["reference"]) == (14, 2)
    assert summary["tau"] > 0
    assert any(note.startswith("sampler dense: ") for note in summary["notes"])
    assert {row["purpose"] for row in rows} == {"train", "reference"}
    assert all(
        row["score"] is not None and row["nearest_chosen"] and row["nearest_labelled"] and row["marginal"] > 0
        for row in rows
        if row["purpose"] == "train"
    )
    assert all(row["sampler"] == "dense" and row["gain"] is None for row in rows if row["purpose"] == "train")
    assert state(site) == before


def test_a_dry_run_shows_people_a_table_and_each_patch_with_its_reasons(site: Any) -> None:
    told = CliRunner().invoke(app, ["select", str(site.site_toml), "--dry-run", "--explain"])

    assert told.exit_code == 0
    table, _, picks = told.stdout.partition("16 patches would be handed over")
    assert all(word in table for word in ("strategy", "greedy", "sampler", "lazy", "tau", "labelled"))
    assert "weighting" not in table
    assert picks.count("gain ") == 14
    assert picks.count("nearest labelled ") == picks.count("nearest chosen ") == 14


def test_a_pool_smaller_than_the_batch_is_taken_whole_and_said_so(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.set("batch = 16", "batch = 2000")
    with opened(site) as bench:
        selection = select(bench, next_round(current_round(bench)))
        floor = [name for name in bench.pool.ids("steel", reason="floor") if is_reserved(name, bench.line.selection)]
        waiting = set(bench.pool.ids("steel")) - set(floor)

    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert set(selection.batch.ids) == waiting
    assert f"batch: 1800 patches asked for, the pool holds {len(waiting)}; the round takes {len(waiting)}" in [
        event["note"] for event in events if event["event"] == "note"
    ]


def test_a_selection_that_cannot_be_made_is_refused_at_once_and_changes_nothing(site: Any) -> None:
    site.set("[selection]", '[selection]\nstrategy = "kdpp"\nweighting = "eq3-literal"')
    before = state(site)
    clock = ManualClock()

    with opened(site, clock) as bench:
        began = clock.now()
        round_ = replace(next_round(current_round(bench)), stage=Stage.SELECT)
        with pytest.raises(SelectionError, match=r"eq3-literal: \d+ of \d+ eigenvalues are below zero"):
            perform(bench, round_)

    assert clock.now() == began
    assert state(site) == before


@pytest.mark.parametrize("by", ["camera", "class"])
def test_a_quota_gives_each_camera_or_class_its_places(site: Any, by: str) -> None:
    with opened(site) as bench:
        round_ = next_round(current_round(bench))
        select(bench, round_)
        ids = bench.pool.ids("steel")
        names = (
            [f"{entry.node}/{entry.camera}" for entry in bench.pool.entries(ids)]
            if by == "camera"
            else [bench.line.class_names[value] for value in bench.pool.predictions(ids, round_.run or "")]
        )
    rarest, held = min(Counter(names).items(), key=lambda item: item[1])
    places = min(held, 3)
    site.set("[selection]", f'[selection]\nquota = {{ by = "{by}", places = {{ "{rarest}" = {places} }} }}')

    with opened(site) as bench:
        selection = select(bench, round_)

    of = dict(zip(ids, names, strict=True))
    counted = Counter(of[name] for name in selection.batch.ids)
    others = len(set(names)) > 1
    assert sum(counted.values()) == (14 if others else places)
    assert counted[rarest] == places


def test_a_quota_by_class_waits_for_the_first_model(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    site.set("[selection]", '[selection]\nquota = { by = "class" }')
    with opened(site) as bench:
        selection = select(bench, replace(next_round(current_round(bench)), run=None))

    assert len(selection.batch.ids) == 14
    assert "no model has seen the patches yet, the batch is chosen without it" in capsys.readouterr().out


def test_a_model_that_scores_everything_alike_does_not_stop_the_line(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    with opened(site) as bench:
        round_ = next_round(current_round(bench))
        select(bench, round_)
        ids, run = bench.pool.ids("steel"), round_.run or ""
        bench.pool.store_scores(run, ids, np.zeros(len(ids)), bench.pool.predictions(ids, run).tolist())

        selection = select(bench, round_)

    assert len(selection.batch.ids) == 14
    assert "are 0; the batch is chosen without them" in capsys.readouterr().out


def test_scores_without_classes_are_made_again(site: Any) -> None:
    with opened(site) as bench:
        round_ = next_round(current_round(bench))
        select(bench, round_)
        ids, run = bench.pool.ids("steel"), round_.run or ""
        before = bench.pool.predictions(ids, run), bench.pool.scores(ids, run)
        # As the pool of an older version has them.
        bench.pool.store_scores(run, ids, before[1])
        with pytest.raises(StateError, match="classes of run"):
            bench.pool.predictions(ids, run)

        select(bench, round_)

        assert bench.pool.predictions(ids, run).tolist() == before[0].tolist()
        assert bench.pool.scores(ids, run).tolist() == pytest.approx(before[1].tolist(), abs=1e-6)
