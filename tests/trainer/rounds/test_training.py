"""A round's training: what it is judged by, where it may end, what it leaves in the run's folder."""

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from shared.clock import ManualClock
from shared.console import Console
from trainer.commands.rounds import app
from trainer.learning.evaluate import assess, reliability
from trainer.learning.heads import HeadedNetwork
from trainer.learning.log import LOG_NAME, read_log
from trainer.learning.snapshot import freeze
from trainer.learning.weights import RunRecord, load_run, read_record
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pool
from trainer.rounds.machine import next_round
from trainer.rounds.training import CURVES_NAME, WATCHED, starting_model, train_run, watched
from trainer.rounds.workbench import Workbench
from trainer.rounds.worker import current_round

pytestmark = pytest.mark.slow


@pytest.fixture
def site(finished_site: Any, tmp_path: Path) -> Any:
    return finished_site.copy_to(tmp_path)


@contextmanager
def opened(site: Any) -> Iterator[Workbench]:
    with Pool.open(site.directory) as pool:
        paths = TrainerPaths(site.directory)
        yield Workbench(pool, site.line, paths, ManualClock(), Console(as_json=True), threading.Event())


def trained(site: Any) -> tuple[Path, RunRecord]:
    """Train the next round's run anew."""
    with opened(site) as bench:
        run = train_run(bench, next_round(current_round(bench))).run
    folder = site.directory / "runs" / run
    return folder, read_record(folder)


def events(capsys: pytest.CaptureFixture[str], *names: str) -> list[dict[str, Any]]:
    told = map(json.loads, capsys.readouterr().out.splitlines())
    return [event for event in told if event["event"] in names]


def test_every_round_leaves_its_curves_for_machines_and_for_people(finished_site: Any) -> None:
    runs = sorted(path.parent for path in (finished_site.directory / "runs").glob("*/run.json"))

    assert len(runs) == 2
    for run in runs:
        lines = read_log(run / LOG_NAME)
        judged = [line.judged for line in lines if line.judged is not None]
        assert [line.step for line in lines if line.loss is not None] == list(range(1, 21))
        assert [line.step for line in lines if line.judged is not None] == list(range(2, 21, 2))
        assert all(found.miou is not None and found.ece is not None for found in judged)
        assert all(len(found.per_class) == 3 for found in judged)
        assert (run / CURVES_NAME).read_bytes().startswith(b"\x89PNG")


def test_what_is_told_of_a_training_is_measured_on_the_reference_set(site: Any) -> None:
    folder, record = trained(site)
    model, _ = load_run(folder)
    with opened(site) as bench:
        reference = freeze(bench.pool, bench.line, purposes=("reference",))
    pair = reference.crops, reference.masks

    last = read_log(folder / LOG_NAME)[-1]
    calibration = record.calibration
    assert calibration is not None
    assert model.temperature == record.temperature == calibration.temperature
    served = reliability(model, *pair).ece
    model.temperature = 1.0
    judged = assess(model, *pair, classes=3)
    assert last.judged is not None
    assert last.judged.miou == pytest.approx(judged.miou)
    assert last.judged.per_class == pytest.approx(judged.per_class)
    assert last.judged.ece == pytest.approx(judged.ece)
    assert calibration.ece_before == pytest.approx(judged.ece, abs=1e-6)
    assert (record.step, record.steps) == (20, 20)
    # So small a training is far too unsure of steel; what serves is nearer to the truth.
    assert calibration.why is None
    assert served < calibration.ece_before
    assert calibration.ece is not None
    assert calibration.ece < calibration.ece_before


