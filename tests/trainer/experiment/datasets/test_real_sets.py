"""The real sets, where somebody has them: what their owners count, disjoint splits, classes within range."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.learning.classification.pictures import quiet
from trainer.experiment.datasets.dataset import DataSet, Request
from trainer.experiment.datasets.open import open_dataset

pytestmark = pytest.mark.data

SETS: dict[str, dict[str, Any]] = {
    "camvid": {"splits": (367, 101, 233), "kind": "official", "classes": 11, "channels": 3, "size": (360, 480)},
    "neu899": {"splits": (549, 180, 170), "kind": "grouped", "classes": 4, "channels": 1, "size": (200, 200)},
    "crackforest": {"splits": (68, 25, 25), "kind": "grouped", "classes": 2, "channels": 3, "size": (320, 480)},
    "fashion_mnist": {
        "splits": (54_000, 6_000, 10_000),
        "kind": "official",
        "classes": 10,
        "channels": 1,
        "size": (28, 28),
    },
}


@pytest.fixture(scope="module")
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory: Path = request.config.getoption("--data")
    work = tmp_path_factory.mktemp("work")

    def open_one(name: str, **fields: Any) -> DataSet:
        if not any((directory / found).exists() for found in (name, f"{name}.tar.xz")):
            pytest.skip(f"{directory} has no {name}")
        return open_dataset(directory, Request(name=name, seed=1, **fields), work=work)

    return open_one


@pytest.mark.parametrize("name", sorted(SETS))
def test_a_real_set_is_as_its_owners_count_it(opened: Any, name: str) -> None:
    expected = SETS[name]

    data = opened(name)

    assert tuple(len(data.splits[split]) for split in ("train", "val", "test")) == expected["splits"]
    assert (data.split_kind, len(data.classes), data.channels) == (
        expected["kind"],
        expected["classes"],
        expected["channels"],
    )
    keys = [key for split in data.splits.values() for key in split]
    assert len(keys) == len(set(keys)) == sum(expected["splits"])


@pytest.mark.parametrize("name", sorted(SETS))
def test_the_truth_of_a_real_set_is_within_its_classes(opened: Any, name: str) -> None:
    data, seen = opened(name), set()

    for split, keys in data.splits.items():
        # Every tenth or so of a set says enough; all masks are read by the reading of all.
        for key in keys[:: max(1, len(keys) // 40)]:
            assert data.image(key).shape == (*SETS[name]["size"], data.channels), split
            truth = np.array(data.label(key)) if data.task == "classification" else data.mask(key)
            seen |= set(np.unique(truth).tolist())

    assert seen - {data.ignore} == set(range(len(data.classes)))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["camvid", "crackforest", "neu899"])
def test_every_file_of_a_real_set_can_be_used(opened: Any, name: str) -> None:
    data = opened(name)

    assert len(list(data.read(tuple(data.splits), step=quiet))) == len(data.items)


def test_the_official_split_that_a_real_set_has_not_is_refused(opened: Any) -> None:
    with pytest.raises(Exception, match='no split "official"; it has grouped'):
        opened("neu899", split="official")
