"""Checkpoints: a training that is killed, stopped or finds damage ends with the weights of an unbroken one."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shared.config import LearningTable
from shared.errors import ConfigError, InputError
from trainer.learning.checkpoints import Checkpoints, Judgement
from trainer.learning.judging import Judging
from trainer.learning.judging import judging as judging_by
from trainer.learning.loop import TrainReport, train
from trainer.learning.model import TaskModel
from trainer.learning.weights import to_bytes

SETTINGS = LearningTable(architecture="compact", encoder="compact-8-8", steps=12, minibatch=3, threads=1)


class PowerGoneError(Exception):
    """A training is broken off."""


def quiet(_done: int, _total: int) -> None:
    """Say nothing."""


def samples(n: int = 7) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, size=(n, 32, 32, 1)).astype(np.uint8)
    return crops, rng.integers(0, 3, size=(n, 32, 32)).astype(np.uint8)


class _Dropping(torch.nn.Module):
    """A network that draws from torch's own generator, as dropout does."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3, padding=1),
            torch.nn.BatchNorm2d(8),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.5),
            torch.nn.Conv2d(8, 3, 1),
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(pixels)
        return logits


def new_model() -> TaskModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        return TaskModel(_Dropping(), classes=3, channels=1)


def learn(
    model: TaskModel,
    checkpoints: Checkpoints | None,
    *,
    stop_at: int | None = None,
    judging: Judging | None = None,
    settings: LearningTable = SETTINGS,
) -> TrainReport:
    steps: list[int] = []
    return train(
        model,
        *samples(),
        settings,
        classes=3,
        seed=1,
        step=lambda done, _total: steps.append(done),
        stop=None if stop_at is None else lambda: bool(steps) and steps[-1] >= stop_at,
        checkpoints=checkpoints,
        judging=judging,
    )


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.rglob("*") if file.is_file())


def broken_off(folder: Path, *, steps: int) -> Checkpoints:
    """Train with a checkpoint every two steps until the power goes in the step after ``steps``."""
    checkpoints = Checkpoints(folder, every=2)

    def step(done: int, _total: int) -> None:
        if done > steps:
            raise PowerGoneError

    with pytest.raises(PowerGoneError):
        train(new_model(), *samples(), SETTINGS, classes=3, seed=1, step=step, checkpoints=checkpoints)
    return checkpoints


KILLED = """
import json, os, signal, sys
from pathlib import Path
import numpy as np
import torch
from shared.config import LearningTable
from shared.identity import sha256_hex
from trainer.learning.checkpoints import Checkpoints
from trainer.learning.loop import train
from trainer.learning.model import build_model
from trainer.learning.weights import to_bytes

SETTINGS = LearningTable(architecture="compact", encoder="compact-8-8", steps=12, minibatch=3, threads=1)
fsync = os.fsync

def run(folder, die_at):
    calls = 0
    def counted(handle):
        nonlocal calls
        calls += 1
        if calls == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(handle)
    os.fsync = counted
    rng = np.random.default_rng(3)
    crops = rng.integers(0, 256, size=(7, 32, 32, 1)).astype(np.uint8)
    masks = rng.integers(0, 3, size=(7, 32, 32)).astype(np.uint8)
    model = build_model(SETTINGS, classes=3, channels=1, seed=1)
    checkpoints = None if folder is None else Checkpoints(folder, every=2)
    report = train(model, crops, masks, SETTINGS, classes=3, seed=1, step=lambda done, total: None, checkpoints=checkpoints)
    return [report.resumed_from, len(report.warnings), repr(report.losses), sha256_hex(to_bytes(model))]

def child(folder, die_at=0):
    reader, writer = os.pipe()
    if (pid := os.fork()) == 0:
        os.write(writer, json.dumps(run(folder, die_at)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    _, status = os.waitpid(pid, 0)
    return [os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0, json.loads(said or "null")]

root = Path(sys.argv[1])
found = {"unbroken": child(None)[1]}
for point in map(int, sys.argv[2:]):
    killed, said = child(root / str(point), point)
    found[point] = [killed, said, child(root / str(point))[1]]
print(json.dumps(found))
"""


