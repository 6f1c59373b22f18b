"""The report of a line's space: measured beside its rivals on one sample, with a sheet of neighbours for each."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from shared.config import SpaceTable
from shared.console import Console
from shared.errors import StateError
from shared.identity import sha256_hex
from shared.images import decode_image, image_size
from trainer.cli import app
from trainer.experiment.space_report import class_of, draw_sample, report_space, sheet_rows
from trainer.labelling.oracle import answer_open_tasks
from trainer.learning.model import build_model
from trainer.learning.weights import RunRecord, save_run
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pick, Pool
from trainer.representation.measures import neighbours
from trainer.representation.sources import untrained_source
from trainer.representation.space import SpaceRecord, build_space, save_space
from trainer.rounds.machine import Round, Stage
from trainer.rounds.wish import write_round

SPACE = SpaceTable(encoder="compact-16-32")
RUN = "steel-r000-0badcafe"


@pytest.fixture
def site(steel_site: Any) -> Any:
    """A line with 32 patches in its pool, ten of them its reference set and five learned from, an untrained space and an untrained run."""
    ids = steel_site.send(range(2))
    line, paths = steel_site.line, TrainerPaths(steel_site.directory)
    paths.make()
    space, graph = build_space(SPACE, channels=1, seed=9), b"a graph"
    save_space(
        paths.spaces / "steel",
        space,
        SpaceRecord(id=sha256_hex(graph), dim=space.dim, channels=1, patch_px=32, seed=9, patches=2, settings=SPACE),
        graph,
    )
    model = build_model(line.learning, classes=3, channels=1, seed=1)
    record = RunRecord(
        run=RUN,
        line="steel",
        round=0,
        snapshot="",
        samples=0,
        seed=1,
        classes=line.class_names,
        channels=1,
        learning=line.learning,
    )
    save_run(paths.runs / RUN, model, record)
    with Pool.open(steel_site.directory) as pool:
        pool.hand_over(
            "steel",
            0,
            [
                *(Pick(name, "reference", {}) for name in ids[:10]),
                *(Pick(name, "train", {}) for name in ids[10:15]),
            ],
        )
        answer_open_tasks(pool, line)
        write_round(pool, "steel", Round(number=0, stage=Stage.DONE, run=RUN, serving=RUN, passed=True))
    return steel_site


def test_space_and_rivals_are_measured_on_the_same_patches(site: Any, tmp_path: Path) -> None:
    out = tmp_path / "report"

    done = CliRunner().invoke(app, ["space", "report", str(site.site_toml), "--out", str(out), "--json"])

    assert done.exit_code == 0, done.output
    told = [row for row in map(json.loads, done.output.splitlines()) if row["event"] == "space"]
    assert [row["source"] for row in told] == ["simclr", "untrained", "task"]
    assert {(row["patches"], row["classed"], row["seed"]) for row in told} == {(32, 10, 0)}
    assert len({row["space"] for row in told}) == 3
    assert [row["source"] for row in json.loads((out / "space.json").read_text())] == ["simclr", "untrained", "task"]
    for row in told:
        data = Path(row["picture"]).read_bytes()
        assert min(image_size(data, what="sheet")) > 500
        assert np.unique(decode_image(data, what="sheet", channels=3)).size > 50


def test_people_read_it_in_sentences(site: Any, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["space", "report", str(site.site_toml), "--out", str(tmp_path / "out"), "--patches", "20"]
    )

    assert done.exit_code == 0, done.output
    assert "(untrained), 20 patches, seed 0" in done.output
    assert "of 10 labelled" in done.output


def test_a_sample_takes_the_reference_set_first_and_the_rest_by_lot(site: Any) -> None:
    with Pool.open(site.directory) as pool:
        small, whole, again, other = (
            draw_sample(pool, site.line, most=most, seed=seed) for most, seed in ((4, 0), (20, 0), (20, 0), (20, 1))
        )

    assert [(sample.classes >= 0).sum() for sample in (small, whole, other)] == [4, 10, 10]
    assert whole.patches.shape == (20, 32, 32, 1)
    assert np.array_equal(whole.patches, again.patches)
    assert not np.array_equal(whole.patches, other.patches)


def test_a_row_of_the_sheet_is_a_patch_and_what_lies_nearest(site: Any) -> None:
    with Pool.open(site.directory) as pool:
        sample = draw_sample(pool, site.line, most=32, seed=0)
    source = untrained_source(SPACE, sample.patches, seed=2)

    rows = sheet_rows(source, sample, site.line.class_names, seed=0)

    embeddings = source.embed(sample.patches)
    cosines = embeddings @ embeddings.T
    np.fill_diagonal(cosines, -np.inf)
    assert len(rows) == 10
    for row in rows:
        place = next(number for number, patch in enumerate(sample.patches) if np.array_equal(patch, row.patch))
        nearest = int(cosines[place].argmax())
        assert row.words[0].startswith(f"{cosines[place, nearest]:.2f}")
        assert np.array_equal(row.neighbours[0], sample.patches[nearest])
    # Each class that is labelled is among the first.
    shown = {row.word for row in rows[: len(set(sample.classes[sample.classes >= 0]))]}
    assert shown == {site.line.class_names[value] for value in set(sample.classes[sample.classes >= 0].tolist())}


def test_neighbours_are_sorted_and_never_the_row_itself() -> None:
    rows = np.random.default_rng(4).normal(size=(30, 5)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    found, cosines = neighbours(rows, 4)

    for place in range(30):
        order = sorted(
            (other for other in range(30) if other != place), key=lambda other: -float(rows[place] @ rows[other])
        )
        assert found[place].tolist() == order[:4]
    assert (np.diff(cosines, axis=1) <= 0).all()


@pytest.mark.parametrize(
    ("values", "kind"),
    [([255, 255, 255], -1), ([0, 0, 255], 0), ([0, 0, 2], 2), ([1, 2, 2], 2), ([1, 1, 2], 1)],
)
def test_a_patch_is_of_the_class_it_holds_most_of_besides_the_background(values: list[int], kind: int) -> None:
    assert class_of(np.array([values], dtype=np.uint8)) == kind


def test_a_line_without_a_space_has_nothing_to_report(steel_site: Any, tmp_path: Path) -> None:
    steel_site.send(range(1))
    paths = TrainerPaths(steel_site.directory)

    with Pool.open(steel_site.directory) as pool, pytest.raises(StateError, match="it has no embedding space yet"):
        report_space(pool, steel_site.line, paths, tmp_path / "out", most=9, seed=0, console=Console(as_json=True))

    assert not (tmp_path / "out").exists()
