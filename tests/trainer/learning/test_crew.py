"""Several processes at one training, as torchrun starts them: what they learn is what one process learns."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shared.errors import ConfigError
from tests.trainer.learning import lessons
from trainer.learning.crew import Crew, gathered
from trainer.learning.data import varied
from trainer.learning.weights import unpack

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Hold every lesson with two processes, once for all tests."""
    folder = tmp_path_factory.mktemp("together")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(
        [*command, "-m", "tests.trainer.learning.lessons", str(folder)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "heads"), [("plain", 0), ("heads", 4)])
def test_two_processes_learn_what_one_does(
    held: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, heads: int
) -> None:
    """Of three samples one process has one and the other two; some have no label, so the shares weigh differently."""
    folder, found = held
    monkeypatch.setattr("trainer.learning.model.build_network", lessons.build_network)
    lessons.without_statistics()

    alone = lessons.learn(tmp_path, heads=heads)

    weights = unpack((tmp_path / "weights").read_bytes(), what="alone")
    together = unpack((folder / name / "weights").read_bytes(), what="together")
    assert found[name]["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert {key: found[name][key] for key in ("steps", "judged", "logged")} == {"steps": 6, "judged": 3, "logged": 9}
    for key, value in weights.items():
        torch.testing.assert_close(together[key], value, rtol=2e-3, atol=2e-5)


@pytest.mark.slow
def test_the_first_process_says_when_it_is_enough(held: tuple[Path, dict[str, Any]]) -> None:
    _, found = held

    assert (found["early"]["steps"], found["early"]["best"]) == (4, [1.0, 2])


@pytest.mark.slow
def test_together_they_go_on_from_the_first_one_s_checkpoint(held: tuple[Path, dict[str, Any]]) -> None:
    _, found = held

    assert (found["whole"]["resumed"], found["resumed"]["resumed"]) == (0, 10)
    assert found["resumed"]["losses"] == found["whole"]["losses"]
    assert found["resumed"]["alike"]


def test_shares_make_up_the_whole() -> None:
    places = [Crew(rank, 3).share(8) for rank in range(3)]

    assert [list(range(8))[share] for share in places] == [[0, 1], [2, 3, 4], [5, 6, 7]]


def test_more_processes_than_samples_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"learning\.minibatch is 2 and 3 processes train together"):
        Crew(0, 3).share(2)


def test_a_share_is_varied_as_it_is_in_the_whole() -> None:
    rng = np.random.default_rng(1)
    pixels = torch.from_numpy(rng.uniform(0, 255, size=(5, 1, 8, 8)).astype(np.float32))
    masks = torch.from_numpy(rng.integers(0, 3, size=(5, 8, 8)).astype(np.uint8))
    whole, truth = varied(pixels, masks, torch.Generator().manual_seed(4))

    share = slice(1, 4)
    some, its = varied(pixels[share], masks[share], torch.Generator().manual_seed(4), share=share, of=5)

    assert torch.equal(some, whole[share])
    assert torch.equal(its, truth[share])


def test_without_torchrun_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)

    with gathered() as crew:
        assert (crew.rank, crew.size, crew.leads) == (0, 1, True)
        assert crew.send(b"said") == b"said"
        assert crew.agree(word=True)
