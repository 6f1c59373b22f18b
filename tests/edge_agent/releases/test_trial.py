"""The trial in a child process."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edge_agent.inspection.loading import CACHE_NAME
from edge_agent.releases.activation import Held
from edge_agent.releases.trial import Outcome, run_trial
from shared.console import Step
from shared.errors import ConfigError, ReleaseError
from shared.golden import Golden, write_golden
from tests.edge_agent.releases.hostile import endless, greedy, nested_functions

Build = Callable[..., Held]
AgentToml = Callable[..., Path]


def tried(
    agent_toml: Path, root: Path, held: Held, *, deadline_s: float = 60.0, step: Step | None = None
) -> Outcome | None:
    directory = root / "releases" / "strip" / held.release
    return run_trial(
        directory, sha256=held.sha256, line="strip", agent_toml=agent_toml, deadline_s=deadline_s, step=step
    )


def test_a_good_release_passes_and_its_graphs_are_optimised_on_the_way(
    agent_toml: AgentToml, tmp_path: Path, build_release: Build
) -> None:
    held, told = build_release(tmp_path, 1, bias=0.1), []

    outcome = tried(agent_toml(), tmp_path, held, step=lambda done, total: told.append((done, total)))

    assert outcome is not None
    assert (outcome.provider, outcome.precision, outcome.embeddings_apart) == ("cpu", "fp32", None)
    assert outcome.scores_apart is not None
    assert outcome.scores_apart < 1e-5
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert len(list((tmp_path / "releases" / "strip" / held.release / CACHE_NAME).glob("*.onnx"))) == 1


def test_a_flipped_byte_is_refused(agent_toml: AgentToml, tmp_path: Path, build_release: Build) -> None:
    held = build_release(tmp_path, 1)
    file = tmp_path / "releases" / "strip" / held.release / "task.bin"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)

    with pytest.raises(ReleaseError, match=r"task\.bin: sha256"):
        tried(agent_toml(), tmp_path, held)


def test_wrong_answers_on_the_golden_tiles_are_refused(
    agent_toml: AgentToml, tmp_path: Path, build_release: Build
) -> None:
    tiles = np.full((1, 64, 64, 1), 51, dtype=np.uint8)
    golden = write_golden(Golden(tiles=tiles, score=np.full((1, 2, 2), 0.2 + 0.002, dtype=np.float32)))

    with pytest.raises(ReleaseError, match=r"golden scores: 2\.00e-03 apart, the release allows 1e-03"):
        tried(agent_toml(), tmp_path, build_release(tmp_path, 1, golden=golden))


def test_a_release_without_golden_tiles_cannot_be_tried(
    agent_toml: AgentToml, tmp_path: Path, build_release: Build
) -> None:
    with pytest.raises(ReleaseError, match="no golden tiles"):
        tried(agent_toml(), tmp_path, build_release(tmp_path, 1, without="golden"))


def test_golden_tiles_must_cover_the_graph(agent_toml: AgentToml, tmp_path: Path, build_release: Build) -> None:
    patches = np.zeros((1, 32, 32, 1), dtype=np.uint8)
    golden = write_golden(Golden(patches=patches, embedding=np.ones((1, 1), dtype=np.float32)))

    with pytest.raises(ReleaseError, match="no golden outputs for its task graph"):
        tried(agent_toml(), tmp_path, build_release(tmp_path, 1, golden=golden))


def test_bytes_that_are_no_graph_are_refused(agent_toml: AgentToml, tmp_path: Path, build_release: Build) -> None:
    with pytest.raises(ReleaseError, match="onnxruntime says"):
        tried(agent_toml(), tmp_path, build_release(tmp_path, 1, task=b"no graph at all"))


def test_a_runtime_that_takes_the_process_down_only_takes_the_child(
    agent_toml: AgentToml, tmp_path: Path, build_release: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "onnxruntime.py").write_text("import os\nos.abort()\n", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "broken"))

    with pytest.raises(ReleaseError, match="the process died of SIGABRT"):
        tried(agent_toml(), tmp_path, build_release(tmp_path, 1))


def test_a_graph_nested_deeper_than_any_stack_is_refused(
    agent_toml: AgentToml, tmp_path: Path, build_release: Build
) -> None:
    """onnxruntime died of it up to 1.31 and refuses it since."""
    with pytest.raises(ReleaseError, match=r"the process died of SIG(SEGV|ABRT|BUS)|more memory|call depth"):
        tried(agent_toml(), tmp_path, build_release(tmp_path, 1, task=nested_functions(3000)))


def test_a_graph_that_never_answers_is_ended(agent_toml: AgentToml, tmp_path: Path, build_release: Build) -> None:
    with pytest.raises(ReleaseError, match="no answer within 3 s"):
        tried(agent_toml(), tmp_path, build_release(tmp_path, 1, task=endless()), deadline_s=3.0)


def test_a_graph_that_asks_for_all_memory_is_refused(
    agent_toml: AgentToml, tmp_path: Path, build_release: Build
) -> None:
    with pytest.raises(ReleaseError, match=r"allocate memory|more memory|bad_alloc"):
        tried(agent_toml(), tmp_path, build_release(tmp_path, 1, task=greedy()))


def test_a_node_that_cannot_try_blames_itself(agent_toml: AgentToml, tmp_path: Path, build_release: Build) -> None:
    path = agent_toml()
    held = build_release(tmp_path, 1)
    path.write_text(path.read_text(encoding="utf-8").replace('"cpu"', '"cuda"'), encoding="utf-8")

    with pytest.raises(ConfigError, match="cuda"):
        tried(path, tmp_path, held)
