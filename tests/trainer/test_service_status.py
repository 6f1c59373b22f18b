"""Where a line stands, and who may hold the trainer's directory."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deploy.cli import main
from shared.errors import ConfigError, StateError
from shared.release import release_path
from trainer.paths import TrainerPaths, load, pick_line
from trainer.pool.pool import Pick, Pool, Returned
from trainer.standing import standing

Fill = Callable[..., list[str]]


@pytest.fixture
def site_toml(tmp_path: Path, line_toml: str) -> Path:
    (tmp_path / "strip.toml").write_text(line_toml, encoding="utf-8")
    (tmp_path / "site.toml").write_text('site = "mill"\nlines = ["strip.toml"]\n', encoding="utf-8")
    return tmp_path / "site.toml"


def test_a_lines_standing_counts_what_is_there(site_toml: Path, pool: Pool, fill: Fill) -> None:
    _, _, paths = load(site_toml)
    ids = fill(range(6))
    pool.hand_over("strip", 1, [Pick(ids[0], "reference", {}), Pick(ids[1], "train", {}), Pick(ids[2], "train", {})])
    pool.label([Returned(name, np.zeros((64, 64), np.uint8), "me") for name in ids[:2]])
    pool.put_round("strip", 1, "label", {"run": "strip-r0"})
    for release in ("strip-9999", "strip-10000", "strip-10001"):
        (paths.public / release_path("strip", release)).parent.mkdir(parents=True)
    for release in ("strip-9999", "strip-10000"):
        (paths.public / release_path("strip", release)).write_text("{}")

    found = standing(pool, "strip", paths)

    assert found.pool == {"pool": 3, "handed": 1, "labelled": 2}
    assert found.labels == {"train": 1, "reference": 1, "seed": 0}
    assert (found.round, found.stage, found.run, found.release) == (1, "label", "strip-r0", "strip-10000")
    assert found.counters["received"] == 6


@pytest.mark.parametrize(
    ("newest", "verdict"),
    [
        ({"passed": True, "override": None}, "passed"),
        ({"passed": False, "override": None}, "held back"),
        ({"passed": False, "override": {"reason": "r", "by": "b", "at": 0.0}}, "overridden"),
        ({"passed": None}, "passed"),
    ],
)
def test_status_tells_the_newest_verdict_and_how_well_the_nodes_scores_agreed_last(
    newest: dict[str, object], verdict: str, site_toml: Path, pool: Pool, capsys: pytest.CaptureFixture[str]
) -> None:
    pool.put_round("strip", 0, "done", {"run": "strip-r0", "passed": True, "rank_correlation": 0.934})
    pool.put_round("strip", 1, "train", {"run": "strip-r0", "rank_correlation": None, **newest})

    assert main(["trainer", "status", str(site_toml), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert main(["trainer", "status", str(site_toml)]) == 0
    shown = capsys.readouterr().out

    assert (told["gate"], told["rank_correlation"]) == (verdict, 0.934)
    assert verdict in shown
    assert "0.93" in shown


@pytest.mark.usefixtures("pool")
def test_status_prints_one_object_a_line(site_toml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trainer", "status", str(site_toml), "--json"]) == 0

    (told,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (told["event"], told["line"], told["round"], told["run"]) == ("status", "strip", 0, None)
    assert told["stage"] == "space"
    assert told["pool"] == {"pool": 0, "handed": 0, "labelled": 0}


def test_status_for_people_names_each_number(site_toml: Path, fill: Fill, capsys: pytest.CaptureFixture[str]) -> None:
    fill(range(7))

    assert main(["trainer", "status", str(site_toml)]) == 0

    cells = [[cell.strip() for cell in line.strip("│ ").split("│")] for line in capsys.readouterr().out.splitlines()]
    assert ["pool", "7"] in cells
    assert ["received", "7"] in cells


def test_status_before_the_first_serve_is_one_line_and_makes_nothing(
    site_toml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["trainer", "status", str(site_toml)]) == 1

    assert capsys.readouterr().err.count("\n") == 1
    assert not (site_toml.parent / "trainer").exists()


def test_labels_go_out_and_come_back_through_the_commands(
    site_toml: Path, tmp_path: Path, pool: Pool, fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    from shared.images import encode_image

    ids = fill(range(2))
    pool.hand_over("strip", 0, [Pick(name, "train", {}) for name in ids])
    folder = tmp_path / "out"

    assert main(["trainer", "labels", "export", str(site_toml), str(folder)]) == 0
    (folder / "masks" / f"{ids[0]}.png").write_bytes(encode_image(np.zeros((64, 64), np.uint8)))
    assert main(["trainer", "labels", "import", str(site_toml), str(folder), "--dry-run"]) == 0
    assert pool.labelled("strip", "train") == []
    assert main(["trainer", "labels", "import", str(site_toml), str(folder), "--line", "strip", "--json"]) == 0

    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["event"], told["painted"], told["missing"]) == ("labels_imported", 1, 1)
    assert pool.labelled("strip", "train") == ids[:1]


def test_a_faulty_import_is_said_file_by_file(
    site_toml: Path, tmp_path: Path, pool: Pool, fill: Fill, capsys: pytest.CaptureFixture[str]
) -> None:
    from shared.images import encode_image

    ids = fill(range(2))
    pool.hand_over("strip", 0, [Pick(name, "train", {}) for name in ids])
    folder = tmp_path / "out"
    main(["trainer", "labels", "export", str(site_toml), str(folder)])
    for name in ids:
        (folder / "masks" / f"{name}.png").write_bytes(encode_image(np.full((64, 64), 77, np.uint8)))

    assert main(["trainer", "labels", "import", str(site_toml), str(folder)]) == 1

    said = capsys.readouterr().err
    assert said.count("undeclared values 77 (4096 px)") == 2
    assert "Traceback" not in said
    assert len(pool.open_tasks("strip")) == 2


def test_a_directory_is_claimed_by_one_at_a_time(tmp_path: Path) -> None:
    paths = TrainerPaths(tmp_path / "trainer")

    with (
        paths.claim("serve"),
        paths.claim("rounds-strip"),
        pytest.raises(StateError, match='"serve" is held by process'),
        paths.claim("serve"),
    ):
        pytest.fail("it was claimed twice")
    with paths.claim("serve"):
        pass


def test_a_directory_that_cannot_be_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(ConfigError, match="file"):
        TrainerPaths(tmp_path / "file").make()


def test_a_line_is_picked_by_name_and_the_known_ones_are_said(site_toml: Path) -> None:
    _, lines, _ = load(site_toml)

    assert pick_line(lines, None).line == "strip"
    with pytest.raises(ConfigError, match='"other" is not a line of the site; known lines are strip'):
        pick_line(lines, "other")
    with pytest.raises(ConfigError, match="name one of a, b"):
        pick_line({"a": lines["strip"], "b": lines["strip"]}, None)
