"""A disk that is full while checkpoints are written, on a tmpfs of every awkward size: the last good one is never lost."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.config import LearningTable
from shared.errors import InputError
from tests.conftest import MISSING
from trainer.learning.checkpoints import Checkpoints
from trainer.learning.loop import TrainReport, train
from trainer.learning.model import TaskModel, build_model
from trainer.learning.weights import to_bytes

SETTINGS = LearningTable(architecture="compact", encoder="compact-8-8", steps=10, minibatch=3, threads=1)
PAGE = 4096


def learn(model: TaskModel, folder: Path) -> TrainReport:
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, size=(5, 32, 32, 1)).astype(np.uint8)
    masks = rng.integers(0, 3, size=(5, 32, 32)).astype(np.uint8)
    return train(
        model,
        crops,
        masks,
        SETTINGS,
        classes=3,
        seed=1,
        step=lambda _done, _total: None,
        checkpoints=Checkpoints(folder, every=2),
        log=folder / "training.jsonl",
    )


def new_model() -> TaskModel:
    return build_model(SETTINGS, classes=3, channels=1, seed=1)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, int]:
    """The weights of a training with room enough, and the pages that one of its checkpoints takes."""
    folder, model = tmp_path_factory.mktemp("room"), new_model()
    learn(model, folder)
    (newest,) = folder.rglob("step-00000010.safetensors")
    return to_bytes(model), -(-newest.stat().st_size // PAGE)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["/bin/mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "winnow-learning", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(MISSING + f"the right to mount a tmpfs ({error})")
    if done.returncode:
        pytest.skip(MISSING + f"the right to mount a tmpfs ({done.stderr.strip()})")
    yield folder
    subprocess.run(["/bin/umount", str(folder)], check=True)


def resize(disk: Path, *, pages: int) -> None:
    subprocess.run(["/bin/mount", "-o", f"remount,size={pages * PAGE}", str(disk)], check=True)


@pytest.mark.parametrize(
    ("checkpoints", "more", "kept"),
    [(0, 1, 0), (1, 0, 0), (1, 5, 2), (2, 4, 4), (3, 2, 4)],
    ids=["none fits", "no manifest fits", "one fits", "two fit", "no third manifest fits"],
)
def test_training_ends_by_name_and_goes_on_to_the_same_weights_when_there_is_room(
    disk: Path, unbroken: tuple[bytes, int], checkpoints: int, more: int, kept: int
) -> None:
    weights, size = unbroken
    resize(disk, pages=checkpoints * size + more)

    with pytest.raises(
        InputError, match=rf"No space left on device; .* the checkpoint of step {kept} stays: make room"
    ):
        learn(new_model(), disk)

    resize(disk, pages=6 * size + 32)
    model = new_model()
    report = learn(model, disk)
    assert report.resumed_from == kept
    assert not [warning for warning in report.warnings if "set aside" in warning]
    assert to_bytes(model) == weights
