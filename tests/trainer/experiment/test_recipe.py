"""Recipes: every fault is told with its key, and whatever changes a number changes the hash."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace

from shared.errors import ConfigError
from tests.trainer.experiment.studies import RECIPE, write_recipe
from trainer.experiment.comparison import lot_of
from trainer.experiment.datasets.arrays import ArraySource
from trainer.experiment.datasets.dataset import DataSet, Task
from trainer.experiment.grounds import refuse_models
from trainer.experiment.recipe import StudyAcquisition, load_recipe
from trainer.experiment.units import Parts

ROOT = Path(__file__).resolve().parents[3]
CLASSIFICATION = ("fashion_mnist", "cifar10", "caltech101")


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_every_recipe_of_the_house_is_sound(path: Path) -> None:
    recipe = load_recipe(path)

    assert recipe.rows
    assert "CPU" in recipe.title or not path.stem.endswith("-cpu")


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_every_arm_of_the_house_has_chance_under_its_own_model_beside_it(path: Path) -> None:
    recipe = load_recipe(path)

    assert [arm.name for arm in recipe.arms if lot_of(recipe, arm.name) is None] == []


def test_what_chooses_a_default_is_not_measured_on_test() -> None:
    assert load_recipe(ROOT / "recipes" / "neu899-defaults-cpu.toml").data.measured == "val"


def test_a_start_set_cannot_be_drawn_from_an_encoder_that_learns_from_it(tmp_path: Path) -> None:
    text = RECIPE.replace("seeds = [0]", 'seeds = [0]\nstart = "kdpp"').replace('"untrained"', '"task"')

    with pytest.raises(ConfigError, match=r'start "kdpp" with space\.source "task"'):
        load_recipe(write_recipe(tmp_path, text))


def test_a_recipe_reads_as_it_stands(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path))

    assert recipe.unit.rule == Parts(rows=2, cols=2)
    assert recipe.schedule.additions() == (4, 4)
    assert [arm.strategy for arm in recipe.arms] == ["random", "top", "kdpp"]


def test_all_faults_are_told_at_once_each_with_its_key(tmp_path: Path) -> None:
    text = (
        RECIPE.replace("rounds = 2", "")
        .replace('strategy = "top"', 'strategy = "topp"')
        .replace('aggregation = "top"', 'aggregation = "median"')
        .replace("rows = 2\ncols = 2", "rows = 2")
        .replace('rows = ["A5", "B3"]', 'rows = ["A5", "Z9"]')
        .replace("[data]", "[data]\ncolour = 3")
    )
    path = write_recipe(tmp_path, text)

    with pytest.raises(ConfigError) as caught:
        load_recipe(path)

    told = "\n".join(caught.value.problems)
    assert all(problem.startswith(f"{path}: ") for problem in caught.value.problems)
    assert '"data.colour" is not a known key; known keys are name, split' in told
    assert 'arm[0].strategy is "topp"; known are kdpp, greedy' in told
    assert 'acquisition.aggregation is "median"; known are mean, sum, count, top' in told
    assert 'unit.kind "parts" with rows; it takes cols, rows' in told
    assert 'schedule.growth "fixed" with first, per_round; it takes first, per_round, rounds' in told
    assert "rows: Z9 not known; known are A1" in told


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('name = "kdpp"', 'name = "top"', 'arm[0] "top": named 2 times'),
        ('name = "kdpp"', 'name = "ceiling"', 'arm[1] "ceiling": strategy "kdpp"'),
        ('name = "kdpp"', 'name = "kdpp"\nbatch = 3', 'arm[1] "kdpp": batch is set'),
        ('name = "kdpp"', 'name = "kdpp"\nsampler = "lazy"', 'selection.sampler is "lazy"'),
        ("threads = 1", "threads = 1\nwarm_start = true", "learning.warm_start is true"),
        ('measure = "entropy"', 'measure = "bald"', "known are ensemble, heads, mc-dropout"),
        ('measure = "entropy"', 'measure = "entropy"\ncommittee = "heads"', "of one model"),
        ("context_px = 4", "context_px = 4\nfull = true", "a full image has no margin"),
        ('kind = "parts"', 'kind = "whole"', 'unit.kind "whole" with cols, rows; it takes no size'),
        ("seeds = [0]", "seeds = [1, 1]", "seeds: [1, 1]; expected different ones"),
        ("seeds = [0]", "seeds = [0]\nceiling_steps = 3", "ceiling_steps: 3, a round takes 4"),
        (
            'name = "kdpp"',
            'name = "explorer"\nstrategy = "meal"\ninformative = 4',
            'arm "explorer": informative 4 and rounds of up to 4; meal chooses among the informative',
        ),
    ],
)
def test_what_does_not_go_together_is_refused(old: str, new: str, told: str, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, RECIPE.replace(old, new))

    with pytest.raises(ConfigError) as caught:
        load_recipe(path)

    assert told in str(caught.value)


def test_the_hash_follows_what_changes_a_number_and_nothing_else(tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path))

    assert replace(recipe, title="other", rows=(), seeds=(7, 8)).hash == recipe.hash
    assert replace(recipe, start="kdpp").hash != recipe.hash
    assert replace(recipe, acquisition=StudyAcquisition(measure="margin")).hash != recipe.hash


def test_what_an_arm_sets_apart_takes_the_place_of_the_recipes_own(tmp_path: Path) -> None:
    text = RECIPE.replace("[[arm]]", "[[arm]]\nacquisition = { measure = 'margin' }", 1).replace(
        "seeds = [0]", "ceiling_steps = 9"
    )
    recipe = load_recipe(write_recipe(tmp_path, text))

    measures = [recipe.acquisition_of(name).measure for name in ("random", "top", "kdpp")]

    assert measures == ["entropy", "margin", "entropy"]
    assert (recipe.learning_of("ceiling").steps, recipe.learning_of("top").steps) == (9, 4)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_every_network_of_the_house_can_be_built(path: Path) -> None:
    """Those of full size wait for a GPU; that they are there can be said without."""
    recipe = load_recipe(path)
    task: Task = "classification" if recipe.data.name in CLASSIFICATION else "segmentation"
    nothing = ArraySource(Path("nothing"), np.zeros((0, 1, 1, 3), dtype=np.uint8), np.zeros(0, dtype=np.uint8))

    refuse_models(
        recipe,
        DataSet(
            name=recipe.data.name,
            task=task,
            classes=tuple("abcdefghij"),
            channels=recipe.data.channels or 3,
            size_px=None,
            split_kind="official",
            splits={},
            source=nothing,
            items={},
        ),
    )
