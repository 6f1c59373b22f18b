"""A tiny set of light and dark boxes on grey, and a recipe for it that trains in a blink."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from shared.console import Console
from shared.images import encode_image
from trainer.experiment.recipe import Recipe
from trainer.experiment.record import Picks, RoundRecord, StudyRecord, write_rounds

RECIPE: Final = """
title = "tiny boxes"
rows = ["A5", "B3"]
seeds = [0]

[data]
name = "tiny"

[unit]
kind = "parts"
rows = 2
cols = 2
context_px = 4

[space]
source = "untrained"
encoder = "compact-8"

[learning]
architecture = "compact"
encoder = "compact-8"
steps = 4
minibatch = 4
threads = 1

[acquisition]
measure = "entropy"
aggregation = "top"
cell_px = 4

[schedule]
first = 4
per_round = 4
rounds = 2

[[arm]]
name = "top"
strategy = "top"

[[arm]]
name = "kdpp"
"""


def write_tiny_set(sets: Path) -> Path:
    """Write twelve images of 32 x 32 with one box each, and return the folder of sets."""
    folder = sets / "tiny"
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    names = [f"a{number}" for number in range(12)]
    for number, name in enumerate(names):
        rng = np.random.default_rng(number)
        image = rng.integers(90, 110, (32, 32, 1), dtype=np.uint8)
        mask = np.zeros((32, 32), dtype=np.uint8)
        top, left = rng.integers(0, 20, 2)
        value = 1 + number % 2
        image[top : top + 8, left : left + 10] = 250 if value == 1 else 10
        mask[top : top + 8, left : left + 10] = value
        (folder / "images" / f"{name}.png").write_bytes(encode_image(image))
        (folder / "masks" / f"{name}.png").write_bytes(encode_image(mask))
    classes = {"classes": {"0": "background", "1": "light", "2": "dark"}}
    (folder / "classes.json").write_text(json.dumps(classes), encoding="utf-8")
    split = {"official": {"train": names[:8], "val": names[8:10], "test": names[10:]}}
    (folder / "splits.json").write_text(json.dumps(split), encoding="utf-8")
    return sets


def write_recipe(folder: Path, text: str = RECIPE, *, name: str = "boxes") -> Path:
    """Write a recipe, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def record_of(recipe: Recipe) -> StudyRecord:
    """Say what the results of a recipe for the tiny set are of."""
    return StudyRecord(
        name="boxes",
        recipe=recipe,
        recipe_hash=recipe.hash,
        data_hash="",
        classes=("background", "light", "dark"),
        measure="mIoU",
        split="test",
        split_kind="official",
    )


def write_rounds_of(study: Path, seed: int, arm: str, values: Sequence[float], *, near: float = 0.0) -> None:
    """Write rounds of ten labels each as if they had been held."""
    records = [
        RoundRecord(
            round=number,
            labels=10 * (number + 1),
            pixels=0,
            split="test",
            value=value,
            per_class=(value, None, value / 2),
            picks=Picks(units=(number,), strategy=arm, seconds=float(number), near_duplicates=near),
            next=Picks(units=(number + 1,), strategy=arm),
        )
        for number, value in enumerate(values)
    ]
    write_rounds(study / f"seed-{seed}" / f"{arm}.jsonl", records)


class Cut(Console):
    """A voice that fails in the middle of what is learned first: so does whoever speaks."""

    def __init__(self, what: str) -> None:
        super().__init__(as_json=True)
        self._what = what

    def event(self, name: str, text: str = "", **fields: object) -> None:
        if fields.get("what") == self._what and fields["percent"] == 60:
            raise KeyboardInterrupt
        super().event(name, text, **fields)
