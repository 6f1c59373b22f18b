"""The benchmark of learning: its crops, its ratios, and how it judges; not what it measures."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from shared.errors import InputError
from shared.images import encode_image

ROOT = Path(__file__).parents[3]


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module(f"benchmarks.learning.{name}")


def test_a_ratio_is_the_median_of_pairs_that_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = module("pairs", monkeypatch)
    order: list[str] = []
    now = 0.0

    def work(name: str, *, took: list[float]) -> None:
        nonlocal now
        order.append(name)
        now += took.pop(0)

    monkeypatch.setattr(pairs, "clock", lambda: now)
    mine, theirs = [9.0, 2.0, 6.0, 4.0], [9.0, 2.0, 2.0, 2.0]

    ratio, ours, bare = pairs.in_turns(lambda: work("ours", took=mine), lambda: work("bare", took=theirs), pairs=3)

    # The first of each warms up.
    assert (ratio, ours, bare) == (2.0, 4.0, 2.0)
    assert order == ["ours", "bare", "ours", "bare", "bare", "ours", "ours", "bare"]


def test_each_missed_target_is_named_with_what_was_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = module("__main__", monkeypatch)

    missed = bench.missed(
        {
            "step compact": {"ratio": 1.0999},
            "rescore unet": {"ratio": 1.25},
            "memory": {"growth": 1.2, "pools": (2000, 10000)},
        }
    )

    assert missed == [
        "rescore unet: 1.250 of bare PyTorch, the target is 1.1",
        "memory: 1.20 times at 10000 crops, the target is 1.1",
    ]


def test_crops_are_labelled_where_a_patch_is_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    crops = module("crops", monkeypatch)

    some, again = (crops.read_crops(None, count=3, side_px=64) for _ in range(2))

    assert (some.images == again.images).all()
    assert some.images.shape == (3, 64, 64, 1)
    assert (some.masks[:, 16:48, 16:48] < crops.CLASSES).all()
    assert (some.masks != 255).sum() == 3 * 32 * 32


def test_crops_come_from_a_folder_of_images_that_are_large_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crops = module("crops", monkeypatch)
    (tmp_path / "small.png").write_bytes(encode_image(np.zeros((20, 90, 1), np.uint8)))
    with pytest.raises(InputError, match="no image of at least 64 px"):
        crops.read_crops(tmp_path, count=2, side_px=64)
    (tmp_path / "large.png").write_bytes(encode_image(np.full((70, 90, 1), 7, np.uint8)))

    found = crops.read_crops(tmp_path, count=2, side_px=64)

    assert (found.images == 7).all()