@pytest.mark.slow
def test_a_training_killed_anywhere_ends_with_the_weights_of_an_unbroken_one(tmp_path: Path) -> None:
    """A checkpoint flushes four times: its state, the folder, its manifest, the folder; the process kills itself at one."""
    points = {1: 0, 3: 0, 4: 2, 9: 4, 12: 6}

    said = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), *map(str, points)], capture_output=True, text=True, check=True
    )

    found = json.loads(said.stdout)
    _, _, losses, weights = found.pop("unbroken")
    assert found == {str(point): [9, None, [step, 0, losses, weights]] for point, step in points.items()}


def test_a_stopped_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    settings = LearningTable(architecture="compact", encoder="compact-8-8", steps=30, minibatch=3, threads=1)
    unbroken, resumed = new_model(), new_model()
    whole = learn(unbroken, None, settings=settings)
    checkpoints = Checkpoints(tmp_path, every=1000)

    first = learn(new_model(), checkpoints, stop_at=20, settings=settings)
    second = learn(resumed, checkpoints, settings=settings)

    assert (first.finished, first.steps) == (False, 20)
    assert (second.finished, second.resumed_from, second.steps) == (True, 20, 30)
    assert second.losses == whole.losses
    assert to_bytes(resumed) == to_bytes(unbroken)


def test_writing_checkpoints_changes_no_weight_and_leaves_two(tmp_path: Path) -> None:
    plain, written = new_model(), new_model()

    learn(plain, None)
    learn(written, Checkpoints(tmp_path, every=3))

    assert to_bytes(written) == to_bytes(plain)
    assert names(tmp_path) == [
        "step-00000009.json",
        "step-00000009.safetensors",
        "step-00000012.json",
        "step-00000012.safetensors",
    ]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
@pytest.mark.parametrize("damage", [cut, flip, Path.unlink], ids=["truncated", "flipped", "gone"])
def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_is_used(
    tmp_path: Path, suffix: str, damage: Callable[[Path], None]
) -> None:
    unbroken, resumed = new_model(), new_model()
    learn(unbroken, None)
    checkpoints = broken_off(tmp_path, steps=7)
    (path,) = tmp_path.rglob(f"step-00000006{suffix}")
    damage(path)

    report = learn(resumed, checkpoints)

    assert report.resumed_from == 4
    assert to_bytes(resumed) == to_bytes(unbroken)
    if path.suffix == ".json" and damage is Path.unlink:
        assert report.warnings == ()  # Without its manifest it never was one.
    else:
        (warning,) = report.warnings
        assert str(path.with_suffix("")) in warning
        assert "set aside as step-00000006.*.damaged; training went on from step 4" in warning
        assert any(name.startswith("step-00000006") and name.endswith(".damaged") for name in names(tmp_path))


def test_when_every_checkpoint_is_damaged_training_begins_anew(tmp_path: Path) -> None:
    unbroken, resumed = new_model(), new_model()
    learn(unbroken, None)
    checkpoints = broken_off(tmp_path, steps=7)
    for path in tmp_path.rglob("*.safetensors"):
        cut(path)

    report = learn(resumed, checkpoints)

    assert (report.resumed_from, len(report.warnings)) == (0, 2)
    assert to_bytes(resumed) == to_bytes(unbroken)


