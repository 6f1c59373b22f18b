"""A study: what it leaves on disk, and that it goes on after a kill as it would have gone on without."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from deploy.cli import main
from shared.console import Console
from shared.errors import ConfigError, StateError
from tests.trainer.experiment.studies import RECIPE, Cut, write_recipe, write_tiny_set
from trainer.experiment.draws import fit_seed, random_start, space_seed
from trainer.experiment.learner import Labelled
from trainer.experiment.record import RoundRecord, claimed, open_study, read_rounds, read_study
from trainer.experiment.runner import read_seeds, run
from trainer.experiment.segmenting import FittedSegmentation, SegmentationLearner
from trainer.experiment.walk import Walk, near_duplicate_share

ROOT = Path(__file__).resolve().parents[3]
ARMS = ("random", "top", "kdpp")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_set(tmp_path_factory.mktemp("sets"))


@pytest.fixture(scope="module")
def unbroken(sets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study that nothing disturbed."""
    folder = tmp_path_factory.mktemp("unbroken")
    hold(write_recipe(folder), sets, folder / "out")
    return folder / "out" / "boxes"


def hold(recipe: Path, sets: Path, out: Path, *, seeds: tuple[int, ...] | None = None, jobs: int = 1) -> None:
    run(recipe, data=sets, out=out, seeds=seeds, jobs=jobs, console=Console(as_json=True))


def rounds_of(study: Path, *, seed: int = 0) -> dict[str, list[RoundRecord]]:
    return {name: read_rounds(study / f"seed-{seed}" / f"{name}.jsonl") for name in (*ARMS, "ceiling")}


def untimed(rounds: dict[str, list[RoundRecord]]) -> dict[str, list[RoundRecord]]:
    """Take away what no two runs share."""

    def plain(record: RoundRecord) -> RoundRecord:
        picks = msgspec.structs.replace(record.picks, seconds=0.0)
        following = record.next and msgspec.structs.replace(record.next, seconds=0.0)
        return msgspec.structs.replace(record, picks=picks, next=following, fit_s=0.0, score_s=0.0)

    return {name: [plain(record) for record in records] for name, records in rounds.items()}


def test_every_arm_starts_alike_and_learns_what_it_chose(unbroken: Path) -> None:
    rounds = rounds_of(unbroken)

    starts = {rounds[name][0].picks.units for name in ARMS}
    assert starts == {random_start(0, count=32, first=4)}
    assert {rounds[name][0].value for name in ARMS} == {rounds["top"][0].value}
    for name in ARMS:
        first, second = rounds[name]
        assert first.next == second.picks
        assert second.next is None
        assert (first.labels, second.labels) == (4, 8)
        assert (first.pixels, second.pixels) == (4 * 256, 8 * 256)
        assert len({*first.picks.units, *second.picks.units}) == 8
        assert len(second.per_class) == 3
    assert rounds["ceiling"][0].labels == 32


