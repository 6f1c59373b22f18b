"""Probes as arms of a study: what they take is known beforehand, and so is what a repeated image brings."""

from pathlib import Path

import numpy as np
import pytest

from shared.console import Console
from shared.errors import ConfigError
from tests.trainer.experiment.studies import RECIPE, write_recipe, write_tiny_set
from trainer.experiment.draws import fit_seed
from trainer.experiment.grounds import lay_ground, open_data
from trainer.experiment.learner import Labelled
from trainer.experiment.recipe import CEILING, load_recipe
from trainer.experiment.record import read_rounds
from trainer.experiment.runner import run
from trainer.experiment.segmenting import FittedSegmentation, SegmentationLearner
from trainer.learning.metrics import confusion, miou

PROBES = RECIPE[: RECIPE.index("[[arm]]")].replace("seeds = [0]", "seeds = [0]\nceiling_steps = 60") + "".join(
    f'[[arm]]\nname = "{name}"\nstrategy = "top"\nprobe = "{name}"\n'
    for name in ("inverse", "most-incorrect", "expert")
)


def quiet(_done: int, _total: int) -> None:
    pass


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_set(tmp_path_factory.mktemp("sets"))


def fitted(learner: object, units: tuple[int, ...] | range) -> FittedSegmentation:
    assert isinstance(learner, SegmentationLearner)
    return learner.fit(Labelled(units, 0), seed=fit_seed(0, 0), step=quiet)


def test_each_probe_takes_what_it_says(sets: Path, tmp_path: Path) -> None:
    path = write_recipe(tmp_path, PROBES)

    run(path, data=sets, out=tmp_path / "out", seeds=None, jobs=1, console=Console(as_json=True))

    recipe = load_recipe(path)
    ground = lay_ground(recipe, open_data(recipe, sets, work=sets), step=quiet)
    taken, start = {}, ()
    for name in ("inverse", "most-incorrect", "expert"):
        first, second = read_rounds(tmp_path / "out" / "boxes" / "seed-0" / f"{name}.jsonl")
        taken[name], start = set(second.picks.units), first.picks.units
    rest = [unit for unit in range(ground.count) if unit not in start]
    model = fitted(ground.learner("inverse"), start)
    expert = fitted(ground.learner(CEILING), range(ground.count))
    doubts, known = model.scores(rest, step=quiet), expert.scores(rest, step=quiet)
    assert taken["inverse"] == {rest[place] for place in np.argsort(doubts)[:4]}
    assert taken["expert"] == {rest[place] for place in np.argsort(known)[-4:]}
    # It is not what the model itself doubts.
    assert taken["expert"] != {rest[place] for place in np.argsort(doubts)[-4:]}
    wrong = model.mistakes(rest, step=quiet)
    # Ties are many among units without a box: what was taken is no less wrong than what was left.
    left = [wrong[place] for place, unit in enumerate(rest) if unit not in taken["most-incorrect"]]
    assert min(wrong[rest.index(unit)] for unit in taken["most-incorrect"]) >= max(left)


@pytest.mark.parametrize("context", ["context_px = 4", "full = true"])
def test_mistakes_are_one_minus_the_units_own_miou(context: str, sets: Path, tmp_path: Path) -> None:
    recipe = load_recipe(
        write_recipe(tmp_path, RECIPE.replace("context_px = 4", context).replace("steps = 4", "steps = 40"))
    )
    learner = lay_ground(recipe, open_data(recipe, sets, work=sets), step=quiet).learner("top")
    model = fitted(learner, range(32))
    assert isinstance(learner, SegmentationLearner)
    units = [9, 2, 30]

    wrong = model.mistakes(units, step=quiet)

    expected = []
    for unit in units:
        ((inside, images),) = list(learner.views([unit]))
        assert inside == [[unit]]
        box = learner.pictures.units[unit].box
        top, left = (box.top, box.left) if learner.unit.full else (4, 4)
        seen = model.predicted(images)[0, top : top + 16, left : left + 16]
        truth = learner.pictures.parts["train"].masks[unit // 4][box.top : box.top + 16, box.left : box.left + 16]
        expected.append(1 - miou(confusion(truth, seen, classes=3)))
    assert wrong == pytest.approx(expected)
    assert len(set(wrong.tolist())) > 1


def test_a_repeated_image_is_half_of_the_pool_and_of_nothing_else(sets: Path, tmp_path: Path) -> None:
    recipe = load_recipe(write_recipe(tmp_path, RECIPE.replace('name = "tiny"', 'name = "tiny"\nrepeated = true')))
    plain = load_recipe(write_recipe(tmp_path, RECIPE))

    data, before = (open_data(each, sets, work=sets) for each in (recipe, plain))

    train = data.splits["train"]
    assert train[:8] == before.splits["train"]
    assert len(set(train)) == 16
    assert {data.origin(key) for key in train[8:]} == {data.origin(train[0])}
    assert data.splits["test"] == before.splits["test"]
    np.testing.assert_array_equal(data.mask(train[12]), before.mask(train[0]))


def test_a_probe_of_another_strategy_is_refused(tmp_path: Path) -> None:
    text = PROBES.replace('strategy = "top"', 'strategy = "random"', 1)

    with pytest.raises(ConfigError, match='arm "inverse": probe "inverse" with strategy "random"'):
        load_recipe(write_recipe(tmp_path, text))
