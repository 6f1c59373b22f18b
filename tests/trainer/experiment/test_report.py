"""Reports: the numbers against a calculation by hand."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from deploy.cli import main
from shared.errors import InputError, StateError
from tests.trainer.experiment.studies import RECIPE, record_of, write_recipe, write_rounds_of
from trainer.experiment.curve_plot import draw_curves
from trainer.experiment.page import markdown
from trainer.experiment.recipe import load_recipe
from trainer.experiment.record import (
    STUDY_NAME,
    Picks,
    open_study,
    read_rounds,
    read_study,
    study_folders,
    write_rounds,
)
from trainer.experiment.report import Spread, build_report

ROOT = Path(__file__).resolve().parents[3]
SIGNATURE = b"\x89PNG"


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two seeds of random and top, one of kdpp; the ceiling is 0.8."""
    folder = tmp_path / "out" / "boxes"
    recipe = load_recipe(write_recipe(tmp_path, RECIPE))
    open_study(folder, record_of(recipe))
    for seed, offset in ((0, 0.0), (1, 0.2)):
        write_rounds_of(folder, seed, "random", [0.2 + offset, 0.3 + offset, 0.4 + offset])
        write_rounds_of(folder, seed, "top", [0.2 + offset, 0.4 + offset, 0.7 + offset], near=0.5)
        write_rounds_of(folder, seed, "ceiling", [0.8])
    write_rounds_of(folder, 0, "kdpp", [0.2])
    return folder


def test_the_curves_are_means_with_their_spread(study: Path) -> None:
    random, top, _ = build_report(study).arms

    assert [point.mean for point in random.curve] == pytest.approx([0.3, 0.4, 0.5])
    # Two values 0.2 apart: a sample standard deviation of 0.2 / sqrt(2).
    assert [point.sd for point in top.curve] == pytest.approx([0.2 / 2**0.5] * 3)
    assert top.labels == (10, 20, 30)


@pytest.fixture
def whole(study: Path) -> Path:
    """The study with kdpp held to its end."""
    for seed in (0, 1):
        write_rounds_of(study, seed, "kdpp", [0.2, 0.6, 0.3])
    return study


def test_areas_and_labels_follow_by_hand(whole: Path) -> None:
    random, top, _ = build_report(whole).arms
    assert random.alc is not None
    assert top.normalised_alc is not None

    assert top.gain is not None

    # Trapezoids of 10 labels: seed 0 gives 2.5 + 3.5, seed 1 gives 2 · 2 more.
    assert random.alc.mean == pytest.approx((6.0 + 10.0) / 2)
    # Seed 0 over 0.2 to 0.8: (0 + 1/3) / 2 · 10 + (1/3 + 5/6) / 2 · 10; seed 1 over 0.4 to 0.8: (0 + 0.5) / 2 and (0.5 + 1.25) / 2.
    assert top.normalised_alc.mean == pytest.approx((7.5 + 11.25) / 2)
    # The mean curve of top is 0.3, 0.5, 0.8 and 90 % of the ceiling 0.72.
    assert top.to_ceiling["0.90"] == pytest.approx(20 + 10 * 0.22 / 0.3)
    assert random.to_ceiling["0.90"] is None
    # Seed by seed the areas are 2.5 apart: no spread is left, whatever the seeds' own.
    assert (top.gain.mean, top.gain.low, top.gain.high) == pytest.approx((2.5, 2.5, 2.5))
    assert random.gain is None


def test_a_worse_first_round_earns_no_normalised_area(whole: Path) -> None:
    """What chance began with is 0, for every arm."""
    write_rounds_of(whole, 0, "top", [0.1, 0.4, 0.7])

    top = build_report(whole).arms[1]

    assert top.normalised_alc is not None
    # Seed 0: (-1/6 + 1/3) / 2 · 10 + (1/3 + 5/6) / 2 · 10.
    assert top.normalised_alc.mean == pytest.approx((10 / 12 + 70 / 12 + 11.25) / 2)


def test_an_arm_that_is_behind_shortens_every_area_and_is_named(study: Path) -> None:
    write_rounds_of(study, 0, "kdpp", [0.2, 0.5])

    report = build_report(study)

    # Seed 0 alone, to 20 labels.
    assert [arm.alc and arm.alc.mean for arm in report.arms] == pytest.approx([2.5, 3.0, 3.5])
    assert report.unfinished == ("kdpp",)
    assert report.figure.startswith("unfinished: mIoU at 20 labels, 1 seeds: random 0.300, top 0.400, kdpp 0.500")
    assert "Unfinished: kdpp." in markdown(report)