def test_a_task_encoder_of_a_study_sees_the_start_set_and_no_other_label(
    sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = RECIPE.replace("seeds = [0]", "seeds = [0]\nceiling = false").replace("rounds = 2", "rounds = 1")
    recipe = write_recipe(tmp_path, text.replace('source = "untrained"', 'source = "task"'))
    learned: list[tuple[tuple[int, ...], int]] = []
    fit = SegmentationLearner.fit

    def seen(self: SegmentationLearner, labelled: Labelled, **how: Any) -> FittedSegmentation:
        learned.append((labelled.units, how["seed"]))
        return fit(self, labelled, **how)

    monkeypatch.setattr(SegmentationLearner, "fit", seen)

    hold(recipe, sets, tmp_path / "out")

    # The encoder and the first round: the same units, each by chance of its own.
    assert {units for units, _ in learned} == {random_start(0, count=32, first=4)}
    assert {seed for _, seed in learned} == {space_seed(0), fit_seed(0, 0)}
    assert space_seed(0) != fit_seed(0, 0)


def test_a_report_stands_beside_the_rounds(unbroken: Path) -> None:
    page = (unbroken / "report.md").read_text(encoding="utf-8")

    assert page.startswith("# tiny boxes\n")
    assert all(f"| {name} | 1 |" in page for name in ARMS)
    assert json.loads((unbroken / "report.json").read_text(encoding="utf-8"))["rows"] == ["A5", "B3"]


@pytest.mark.slow
def test_a_study_that_was_killed_goes_on_as_it_would_have(unbroken: Path, sets: Path, tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / "out"
    command = [sys.executable, "-m", "trainer.experiment", str(recipe), str(sets), str(out), "0", "json", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
        assert child.stdout is not None
        # In the middle of an arm: the first round of "top" is on disk, the second has begun.
        next(event for event in events(child.stdout) if (event.get("arm"), event.get("round")) == ("top", 0))
        child.kill()
    left = rounds_of(out / "boxes")

    hold(recipe, sets, out)

    assert len(left["random"]) == 2
    assert len(left["kdpp"]) == 0
    assert rounds_of(out / "boxes")["random"] == left["random"]
    assert untimed(rounds_of(out / "boxes")) == untimed(rounds_of(unbroken))


def test_done_rounds_are_not_held_again(unbroken: Path, sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = rounds_of(unbroken)

    hold(write_recipe(unbroken.parent.parent), sets, unbroken.parent)

    assert rounds_of(unbroken) == before
    assert '"event": "round"' not in capsys.readouterr().out


@pytest.mark.slow
def test_meal_goes_on_in_the_layout_it_began_with(sets: Path, tmp_path: Path) -> None:
    text = RECIPE[: RECIPE.index("[[arm]]")].replace("rounds = 2", "rounds = 3") + (
        '[[arm]]\nname = "meal"\nstrategy = "meal"\ninformative = 12\n'
    )
    recipe = write_recipe(tmp_path, text.replace("seeds = [0]", "seeds = [0]\nceiling = false"))
    hold(recipe, sets, tmp_path / "out")
    path = tmp_path / "out" / "boxes" / "seed-0" / "meal.jsonl"
    whole = read_rounds(path)
    # As a kill in the second round leaves it: the third batch is chosen by a process of its own.
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])

    hold(recipe, sets, tmp_path / "out")

    assert [record.picks.units for record in read_rounds(path)] == [record.picks.units for record in whole]


@pytest.mark.slow
def test_seeds_in_processes_of_their_own_give_the_same(unbroken: Path, sets: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)

    hold(recipe, sets, tmp_path / "out", seeds=(0, 5), jobs=2)

    study = tmp_path / "out" / "boxes"
    assert untimed(rounds_of(study)) == untimed(rounds_of(unbroken))
    assert rounds_of(study, seed=5)["top"][0].picks.units == random_start(5, count=32, first=4)


@pytest.mark.slow
def test_seeds_end_with_a_parent_that_was_killed(sets: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, RECIPE.replace("steps = 4", "steps = 10000000"))
    code = "import sys; from pathlib import Path; from shared.console import Console; from trainer.experiment.runner import run; r, d, o = map(Path, sys.argv[1:]); run(r, data=d, out=o, seeds=(0, 1), jobs=2, console=Console(as_json=True))"
    command = [sys.executable, "-c", code, str(recipe), str(sets), str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, start_new_session=True) as parent:
        assert parent.stdout is not None
        try:
            # The parent tells of no embeddings: this is a child, at work.
            next(event for event in events(parent.stdout) if "seed" in event)

            parent.kill()

            # The children hold the other end: it closes when the last of them is gone.
            parent.communicate(timeout=60)
        finally:
            # Whoever is left, when this test fails, is of the parent's own session.
            with suppress(ProcessLookupError):
                os.killpg(parent.pid, signal.SIGKILL)


def test_results_of_another_recipe_are_refused_and_kept(unbroken: Path, sets: Path, tmp_path: Path) -> None:
    other = write_recipe(tmp_path, RECIPE.replace("steps = 4", "steps = 5"))
    before = {path: path.read_bytes() for path in unbroken.rglob("*") if path.is_file()}

    with pytest.raises(StateError, match=r"study.json: its results are of recipe .* give another --out"):
        hold(other, sets, unbroken.parent)

    assert {path: path.read_bytes() for path in unbroken.rglob("*") if path.is_file()} == before
    assert read_study(unbroken).recipe.learning.steps == 4


def test_a_schedule_beyond_the_set_is_refused(sets: Path, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path, RECIPE.replace("per_round = 4", "per_round = 400"))

    with pytest.raises(ConfigError, match="404 units in all, tiny has 32"):
        hold(recipe, sets, tmp_path / "out")

    assert not list((tmp_path / "out").rglob("*.json*"))


def test_a_recipe_without_a_result_may_be_mended_in_place(tmp_path: Path, unbroken: Path) -> None:
    first = read_study(unbroken)
    mended = replace(first, recipe_hash="0" * 64)
    open_study(tmp_path, first)
    (tmp_path / "seed-0").mkdir()
    (tmp_path / "seed-0" / ".lock").touch()

    open_study(tmp_path, mended)
    assert read_study(tmp_path) == mended

    (tmp_path / "seed-0" / "space-1.npy").touch()
    with pytest.raises(StateError, match="give another --out"):
        open_study(tmp_path, first)
    assert read_study(tmp_path) == mended


def test_an_arm_may_be_called_start_and_decides_its_own_space_alone(unbroken: Path, sets: Path, tmp_path: Path) -> None:
    arm = '[[arm]]\nname = "start"\nstrategy = "top"\nspace = { source = "pixels" }\n'
    out = tmp_path / "out"

    run(
        write_recipe(tmp_path, RECIPE + arm),
        data=sets,
        out=out,
        seeds=None,
        jobs=1,
        console=Console(as_json=True),
        arms=["random"],
    )

    assert untimed({"random": rounds_of(out / "boxes")["random"]}) == untimed({"random": rounds_of(unbroken)["random"]})


def test_some_arms_are_held_alone_as_they_would_be_beside_all(unbroken: Path, sets: Path, tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / "out"

    run(recipe, data=sets, out=out, seeds=None, jobs=1, console=Console(as_json=True), arms=["kdpp"])

    alone = rounds_of(out / "boxes")
    assert (len(alone["random"]), len(alone["top"])) == (0, 0)
    assert untimed({"kdpp": alone["kdpp"]}) == untimed({"kdpp": rounds_of(unbroken)["kdpp"]})
    assert '"unfinished": ["random", "top"]' in json.dumps(json.loads((out / "boxes" / "report.json").read_text()))


def test_an_arm_of_another_grain_has_embeddings_of_its_own(sets: Path, tmp_path: Path) -> None:
    """Patches of 16 px are padded to 32 where a network halves five times: who came first must decide nothing."""
    own = RECIPE.replace("seeds = [0]", "seeds = [0]\nceiling = false").replace(
        "rows = 2\ncols = 2", "rows = 3\ncols = 3"
    )
    deep = '\n[[arm]]\nname = "deep"\nlearning = { architecture = "compact", encoder = "compact-8-8-8-8", steps = 4, minibatch = 4, threads = 1 }\n'
    recipe = write_recipe(tmp_path, own + deep)
    hold(recipe, sets, tmp_path / "all")

    run(recipe, data=sets, out=tmp_path / "one", seeds=None, jobs=1, console=Console(as_json=True), arms=["deep"])

    alone, beside = (read_rounds(tmp_path / out / "boxes" / "seed-0" / "deep.jsonl") for out in ("one", "all"))
    assert [record.picks.units for record in alone] == [record.picks.units for record in beside]
    assert len(list((tmp_path / "all" / "boxes" / "seed-0").glob("space-*.npy"))) == 2


def test_embeddings_tell_how_far_they_are_and_go_on_where_they_were(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = RECIPE.replace('source = "untrained"', 'source = "simclr"\nsteps = 30\nminibatch = 4\ncheckpoint_every = 5')
    text = text.replace("seeds = [0]", "seeds = [0]\nceiling = false").replace("rounds = 2", "rounds = 1")
    recipe = write_recipe(tmp_path, text)
    hold(recipe, sets, tmp_path / "whole")
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["percent"] for line in told if line.get("what") == "embeddings"] == list(range(0, 101, 10))

    with pytest.raises(KeyboardInterrupt):
        run(recipe, data=sets, out=tmp_path / "cut", seeds=None, jobs=1, console=Cut("embeddings"))
    capsys.readouterr()
    hold(recipe, sets, tmp_path / "cut")

    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    again = [line["percent"] for line in told if line.get("what") == "embeddings"]
    assert again[0] == 0
    assert again[1] > 40
    (whole,), (cut,) = (list((tmp_path / out / "boxes" / "seed-0").glob("space-*")) for out in ("whole", "cut"))
    assert (whole.name, whole.read_bytes()) == (cut.name, cut.read_bytes())


def test_an_arm_that_the_recipe_does_not_have_is_refused(sets: Path, tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path), tmp_path / "out"

    with pytest.raises(ConfigError, match='"kddp" is not an arm of boxes; known are random, top, kdpp'):
        run(recipe, data=sets, out=out, seeds=None, jobs=1, console=Console(as_json=True), arms=["kddp"])

    assert not out.exists()


def test_an_arm_that_cannot_choose_ends_no_other(
    sets: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    literal = '[[arm]]\nname = "literal"\nstrategy = "kdpp"\nweighting = "eq3-literal"\n'
    place = RECIPE.index('[[arm]]\nname = "top"')
    recipe = write_recipe(tmp_path, RECIPE[:place] + literal + RECIPE[place:])

    with pytest.raises(StateError, match="1 of 4 arms did not end, literal"):
        hold(recipe, sets, tmp_path / "out")

    rounds = rounds_of(tmp_path / "out" / "boxes")
    assert {name: len(held) for name, held in rounds.items()} == {"random": 2, "top": 2, "kdpp": 2, "ceiling": 1}
    assert not (tmp_path / "out" / "boxes" / "seed-0" / "literal.jsonl").exists()
    assert "seed 0, literal:" in " ".join(capsys.readouterr().err.split())


def test_whoever_interrupts_a_study_is_told_how_it_goes_on(
    unbroken: Path, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_args: object, **_words: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Walk, "hold", interrupted)
    words = ["experiment", "run", str(write_recipe(tmp_path)), "--data", str(sets), "--out", str(tmp_path / "out")]

    assert main(words) == 130

    told = " ".join(capsys.readouterr().err.split())
    assert told.endswith("boxes: interrupted; finished rounds are kept there, run the same command again to go on")
    monkeypatch.undo()
    assert main(words) == 0
    assert untimed(rounds_of(tmp_path / "out" / "boxes")) == untimed(rounds_of(unbroken))


@pytest.mark.parametrize("seeds", ["0,4294967296", "-1", "1,1", "one", ""])
def test_seeds_that_no_draw_can_begin_with_are_refused(seeds: str) -> None:
    with pytest.raises(ConfigError, match=r"--seeds .*: expected different whole numbers from 0 to 4294967295"):
        read_seeds(seeds)


def test_results_of_other_labels_are_refused_and_kept(sets: Path, tmp_path: Path) -> None:
    own = tmp_path / "sets"
    shutil.copytree(sets, own)
    recipe = write_recipe(tmp_path)
    hold(recipe, own, tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    mask = own / "tiny" / "masks" / "a3.png"
    mask.write_bytes((own / "tiny" / "masks" / "a4.png").read_bytes())

    with pytest.raises(StateError, match=r"study.json: its results are of images .* bring back the old images"):
        hold(recipe, own, tmp_path / "out")

    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_every_round_says_what_computed_it_and_leaves_nothing_under_way(unbroken: Path) -> None:
    machines = {record.machine for held in rounds_of(unbroken).values() for record in held}

    assert machines == {read_study(unbroken).machine}
    assert "torch" in next(iter(machines))
    assert not (unbroken / "seed-0" / "under-way").exists()


def test_near_duplicates_of_all_arms_are_told_in_the_space_of_the_recipe(sets: Path, tmp_path: Path) -> None:
    def told(name: str, text: str) -> float:
        hold(write_recipe(tmp_path, text, name=name), sets, tmp_path / "out")
        return read_rounds(tmp_path / "out" / name / "seed-0" / "lot.jsonl")[1].picks.near_duplicates

    lot = '[[arm]]\nname = "lot"\nstrategy = "random"\n'
    plain = RECIPE[: RECIPE.index("[[arm]]")].replace("seeds = [0]", "seeds = [0]\nceiling = false") + lot

    by_recipe = told("plain", plain)
    of_pixels = told("pixels", plain.replace('source = "untrained"', 'source = "pixels"'))

    # The same units by the same lot: an arm of a space of its own is told of in that of the recipe.
    assert told("own", plain + 'space = { source = "pixels", encoder = "compact-8" }\n') == by_recipe
    assert of_pixels != by_recipe


def test_a_seed_is_held_by_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "seed-0"),
        pytest.raises(StateError, match="another run holds it"),
        claimed(tmp_path / "seed-0"),
    ):
        pass

    with claimed(tmp_path / "seed-0"):
        assert (tmp_path / "seed-0" / ".lock").is_file()


def test_near_duplicates_are_those_near_what_came_before() -> None:
    east, north = np.float32([1, 0]), np.float32([0, 1])
    chosen, known = np.stack([north, east, north, -north]), np.stack([east])

    share = near_duplicate_share(chosen, known, above=0.95)

    # The second is known, the third repeats the first.
    assert share == 2 / 4


def events(lines: Iterator[str]) -> Iterator[dict[str, object]]:
    return (json.loads(line) for line in lines)
