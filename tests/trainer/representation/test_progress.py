"""Progress: a training that dies goes on and ends with the same weights; what is damaged or not its own is not used."""

import errno
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from shared.config import SpaceTable
from shared.errors import InputError
from shared.geometry import Image
from trainer.learning import checkpoints as checkpoints_module
from trainer.learning.checkpoints import Checkpoints
from trainer.learning.weights import to_bytes
from trainer.representation.augment import GREY
from trainer.representation.progress import Training
from trainer.representation.simclr import learn
from trainer.representation.space import SpaceModule, SpaceReport, train_space

SETTINGS = SpaceTable(encoder="compact-8-16", steps=25, minibatch=8, learning_rate=3e-3)
PATCHES: Image = np.random.default_rng(1).integers(0, 256, size=(20, 32, 32, 1), dtype=np.uint8)


class KilledError(Exception):
    """The machine died."""


def quiet(_done: int, _total: int) -> None:
    """Say nothing."""


def kept(folder: Path, *, every: int = 7) -> Checkpoints:
    return Checkpoints(folder, every)


def killed_at(at: int) -> Callable[[int, int], None]:
    def step(done: int, _total: int) -> None:
        if done == at:
            raise KilledError

    return step


def trained(
    checkpoints: Checkpoints | None = None,
    *,
    patches: Image = PATCHES,
    settings: SpaceTable = SETTINGS,
    seed: int = 3,
    step: Callable[[int, int], None] = quiet,
    stop: Callable[[], bool] | None = None,
) -> tuple[SpaceModule, SpaceReport]:
    return train_space(patches, settings, seed=seed, step=step, threads_used=1, stop=stop, checkpoints=checkpoints)


@pytest.mark.parametrize(("at", "resumed_at"), [(3, 0), (7, 0), (8, 7), (15, 14), (25, 21)])
def test_a_killed_training_goes_on_and_ends_bit_equal(tmp_path: Path, at: int, resumed_at: int) -> None:
    whole, told = trained()
    with pytest.raises(KilledError):
        trained(kept(tmp_path), step=killed_at(at))

    space, report = trained(kept(tmp_path))

    assert to_bytes(space) == to_bytes(whole)
    assert report.losses == told.losses
    assert report.finished
    assert report.resumed_at == resumed_at


def test_a_training_killed_again_and_again_still_ends_bit_equal(tmp_path: Path) -> None:
    whole, _ = trained()

    for at in (6, 11, 11, 20, 24):
        with pytest.raises(KilledError):
            trained(kept(tmp_path, every=4), step=killed_at(at))
    space, _ = trained(kept(tmp_path, every=4))

    assert to_bytes(space) == to_bytes(whole)


def forgetful(checkpoints: Checkpoints | None, *, step: Callable[[int, int], None] = quiet) -> tuple[bytes, int]:
    """Train an encoder that drops half of its features by torch's own generator."""
    settings = msgspec.structs.replace(SETTINGS, steps=4)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        encoder = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(32 * 32, 8), torch.nn.Dropout(0.5))
        report = learn(
            encoder, PATCHES, settings, recipe=GREY, width=8, seed=3, step=step, stop=None, checkpoints=checkpoints
        )
    return to_bytes(encoder), report.resumed_at


def test_dropout_is_resumed_as_well(tmp_path: Path) -> None:
    whole, _ = forgetful(None)
    with pytest.raises(KilledError):
        forgetful(kept(tmp_path, every=2), step=killed_at(3))

    weights, resumed_at = forgetful(kept(tmp_path, every=2))

    assert resumed_at == 2
    assert weights == whole


def test_a_stopped_training_goes_on_from_where_it_was_stopped(tmp_path: Path) -> None:
    whole, _ = trained()
    told: list[int] = []
    _, stopped = trained(kept(tmp_path), step=lambda done, _total: told.append(done), stop=lambda: len(told) >= 20)

    space, report = trained(kept(tmp_path))

    assert not stopped.finished
    assert report.resumed_at == 20
    assert to_bytes(space) == to_bytes(whole)


def test_a_finished_training_is_not_held_again(tmp_path: Path) -> None:
    first, told = trained(kept(tmp_path))

    again, report = trained(kept(tmp_path), step=killed_at(1))

    assert to_bytes(again) == to_bytes(first)
    assert report.losses == told.losses
    assert report.resumed_at == SETTINGS.steps


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 4},
        {"patches": np.ascontiguousarray(PATCHES[::-1])},
        {"patches": np.ascontiguousarray(PATCHES[:, :, ::-1])},
        {"settings": msgspec.structs.replace(SETTINGS, temperature=0.3)},
    ],
    ids=["seed", "order", "pixels", "settings"],
)
def test_progress_of_other_work_is_passed_over(tmp_path: Path, other: dict[str, object]) -> None:
    trained(kept(tmp_path))

    space, report = trained(kept(tmp_path), **other)

    assert report.resumed_at == 0
    assert to_bytes(space) == to_bytes(trained(**other)[0])


def test_checkpoints_change_no_result(tmp_path: Path) -> None:
    space, _ = trained(kept(tmp_path, every=3))

    assert to_bytes(space) == to_bytes(trained()[0])


def test_a_damaged_checkpoint_is_told_of_and_the_one_before_serves(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        trained(kept(tmp_path), step=killed_at(16))
    newest = max(tmp_path.rglob("*.safetensors"))
    newest.write_bytes(newest.read_bytes()[:-1] + b"!")

    space, report = trained(kept(tmp_path))

    assert report.resumed_at == 7
    assert len(report.damaged) == 1
    assert "went on from step 7" in report.damaged[0]
    assert to_bytes(space) == to_bytes(trained()[0])


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KilledError):
        trained(kept(tmp_path), step=killed_at(8))

    def full(_path: Path, _data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints_module, "write_durably", full)
    with pytest.raises(InputError, match="the checkpoint of step 7 stays"):
        trained(kept(tmp_path))
    monkeypatch.undo()
    space, report = trained(kept(tmp_path))

    assert report.resumed_at == 7
    assert to_bytes(space) == to_bytes(trained()[0])


def test_the_optimizer_s_state_is_what_it_would_have_made_itself() -> None:
    """Its state is made beforehand: a different one would train differently."""
    models = [torch.nn.Linear(3, 2) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    plain, prepared = (torch.optim.AdamW(model.parameters(), lr=0.1) for model in models)
    Training(models[1], prepared)

    for model, optimizer in zip(models, (plain, prepared), strict=True):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(4, 3)).square().sum().backward()
            optimizer.step()

    assert torch.equal(models[0].weight, models[1].weight)
    assert [sorted(state) for state in plain.state.values()] == [sorted(state) for state in prepared.state.values()]
