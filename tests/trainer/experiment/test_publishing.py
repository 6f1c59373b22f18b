"""A published result speaks for its rows; a study that is not finished is not published."""

import json
from pathlib import Path

import msgspec
import pytest

from deploy.cli import main
from shared.errors import StateError
from tests.trainer.experiment.studies import RECIPE, record_of, write_recipe, write_rounds_of
from trainer.experiment.publishing import publish
from trainer.experiment.recipe import load_recipe
from trainer.experiment.record import open_study
from trainer.experiment.standings import standings


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Two seeds of three arms and a ceiling of 0.8; kdpp alone speaks for A5, all arms for B3."""
    text = RECIPE.replace('rows = ["A5", "B3"]', 'rows = { A5 = ["kdpp"], B3 = [] }')
    recipe = load_recipe(write_recipe(tmp_path, text))
    folder = tmp_path / "out" / "boxes"
    for name in ("results", "recipes", "same/results", "other/results"):
        (tmp_path / name).mkdir(parents=True)
    open_study(folder, record_of(recipe))
    for seed in (0, 1):
        write_rounds_of(folder, seed, "random", [0.2, 0.4])
        write_rounds_of(folder, seed, "top", [0.2, 0.3])
        write_rounds_of(folder, seed, "kdpp", [0.2, 0.6])
        write_rounds_of(folder, seed, "ceiling", [0.8])
    return folder


def test_a_published_result_speaks_for_its_rows_by_the_arms_that_they_name(study: Path, tmp_path: Path) -> None:
    path = publish(study, tmp_path / "results", tmp_path / "recipes")

    told = {found.method.id: found for found in standings(tmp_path / "results", tmp_path / "recipes")}
    assert told["A5"].result == told["B3"].result == path.name
    # Trapezoids: kdpp's curve lies 0.1 over random's on the mean, for both seeds.
    assert told["A5"].figure == (
        "mIoU at 20 labels, 2 seeds: random 0.400 ± 0.000, kdpp 0.600 ± 0.000, all labels 0.800 ± 0.000; "
        "curve over random of the same model: kdpp +0.100 (+0.100 to +0.100)"
    )
    assert "top 0.300 ± 0.000" in told["B3"].figure
    assert told["A6"].result is None


def test_a_result_holds_what_it_takes_to_doubt_it(study: Path, tmp_path: Path) -> None:
    found = json.loads(publish(study, tmp_path, tmp_path).read_text(encoding="utf-8"))

    assert found["recipe"]["learning"]["steps"] == 4
    assert found["report"]["recipe_hash"] == load_recipe(study.parent.parent / "boxes.toml").hash
    assert [arm["seeds"] for arm in found["report"]["arms"]] == [[0, 1]] * 3


def test_rows_may_be_named_after_a_study_was_run_but_only_those_of_its_recipe(study: Path, tmp_path: Path) -> None:
    text = RECIPE.replace('rows = ["A5", "B3"]', 'rows = { A6 = ["kdpp"] }')
    write_recipe(tmp_path / "same", text)
    write_recipe(tmp_path / "other", text.replace("steps = 4", "steps = 5"))

    same, other = (
        json.loads(publish(study, tmp_path / name / "results", tmp_path / name).read_text(encoding="utf-8"))
        for name in ("same", "other")
    )

    assert (same["rows"], list(same["figures"]), same["report"]["rows"]) == (["A6"], ["A6"], ["A6"])
    assert (other["rows"], other["recipe"]["learning"]["steps"]) == (["A5", "B3"], 4)


def test_an_unfinished_study_is_not_published(study: Path, tmp_path: Path) -> None:
    write_rounds_of(study, 1, "top", [0.2])

    with pytest.raises(StateError, match=r"top not held to the end .* nothing was published"):
        publish(study, tmp_path / "results", tmp_path / "recipes")

    assert list((tmp_path / "results").iterdir()) == []


def test_the_command_writes_each_study_of_a_folder(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["experiment", "publish", str(study.parent), "--json", "--to"]
    assert main([*words, str(tmp_path / "nope")]) == 1
    assert "nope: no such folder; nothing was published" in capsys.readouterr().err

    assert main([*words, str(tmp_path / "results")]) == 0

    told = msgspec.json.decode(capsys.readouterr().out)
    assert Path(told["path"]).is_file()
    assert told["study"] == "boxes"


def test_a_study_that_lacks_a_seed_of_its_recipe_is_not_published(study: Path, tmp_path: Path) -> None:
    text = RECIPE.replace("seeds = [0]", "seeds = [0, 1, 2]").replace('rows = ["A5", "B3"]', "rows = []")
    write_recipe(tmp_path / "recipes", text)

    with pytest.raises(StateError, match="boxes: seeds 2 of the recipe were not held; nothing was published"):
        publish(study, tmp_path / "results", tmp_path / "recipes")

    assert list((tmp_path / "results").iterdir()) == []


def test_a_result_of_another_recipe_is_not_replaced(study: Path, tmp_path: Path) -> None:
    path = publish(study, tmp_path, tmp_path)
    other = tmp_path / "other" / "boxes"
    recipe = load_recipe(write_recipe(tmp_path / "changed", RECIPE.replace("steps = 4", "steps = 5")))
    open_study(other, record_of(recipe))
    for arm in ("random", "top", "kdpp"):
        write_rounds_of(other, 0, arm, [0.3, 0.4])
    before = path.read_bytes()

    with pytest.raises(
        StateError, match=r"a result of recipe .*; nothing was published, remove the file to replace it"
    ):
        publish(other, tmp_path, tmp_path)

    assert path.read_bytes() == before
    assert publish(study, tmp_path, tmp_path) == path


def test_a_file_of_that_name_that_is_no_study_s_result_is_not_replaced(study: Path, tmp_path: Path) -> None:
    path = publish(study, tmp_path, tmp_path)
    path.write_text("[1]", encoding="utf-8")

    with pytest.raises(StateError, match="a result of recipe none, this study's: "):
        publish(study, tmp_path, tmp_path)

    assert path.read_text(encoding="utf-8") == "[1]"


def test_a_result_whose_recipe_has_changed_says_so(study: Path, tmp_path: Path) -> None:
    publish(study, tmp_path, tmp_path)
    text = RECIPE.replace('rows = ["A5", "B3"]', 'rows = { A5 = ["kdpp"], B3 = [] }')
    told = {}
    for name, steps in (("same", 4), ("changed", 5)):
        write_recipe(tmp_path / name, text.replace("steps = 4", f"steps = {steps}"))
        told[name] = {found.method.id: found.figure for found in standings(tmp_path, tmp_path / name)}["A5"]

    assert told["changed"] == f"{told['same']} (of an older recipe)"