def test_another_model_is_not_held_against_one_that_learned_alone(whole: Path) -> None:
    text = RECIPE + (
        'strategy = "top"\nacquisition = { measure = "bald", aggregation = "mean", committee = "heads", members = 2 }\n'
    )
    recipe = load_recipe(write_recipe(whole.parent, text.replace('name = "kdpp"', 'name = "dpe"')))
    record = msgspec.structs.replace(read_study(whole), recipe=recipe)
    (whole / STUDY_NAME).write_bytes(msgspec.json.encode(record))
    for seed in (0, 1):
        write_rounds_of(whole, seed, "dpe", [0.3, 0.6, 0.7])

    _, top, dpe = build_report(whole).arms

    assert top.saved is not None
    assert (dpe.saved, dpe.gain, dpe.normalised_alc, dpe.to_ceiling["0.90"]) == (None, None, None, None)
    assert dpe.alc is not None


def test_labels_are_saved_at_the_lower_of_two_ends(whole: Path) -> None:
    random, top, _ = build_report(whole).arms

    # Random ends at 0.5 with 30 labels, where top needs 20.
    assert top.saved == pytest.approx(1 - 20 / 30)
    assert random.saved == 0


def test_one_lucky_round_saves_nothing(whole: Path) -> None:
    for seed, offset in ((0, 0.0), (1, 0.2)):
        write_rounds_of(whole, seed, "kdpp", [0.2 + offset, 0.6 + offset, 0.2 + offset])

    kdpp = build_report(whole).arms[2]

    # Made rising it is 0.3, 0.5, 0.5: where random ends, after 20 labels of 30; the last value alone would claim 100 %.
    assert kdpp.saved == pytest.approx(1 - 20 / 30)


def test_a_study_without_a_second_round_saves_nothing(study: Path) -> None:
    assert [arm.saved for arm in build_report(study).arms] == [None, None, None]


def test_classes_duplicates_and_time_are_means_over_seeds(study: Path) -> None:
    _, top, kdpp = build_report(study).arms

    assert top.per_class == (pytest.approx(0.8), None, pytest.approx(0.4))
    # The start set is nobody's choice.
    assert (top.near_duplicates, top.selection_s) == (0.5, 1.5)
    assert kdpp.curve == (Spread(0.2, None),)


def test_rounds_that_a_seed_has_not_held_stay_out(study: Path) -> None:
    write_rounds_of(study, 1, "top", [0.4, 0.6])

    top = build_report(study).arms[1]

    assert top.labels == (10, 20)
    assert [point.mean for point in top.curve] == pytest.approx([0.3, 0.5])


def test_the_page_holds_every_arm_beside_random_and_the_ceiling(study: Path) -> None:
    page = markdown(build_report(study))

    assert "all labels: 0.800 ± 0.000." in page
    assert "| random | 2 | 0.300 ± 0.141 | 0.400 ± 0.141 | 0.500 ± 0.141 |" in page
    assert "| kdpp | 1 | 0.200 |  |  |" in page
    assert "| top | 0.800 | - | 0.400 |" in page
    widths = {line.count("|") for line in page.split("\n\n")[3].splitlines()}
    assert len(widths) == 1


def test_the_picture_is_a_png(study: Path, tmp_path: Path) -> None:
    draw_curves(tmp_path / "curves.png", build_report(study))

    assert (tmp_path / "curves.png").read_bytes().startswith(SIGNATURE)


