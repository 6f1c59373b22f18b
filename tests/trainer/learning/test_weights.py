"""Runs on disk: weights come back as they were, without pickle; what does not fit or verify is refused."""

from pathlib import Path

import pytest
import torch

from shared.config import LearningTable
from shared.errors import InputError, ReleaseError
from trainer.learning.model import TaskModel, build_model
from trainer.learning.weights import (
    RECORD_NAME,
    WEIGHTS_NAME,
    RunRecord,
    copy_weights,
    from_bytes,
    has_run,
    load_run,
    save_run,
    to_bytes,
)

SETTINGS = LearningTable(architecture="compact", encoder="compact-8-16")


def model(seed: int) -> TaskModel:
    built = build_model(SETTINGS, classes=3, channels=1, seed=seed)
    # Running means of normalisation are buffers: they must travel too.
    built.train()
    built(torch.rand(4, 1, 32, 32) * 255)
    return built.eval()


RECORD = RunRecord(
    run="r-1",
    line="steel",
    round=2,
    snapshot="ab",
    samples=5,
    seed=3,
    classes=("a", "b", "c"),
    channels=1,
    learning=SETTINGS,
    losses=(1.0, 0.5),
)


def test_a_run_comes_back_with_the_same_answers(tmp_path: Path) -> None:
    saved = model(3)
    pixels = torch.rand(2, 1, 32, 32) * 255

    written = save_run(tmp_path / "r-1", saved, RECORD)
    loaded, record = load_run(tmp_path / "r-1")

    assert record == written
    assert record.losses == (1.0, 0.5)
    with torch.inference_mode():
        assert torch.equal(loaded(pixels), saved(pixels))


def test_no_pickle_is_written(tmp_path: Path) -> None:
    save_run(tmp_path, model(3), RECORD)

    data = (tmp_path / WEIGHTS_NAME).read_bytes()
    assert int.from_bytes(data[:8], "little") < len(data)
    assert data[8:9] == b"{"


def test_one_flipped_byte_in_the_weights_is_refused(tmp_path: Path) -> None:
    save_run(tmp_path, model(3), RECORD)
    path = tmp_path / WEIGHTS_NAME
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(ReleaseError, match="it is not used"):
        load_run(tmp_path)


def test_a_run_without_its_record_is_none(tmp_path: Path) -> None:
    save_run(tmp_path, model(3), RECORD)
    assert has_run(tmp_path)

    (tmp_path / RECORD_NAME).unlink()

    assert not has_run(tmp_path)
    with pytest.raises(InputError):
        load_run(tmp_path)


def test_a_torn_record_is_refused(tmp_path: Path) -> None:
    save_run(tmp_path, model(3), RECORD)
    (tmp_path / RECORD_NAME).write_text('{"run": "r-1"')

    with pytest.raises(InputError, match="the run cannot be used"):
        load_run(tmp_path)


def test_weights_of_another_model_are_refused_and_change_nothing() -> None:
    target = build_model(SETTINGS, classes=4, channels=1, seed=1)
    before = to_bytes(target)

    with pytest.raises(ReleaseError, match="do not fit this model"):
        from_bytes(target, to_bytes(model(3)), what="weights")

    assert to_bytes(target) == before


def test_bytes_that_are_no_weights_are_refused() -> None:
    with pytest.raises(ReleaseError, match="not safetensors"):
        from_bytes(model(3), b"x" * 100, what="weights")


def test_a_warm_start_begins_with_the_old_run_s_answers() -> None:
    old, new = model(3), build_model(SETTINGS, classes=3, channels=1, seed=9).eval()
    pixels = torch.rand(2, 1, 32, 32) * 255

    copy_weights(old, new)

    with torch.inference_mode():
        assert torch.equal(new(pixels), old(pixels))
