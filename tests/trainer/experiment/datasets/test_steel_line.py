"""The simulated line as a data set: redundant to learn from, even to measure on."""

from pathlib import Path

import numpy as np
import pytest

from shared.errors import ConfigError
from trainer.experiment.datasets.dataset import DataSet, Request
from trainer.experiment.datasets.open import open_dataset
from trainer.experiment.datasets.steel_line import PLANTED, RATES, STREAM_FRAMES
from trainer.labelling.masks import IGNORE


def opened(*, size_px: tuple[int, int] | None = None) -> DataSet:
    return open_dataset(None, Request(name="steel_line", seed=0, size_px=size_px), work=Path("unused"))


def test_it_needs_no_folder_and_every_frame_is_the_same_again() -> None:
    first, second = opened(), opened()
    key = first.splits["train"][17]

    assert first.splits == second.splits
    np.testing.assert_array_equal(first.image(key), second.image(key))
    np.testing.assert_array_equal(first.mask(key), second.mask(key))
    assert first.image(key).shape == (256, 256, 1)


def test_the_stream_is_redundant_and_the_measured_splits_hold_every_class_alike() -> None:
    data = opened(size_px=(128, 128))

    assert {split: len(keys) for split, keys in data.splits.items()} == {
        "train": STREAM_FRAMES,
        "val": PLANTED * len(RATES),
        "test": PLANTED * len(RATES),
    }
    quarters = [data.mask(key).reshape(4, 32, 4, 32) for key in data.splits["train"][:200]]
    clean = np.mean([~np.isin(patches, range(1, 9)).any(axis=(1, 3)) for patches in quarters])
    planted = [origin.rsplit(" ", 1)[1] for origin in map(data.origin, data.splits["val"])]
    assert clean > 0.85
    assert {name: planted.count(name) for name in data.classes[1:]} == dict.fromkeys(data.classes[1:], PLANTED)


def test_a_planted_frame_shows_its_class_in_a_window_and_nothing_else_is_measured() -> None:
    data = opened()

    shown, known = 0, set()
    for key in data.splits["test"][:24]:
        name, mask = data.origin(key).rsplit(" ", 1)[1], data.mask(key)
        shown += bool((mask == data.classes.index(name)).any())
        known.add(int((mask != IGNORE).sum()))

    assert shown == 24
    assert known == {128 * 128}


def test_a_set_on_disk_without_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--data DIR"):
        open_dataset(None, Request(name="camvid", seed=0), work=tmp_path)