def test_a_training_ends_early_with_the_weights_that_the_reference_set_likes_best(
    site: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    site.set("steps = 20", "steps = 400\nstop_patience = 2\njudgements = 40")
    capsys.readouterr()

    folder, record = trained(site)

    (best,) = events(capsys, "best")
    lines = {line.step: line.judged for line in read_log(folder / LOG_NAME) if line.judged is not None}
    scores = {step: found.miou for step, found in lines.items() if found.miou is not None}
    assert record.steps < 400
    assert record.steps == record.step + 20
    assert scores[record.step] == max(scores.values()) == best["miou"]
    assert (best["step"], best["steps"]) == (record.step, record.steps)
    model, _ = load_run(folder)
    model.temperature = 1.0
    with opened(site) as bench:
        reference = freeze(bench.pool, bench.line, purposes=("reference",))
    assert assess(model, reference.crops, reference.masks, classes=3).miou == pytest.approx(best["miou"])


def test_heads_are_trained_kept_and_begun_with_where_the_line_asks_for_them(site: Any) -> None:
    with opened(site) as bench:
        plain = current_round(bench).run
    site.set("[learning]", '[acquisition]\ncommittee = "heads"\nmembers = 5\nbeta = 0.001\n[learning]')

    folder, record = trained(site)

    model, _ = load_run(folder)
    assert isinstance(model.network, HeadedNetwork)
    assert (len(model.network.heads), model.network.beta) == (5, 0.001)
    assert (record.heads, record.beta, record.started_from) == (5, 0.001, None)
    with opened(site) as bench:
        assert starting_model(bench, plain) is None
        assert starting_model(bench, folder.name) is not None


def test_other_heads_are_another_run(site: Any) -> None:
    _, first = trained(site)
    site.set("[learning]", '[acquisition]\ncommittee = "heads"\n[learning]')

    _, second = trained(site)

    assert (first.run, first.heads) == (second.run, 0)
    assert second.heads == 4


def test_how_often_a_training_is_judged_changes_no_weight_and_keeps_its_run(site: Any) -> None:
    folder, first = trained(site)
    shutil.rmtree(folder)
    site.set("steps = 20", "steps = 20\njudgements = 1")

    _, second = trained(site)
    written = (folder / "run.json").stat().st_mtime_ns
    site.set("judgements = 1", "judgements = 7")
    trained(site)

    assert second.weights_sha256 == first.weights_sha256
    assert [line.step for line in read_log(folder / LOG_NAME) if line.judged is not None] == [20]
    assert (folder / "run.json").stat().st_mtime_ns == written


def test_a_run_judged_by_labels_that_were_corrected_since_is_not_kept(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, first = trained(site)
    written = (folder / "run.json").stat().st_mtime_ns
    trained(site)
    assert (folder / "run.json").stat().st_mtime_ns == written
    labelled = Pool.labelled
    monkeypatch.setattr(
        Pool,
        "labelled",
        lambda pool, line, purpose: labelled(pool, line, purpose)[purpose == "reference" :],
    )

    _, second = trained(site)

    assert (folder / "run.json").stat().st_mtime_ns != written
    assert second.reference != first.reference


def test_a_line_without_a_labelled_reference_set_is_trained_and_says_what_it_cannot_tell(
    site: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    labelled = Pool.labelled
    monkeypatch.setattr(
        Pool, "labelled", lambda pool, line, purpose: [] if purpose == "reference" else labelled(pool, line, purpose)
    )
    capsys.readouterr()

    folder, record = trained(site)

    (calibrated,) = events(capsys, "calibrated")
    assert (record.temperature, calibrated["ece"]) == (1.0, None)
    assert all(line.judged is None for line in read_log(folder / LOG_NAME))
    assert (folder / CURVES_NAME).is_file()


def test_a_picture_that_cannot_be_written_costs_no_run(site: Any, capsys: pytest.CaptureFixture[str]) -> None:
    folder, first = trained(site)
    (folder / "run.json").unlink()
    (folder / CURVES_NAME).unlink()
    (folder / CURVES_NAME).mkdir()
    capsys.readouterr()

    _, again = trained(site)

    (warning,) = events(capsys, "warning")
    assert CURVES_NAME in warning["warning"]
    assert warning["warning"].endswith("the run is kept without it")
    assert again.weights_sha256 == first.weights_sha256


@pytest.mark.soak
def test_torchrun_trains_a_round_with_two_processes_and_one_voice(site: Any) -> None:
    CliRunner().invoke(app, ["select", str(site.site_toml)], catch_exceptions=False)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--no-python"]
    winnow = [sys.executable, "-m", "deploy.cli", "trainer", "train", str(site.site_toml), "--json"]

    done = subprocess.run([*torchrun, *winnow], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    trained_once = [event for event in told if event["event"] == "trained"]
    with Pool.open(site.directory) as pool:
        row = pool.round("steel")
    assert len(trained_once) == 1
    assert row is not None
    assert (row.number, row.stage) == (2, "release")
    folder = site.directory / "runs" / trained_once[0]["run"]
    assert read_record(folder).steps == 20
    assert (folder / CURVES_NAME).is_file()


def test_the_patches_that_watch_a_training_are_spread_over_a_large_reference_set() -> None:
    assert watched(3).tolist() == [0, 1, 2]
    assert watched(0).tolist() == []
    many = watched(10 * WATCHED)
    assert len(many) == len(np.unique(many)) == WATCHED
    assert (many[0], many[-1]) == (0, 10 * WATCHED - 1)
