"""The methods table: every row of the papers is there, and the newest result speaks for it."""

import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import InputError
from trainer.experiment.methods import IDS
from trainer.experiment.standings import COLUMNS, NOT_YET, OUTDATED, PENDING_GPU, Standing, row_of, standings

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    f"{paper}{row}"
    for paper, count in (("A", 10), ("B", 6), ("C", 8), ("D", 6), ("E", 6))
    for row in range(1, count + 1)
]


def write(folder: Path, name: str, content: Any) -> None:
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


def row(folder: Path, name: str) -> Standing:
    return next(found for found in standings(folder, ROOT / "recipes") if found.method.id == name)


def test_every_row_of_the_papers_is_listed_once() -> None:
    assert list(IDS) == ROWS


def test_every_row_that_a_study_can_answer_has_a_recipe() -> None:
    found = standings(ROOT / "benchmarks/results", ROOT / "recipes")

    # D1 is the product: a stream of patches on a node, a pool at the trainer.
    assert [each.method.id for each in found if not each.recipes] == ["D1"]


def test_a_row_that_only_a_gpu_can_run_has_a_recipe_of_full_size() -> None:
    found = standings(ROOT / "benchmarks/results", ROOT / "recipes")

    scaled = [each.method.id for each in found if each.method.full_size and all("-cpu" in r for r in each.recipes)]
    assert scaled == []


def test_no_figure_of_the_house_is_of_an_older_recipe() -> None:
    found = standings(ROOT / "benchmarks/results", ROOT / "recipes")

    assert [each.result for each in found if OUTDATED in each.figure] == []


def test_a_row_is_written_with_the_command_that_runs_it(tmp_path: Path) -> None:
    told = dict(zip(COLUMNS, row_of(row(tmp_path, "A9")), strict=True))

    names = ("industrial-steel", "neu899-defaults-cpu")
    assert told["command"] == "; ".join(f"winnow experiment run recipes/{name}.toml" for name in names)
    assert told["figure"] == NOT_YET
    assert told["pending"] == PENDING_GPU
    assert told["result"] is None


def test_without_results_a_row_says_what_it_waits_for(tmp_path: Path) -> None:
    assert {found.figure for found in standings(tmp_path, tmp_path)} == {NOT_YET}
    assert not row(tmp_path, "A5").pending_gpu
    assert row(tmp_path, "A9").pending_gpu


def test_what_was_scaled_down_is_shown_until_the_full_size_has_run(tmp_path: Path) -> None:
    write(tmp_path, "meal-cpu-2026-02-01.json", {"rows": ["B6"], "figure": "small"})
    assert (row(tmp_path, "B6").figure, row(tmp_path, "B6").pending_gpu) == ("small", True)

    write(tmp_path, "meal-2026-01-01.json", {"rows": ["B6"], "figure": "full"})

    assert (row(tmp_path, "B6").figure, row(tmp_path, "B6").pending_gpu) == ("full", False)


def test_the_newest_result_that_names_a_row_is_shown(tmp_path: Path) -> None:
    write(tmp_path, "z-2026-01-01.json", {"rows": ["A5", "B3"], "date": "2026-01-01", "figure": "old"})
    write(tmp_path, "a-2026-02-01.json", {"rows": ["A5"], "figure": "new", "figures": {"A5": "newest"}})
    write(tmp_path, "curves.json", {"seeds": [0]})

    assert (row(tmp_path, "A5").result, row(tmp_path, "A5").figure) == ("a-2026-02-01.json", "newest")
    assert row(tmp_path, "B3").figure == "old"
    assert row(tmp_path, "A6").result is None


def test_of_one_day_the_study_that_was_made_for_a_row_speaks(tmp_path: Path) -> None:
    write(tmp_path, "meal-2026-01-01.json", {"rows": ["B3", "B4"], "figure": "its own"})
    write(tmp_path, "wide-2026-01-01.json", {"rows": ["A5", "B3", "B4"], "figure": "in passing"})

    assert row(tmp_path, "B3").figure == "its own"
    assert row(tmp_path, "A5").figure == "in passing"


def test_a_study_of_one_arm_speaks_where_nothing_compares(tmp_path: Path) -> None:
    alone = {"rows": ["A7"], "figure": "by lot", "report": {"arms": [{}]}}
    write(tmp_path, "start-2026-01-01.json", alone)
    assert row(tmp_path, "A7").figure == "by lot"

    write(tmp_path, "both-2026-01-01.json", {"rows": ["A7", "A10"], "figure": "both", "report": {"arms": [{}, {}]}})

    assert row(tmp_path, "A7").figure == "both"


def test_a_study_that_is_not_finished_speaks_for_no_row(tmp_path: Path) -> None:
    write(tmp_path, "a.json", {"rows": ["A5"], "date": "2026-01-01", "figure": "whole", "unfinished": []})
    write(tmp_path, "b.json", {"rows": ["A5"], "date": "2026-02-01", "figure": "half", "unfinished": ["kdpp"]})

    assert row(tmp_path, "A5").figure == "whole"


def test_a_result_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.json").write_text('{"rows": [', encoding="utf-8")

    with pytest.raises(InputError, match=r"torn\.json"):
        standings(tmp_path, tmp_path)