def test_a_full_disk_ends_training_with_its_name_and_leaves_the_older_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = broken_off(tmp_path, steps=5)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}

    def full(_handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(
            InputError, match=r"step-00000006: No space left on device; .* the checkpoint of step 4 stays"
        ):
            learn(new_model(), checkpoints)

    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before
    assert learn(new_model(), checkpoints).resumed_from == 4


@pytest.mark.parametrize("change", ["settings", "seed", "labels", "weights"])
def test_another_training_neither_takes_nor_deletes_a_checkpoint(tmp_path: Path, change: str) -> None:
    checkpoints = broken_off(tmp_path, steps=7)
    before = names(tmp_path)
    crops, masks = samples()
    other = masks.copy()
    other[0, 0, 0] ^= 1
    model = new_model()
    if change == "weights":
        with torch.no_grad():
            next(model.parameters()).add_(1e-3)

    report = train(
        model,
        crops,
        other if change == "labels" else masks,
        msgspec.structs.replace(SETTINGS, learning_rate=2e-3) if change == "settings" else SETTINGS,
        classes=3,
        seed=2 if change == "seed" else 1,
        step=quiet,
        checkpoints=checkpoints,
    )

    assert report.resumed_from == 0
    assert set(before) <= set(names(tmp_path))
    assert learn(new_model(), checkpoints).resumed_from == 6


@pytest.mark.parametrize(("patience", "resumed_from"), [(100, 0), (0, 12)])
def test_with_a_patience_a_training_judged_by_other_labels_is_another(
    tmp_path: Path, patience: int, resumed_from: int
) -> None:
    """Scores on labels that were corrected after a kill never vie with those on the labels before."""
    crops, masks = samples()
    other = masks.copy()
    other[0, 0, 0] ^= 1
    settings = msgspec.structs.replace(SETTINGS, stop_patience=patience)
    checkpoints = Checkpoints(tmp_path, every=2)
    learn(new_model(), checkpoints, judging=judging_by(settings, crops, masks, classes=3), settings=settings)

    corrected = learn(
        new_model(), checkpoints, judging=judging_by(settings, crops, other, classes=3), settings=settings
    )

    assert corrected.resumed_from == resumed_from


def test_checkpoints_of_a_kept_run_are_cleared(tmp_path: Path) -> None:
    checkpoints = broken_off(tmp_path / "run", steps=7)

    checkpoints.clear()
    checkpoints.clear()

    assert names(tmp_path) == []


def test_best_weights_survive_a_break(tmp_path: Path) -> None:
    """The score falls after step 2; weights of step 2 stay although training was broken off after it."""

    def judged(*, power: bool) -> Judging:
        asked: list[float] = [] if power else [0.0, 0.0]

        def judge(_model: TaskModel) -> Judgement:
            asked.append(0.0)
            if power and len(asked) == 3:
                raise KeyboardInterrupt
            return Judgement(miou=1.0 - len(asked) if power else -2.0, per_class=(None, 0.5), ece=0.25)

        return Judging(judge, every=2, patience=100)

    short = LearningTable(architecture="compact", encoder="compact-8-8", steps=12, minibatch=3, threads=1)
    checkpoints = Checkpoints(tmp_path, every=2)
    with pytest.raises(KeyboardInterrupt):
        learn(new_model(), checkpoints, judging=judged(power=True), settings=short)
    resumed, unbroken = new_model(), new_model()

    report = learn(resumed, checkpoints, judging=judged(power=False), settings=short)
    learn(unbroken, None, judging=judged(power=False), settings=short)

    assert (report.resumed_from, report.best) == (4, (0.0, 2))
    assert [(step, found.miou) for step, found in report.judged[:3]] == [(2, 0.0), (4, -1.0), (6, -2.0)]
    assert report.judged[0][1].per_class == (None, 0.5)
    assert to_bytes(resumed) == to_bytes(unbroken)


def test_a_checkpoint_every_no_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="one every 0 steps"):
        Checkpoints(tmp_path, every=0)


def test_a_manifest_with_another_number_is_not_believed(tmp_path: Path) -> None:
    checkpoints = broken_off(tmp_path, steps=7)
    (path,) = tmp_path.rglob("step-00000006.json")
    path.write_text(path.read_text().replace('"step": 6', '"step": 8'))

    report = learn(new_model(), checkpoints)

    assert report.resumed_from == 4
    assert "expected" in report.warnings[0]