def test_the_commands_give_the_report_to_people_and_machines(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = tmp_path / "plotted.png"

    statuses = [
        main(["experiment", "compare", str(study.parent), "--json"]),
        main(["experiment", "compare", str(study)]),
        main(["experiment", "plot", str(study), "--to", str(drawn)]),
        main(["experiment", "methods", "--results", str(tmp_path), "--json"]),
    ]

    assert statuses == [0, 0, 0, 0]
    told = capsys.readouterr().out.splitlines()
    assert [arm["name"] for arm in json.loads(told[0])["report"]["arms"]] == ["random", "top", "kdpp"]
    assert told[1] == "# tiny boxes"
    assert json.loads(told[-1])["id"] == "E6"
    assert drawn.read_bytes().startswith(SIGNATURE)


def test_a_study_without_a_finished_round_stops_the_comparison_of_no_other(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun = study.parent / "begun"
    open_study(begun, read_study(study))

    assert main(["experiment", "compare", str(study.parent), "--json"]) == 0

    told = capsys.readouterr()
    assert [json.loads(line)["report"]["title"] for line in told.out.splitlines()] == ["tiny boxes"]
    assert "begun: no finished round yet; it is left out" in told.err.replace("\n", "")
    assert main(["experiment", "compare", str(begun)]) == 1


def test_a_name_with_a_bar_ends_no_cell(study: Path) -> None:
    report = replace(build_report(study), title="two\nlines", classes=("background", "light|shade", "dark"))

    page = markdown(report).splitlines()

    assert page[0] == "# two lines"
    assert "| arm, at its end | background | light\\|shade | dark |" in page


def test_a_round_whose_value_is_no_number_cannot_be_recorded(study: Path) -> None:
    (record, *_) = read_rounds(study / "seed-0" / "top.jsonl")

    with pytest.raises(StateError, match="round 0: its value on test is nan; it is not written"):
        replace(record, value=float("nan"))


@pytest.mark.parametrize("words", [["--recipes", "nope"], ["--results", "nope"], []])
def test_folders_of_the_house_that_are_not_there_are_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT if words else tmp_path)

    assert main(["experiment", "methods", *words]) == 1

    told = capsys.readouterr()
    assert told.out == ""
    assert "no such folder; run in a checkout of winnow, or name another" in told.err


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"next": None}, "round 1 did not learn what round 0 chose"),
        ({"picks": Picks(units=(1,), strategy="top")}, "1 units were chosen twice"),
        ({"value": 7.0}, "round 0 has the value 7.0, expected 0 to 1"),
        ({"labels": 20}, "round 1 has 20 labels, round 0 20"),
        ({"per_class": (0.2,)}, "round 1 has 3 classes, round 0 1"),
    ],
)
def test_rounds_that_no_walk_can_have_written_are_refused_with_their_file(
    study: Path, change: dict[str, Any], said: str
) -> None:
    path = study / "seed-0" / "top.jsonl"
    first, *others = read_rounds(path)
    write_rounds(path, [replace(first, **change), *others])

    with pytest.raises(InputError, match=re.escape(f"{path}: {said}; remove the file")):
        build_report(study)


def test_rounds_of_other_classes_are_refused_with_their_file(study: Path) -> None:
    path = study / "seed-0" / "top.jsonl"
    write_rounds(path, [replace(record, per_class=(0.1, 0.2)) for record in read_rounds(path)])

    with pytest.raises(InputError, match=r"top\.jsonl: 2 classes, the study has 3"):
        build_report(study)


def test_results_without_a_word_of_what_they_are_of_are_not_gone_on_with(study: Path) -> None:
    record = read_study(study)
    (study / STUDY_NAME).unlink()

    with pytest.raises(StateError, match=r"holds results, and no study\.json that says of what"):
        open_study(study, record)

    assert not (study / STUDY_NAME).exists()


@pytest.mark.parametrize("name", ["curves.jpg", "curves", "."])
def test_a_picture_that_is_no_png_is_not_drawn(study: Path, tmp_path: Path, name: str) -> None:
    assert main(["experiment", "plot", str(study), "--to", str(tmp_path / name)]) == 1

    assert not list(tmp_path.glob("curves*"))


def test_a_folder_without_a_study_is_named(study: Path, tmp_path: Path) -> None:
    assert study_folders(study) == study_folders(study.parent) == [study]

    with pytest.raises(InputError, match=r"no study\.json in it or directly below"):
        study_folders(study / "seed-0")
    assert not (tmp_path / "out" / "report.md").exists()


def test_a_page_shows_some_rounds_of_a_long_curve_the_first_and_last_among_them(study: Path) -> None:
    for seed in (0, 1):
        for name in ("random", "top", "kdpp"):
            write_rounds_of(study, seed, name, [0.2 + round_ / 100 for round_ in range(40)])

    head = next(line for line in markdown(build_report(study)).splitlines() if line.startswith("| arm | seeds"))

    columns = [cell.strip() for cell in head.strip("|").split("|")][2:]
    assert len(columns) == 9
    assert (columns[0], columns[-1]) == ("10 labels", "400 labels")
