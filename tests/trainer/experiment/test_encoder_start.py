"""Encoders of a study that begin with what the space has learned: one start for all arms and seeds."""

import json
from pathlib import Path

import pytest
import torch

from shared.console import Console
from shared.errors import ConfigError
from tests.trainer.experiment.studies import RECIPE, Cut, write_recipe, write_tiny_set
from trainer.experiment.grounds import lay_ground, open_data
from trainer.experiment.recipe import load_recipe
from trainer.experiment.record import read_rounds
from trainer.experiment.runner import run
from trainer.experiment.segmenting import SegmentationLearner
from trainer.representation.sources import task_encoder

FROM_SPACE = RECIPE.replace('source = "untrained"', 'source = "simclr"\nsteps = 3\nminibatch = 8').replace(
    "steps = 4", 'steps = 4\nencoder_from = "space"'
)


def encoders(text: str, folder: Path) -> list[dict[str, torch.Tensor]]:
    """The first encoders of two arms and two seeds."""
    sets = write_tiny_set(folder / "sets")
    recipe = load_recipe(write_recipe(folder, text))
    ground = lay_ground(recipe, open_data(recipe, sets, work=sets), step=lambda _done, _total: None)
    found = []
    for arm, seed in (("top", 1), ("top", 2), ("kdpp", 2)):
        learner = ground.learner(arm)
        assert isinstance(learner, SegmentationLearner)
        found.append(task_encoder(learner.untrained(seed)).state_dict())
    return found


def alike(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_every_arm_and_seed_begins_with_the_encoder_of_one_space(tmp_path: Path) -> None:
    first, second, third = encoders(FROM_SPACE, tmp_path)

    assert alike(first, second)
    assert alike(first, third)
    # A space that was trained: its batch norms have seen the patches.
    assert any(value.any() for name, value in first.items() if name.endswith("running_mean"))


def test_by_default_the_seed_alone_decides(tmp_path: Path) -> None:
    first, second, third = encoders(RECIPE, tmp_path)

    assert not alike(first, second)
    assert alike(second, third)


def test_what_encoders_begin_with_is_told_kept_on_the_way_and_learned_no_more_where_all_is_held(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    what = "what encoders begin with"
    sets = write_tiny_set(tmp_path / "sets")
    text = FROM_SPACE.replace("steps = 3\n", "steps = 30\ncheckpoint_every = 5\n").replace("rounds = 2", "rounds = 1")
    recipe = write_recipe(tmp_path, text)

    def told(out: str, console: Console) -> list[object]:
        """How far the start was told to be, in percent."""
        run(recipe, data=sets, out=tmp_path / out, seeds=None, jobs=1, console=console)
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        return [line["percent"] for line in lines if line.get("what") == what]

    assert told("whole", Console(as_json=True)) == list(range(0, 101, 10))
    assert told("whole", Console(as_json=True)) == []

    with pytest.raises(KeyboardInterrupt):
        told("cut", Cut(what))
    capsys.readouterr()
    assert min(told("cut", Console(as_json=True))) > 40
    whole, cut = (read_rounds(tmp_path / out / "boxes" / "seed-0" / "top.jsonl") for out in ("whole", "cut"))
    assert [record.value for record in whole] == [record.value for record in cut]


@pytest.mark.parametrize(
    "text",
    [
        FROM_SPACE.replace('source = "simclr"', 'source = "pixels"'),
        FROM_SPACE.replace('minibatch = 8\nencoder = "compact-8"', 'minibatch = 8\nencoder = "compact-16"'),
    ],
)
def test_a_start_from_another_encoder_is_refused_by_name(text: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="it takes simclr with the same encoder"):
        load_recipe(write_recipe(tmp_path, text))
