"""Every recipe of the house, those that wait for a GPU too, is held to its end on a tiny set by a tiny model: its settings go together."""

from pathlib import Path
from typing import Final

import pytest
from msgspec.structs import replace

from shared.clock import SystemClock
from shared.console import Console
from tests.trainer.experiment.datasets.test_arrays import write_idx
from tests.trainer.experiment.studies import write_tiny_set
from tests.trainer.learning.classification.pictures import quadrants
from trainer.experiment.cutting import ScheduleTable
from trainer.experiment.recipe import Arm, DataTable, Recipe, StudyAcquisition, load_recipe
from trainer.experiment.record import read_rounds
from trainer.experiment.study import Study

ROOT = Path(__file__).resolve().parents[3]
RECIPES = sorted((ROOT / "recipes").glob("*.toml"))
CLASSIFICATION: Final = ("fashion_mnist", "cifar10", "caltech101")
ENCODER: Final = "compact-4"
#: In colour, more numbers than an embedding of pixels takes as they are.
SIZE_PX: Final = (48, 96)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve images of boxes, and sixty of ten classes."""
    sets = write_tiny_set(tmp_path_factory.mktemp("sets"))
    (sets / "fashion_mnist").mkdir()
    images, labels = quadrants(80, 1, classes=10)
    for stem, part in (("train", slice(60)), ("t10k", slice(60, 80))):
        write_idx(sets / "fashion_mnist" / f"{stem}-images-idx3-ubyte", images[part, ..., 0])
        write_idx(sets / "fashion_mnist" / f"{stem}-labels-idx1-ubyte", labels[part])
    return sets


def tiny(recipe: Recipe) -> Recipe:
    """Keep what is compared with what, and take little of everything else."""
    classifies = recipe.data.name in CLASSIFICATION
    data = DataTable(
        name="fashion_mnist" if classifies else "tiny",
        measured=recipe.data.measured,
        size_px=None if classifies else SIZE_PX,
        channels=None if classifies else 3,
        repeated=recipe.data.repeated,
    )
    growth = recipe.schedule.growth
    # Of pixels a click falls on each of eight images.
    few = (
        ScheduleTable(first=8, per_round=8, rounds=2)
        if recipe.unit.clicked
        else ScheduleTable(first=3, per_round=3, rounds=2)
    )
    return replace(
        recipe,
        data=data,
        unit=replace(recipe.unit, side_px=None if recipe.unit.side_px is None else min(16, recipe.unit.side_px)),
        schedule=few if growth == "fixed" else ScheduleTable(growth=growth, total=32),
        arm=tuple(replace(arm, informative=4, **tables(arm, classifies=classifies)) for arm in recipe.arm),
        ceiling_steps=None if recipe.ceiling_steps is None else 12,
        **tables(recipe, classifies=classifies),
    )


def tables(of: Recipe | Arm, *, classifies: bool) -> dict[str, object]:
    """Make the tables of a recipe, or those that an arm sets apart, quick; those of the other task stay away."""
    quick = {"architecture": "compact", "encoder": ENCODER, "steps": 12, "minibatch": 2, "learning_rate": 0.02}
    own = (
        {"classifier": of.classifier and replace(of.classifier, network="dense-4", epochs=1)}
        if classifies
        else {"learning": of.learning and replace(of.learning, threads=1, **quick)}
    )
    return own | {
        "space": of.space and replace(of.space, encoder=ENCODER, steps=1, minibatch=4),
        "acquisition": of.acquisition and counted(of.acquisition),
    }


def counted(asked: StudyAcquisition) -> StudyAcquisition:
    """Count where a model that knows nothing yet still differs: it has no entropy below the papers' log 2."""
    return replace(asked, threshold=1.0) if (asked.measure, asked.aggregation) == ("entropy", "count") else asked


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_of_the_house_can_be_held_to_its_end(path: Path, sets: Path, tmp_path: Path) -> None:
    recipe = tiny(load_recipe(path))
    study = Study(path.stem, recipe, sets, tmp_path, Console(as_json=True), SystemClock(), "a test")

    study.run_seed(study.prepare(), 0)

    held = {arm.name: read_rounds(study.folder / "seed-0" / f"{arm.name}.jsonl") for arm in recipe.arms}
    rounds = len(recipe.schedule.additions())
    assert {name: len(records) for name, records in held.items()} == dict.fromkeys(held, rounds)
    assert len({records[0].picks.units for records in held.values()}) == 1
