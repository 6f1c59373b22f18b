from collections.abc import Callable

import numpy as np

from shared.config import LearningTable, LineConfig
from trainer.labelling.prelabel import newest_prelabel
from trainer.learning.evaluate import predict
from trainer.learning.model import build_model
from trainer.learning.weights import RunRecord, save_run
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pool

Fill = Callable[..., list[str]]
SMALL = LearningTable(architecture="unet", encoder="resnet18", decoder_channels=(16, 8, 8, 8, 8))


def train_nothing(paths: TrainerPaths, line: LineConfig, *, classes: tuple[str, ...]) -> None:
    model = build_model(SMALL, classes=len(classes), channels=1, seed=4)
    record = RunRecord(
        run="strip-r0",
        line=line.line,
        round=0,
        snapshot="s",
        samples=0,
        seed=4,
        classes=classes,
        channels=1,
        learning=SMALL,
    )
    save_run(paths.runs / "strip-r0", model, record)


def test_prelabels_are_what_the_newest_run_sees(pool: Pool, line: LineConfig, fill: Fill) -> None:
    paths = TrainerPaths(pool.directory)
    ids = fill(range(3))
    train_nothing(paths, line, classes=line.class_names)
    pool.put_round("strip", 0, "done", {"run": "strip-r0"})

    paint = newest_prelabel(pool, line, paths)

    assert paint is not None
    masks = dict(paint(ids))
    crops = np.stack([crop for _, crop in pool.crops(ids, channels=1)])
    expected = predict(build_model(SMALL, classes=3, channels=1, seed=4), crops)
    assert list(masks) == ids
    np.testing.assert_array_equal(np.stack(list(masks.values())), expected)


def test_there_are_no_prelabels_before_the_first_run(pool: Pool, line: LineConfig) -> None:
    assert newest_prelabel(pool, line, TrainerPaths(pool.directory)) is None


def test_a_run_of_another_class_map_paints_nothing(pool: Pool, line: LineConfig) -> None:
    paths = TrainerPaths(pool.directory)
    train_nothing(paths, line, classes=("background", "dent", "scratch"))
    pool.put_round("strip", 0, "done", {"run": "strip-r0"})

    assert newest_prelabel(pool, line, paths) is None
