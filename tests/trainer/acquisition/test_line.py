"""A line's scorers from its settings: the default is the task graph itself, the rest says what it computes and where."""

from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from shared.acquisition import LineAcquisitionTable
from shared.config import ClassTable, GeometryTable, LearningTable, LineConfig
from shared.errors import ConfigError
from trainer.acquisition.build import build_committee_source
from trainer.acquisition.line import (
    centre_scorer,
    check_acquisition,
    class_weights,
    formula,
    node_mask_scorer,
    node_scorer,
    score_name,
)
from trainer.acquisition.members import Heads
from trainer.acquisition.scorer import PatchScorer
from trainer.acquisition.scoring import FORMULA, MaskGraph, TaskGraph
from trainer.learning.model import EveryHead, TaskModel, build_model
from trainer.release.graph import read_metadata
from trainer.release.parity import check_parity, run_graph
from trainer.release.variants import export_graph

NAMES = ("steel", "scratch", "dent")
TILES = np.random.default_rng(5).integers(0, 256, size=(2, 160, 160, 1), dtype=np.uint8)
DROPOUT = LearningTable(architecture="deeplabv3plus", encoder="resnet18")


def line(learning: LearningTable | None = None, **asked: Any) -> LineConfig:
    return LineConfig(
        line="strip",
        classes=tuple(ClassTable(name=name) for name in NAMES),
        geometry=GeometryTable(tile_px=160, patch_px=64, margin_px=16, cell_px=16, top_share=1 / 16),
        learning=learning or LearningTable(architecture="compact", encoder="compact-8"),
        acquisition=LineAcquisitionTable(**asked),
    )


def model(of: LineConfig) -> TaskModel:
    heads = of.acquisition.members if of.acquisition.committee == "heads" else 0
    return build_model(of.learning, classes=3, channels=1, seed=1, heads=heads, beta=0.0).eval()


def test_by_default_nodes_and_trainer_score_by_the_task_graph_itself() -> None:
    plain = line()

    assert type(centre_scorer(model(plain), plain)) is MaskGraph
    assert type(node_scorer(model(plain), plain)) is TaskGraph
    assert type(node_mask_scorer(model(plain), plain)) is MaskGraph
    assert (formula(plain), score_name(plain, "strip-r001")) == (FORMULA, "strip-r001")


def test_a_committee_of_heads_scores_on_nodes_and_says_so() -> None:
    asked = line(measure="bald", committee="heads", aggregation="mean")
    network = model(asked)
    tiles = torch.from_numpy(TILES)

    with torch.inference_mode():
        score, mean, above = node_scorer(network, asked)(tiles)
        *_, mask = node_mask_scorer(network, asked)(tiles)
        source = build_committee_source("bald", Heads(EveryHead(network)))
        wanted = source(tiles.permute(0, 3, 1, 2))[0][:, :, 16:144, 16:144].reshape(2, 2, 64, 2, 64).mean(dim=(2, 4))

    assert score.shape == mean.shape == above.shape == (2, 2, 2)
    assert torch.allclose(score, wanted / np.log(3), atol=1e-6)
    assert mask.shape == (2, 160, 160)
    assert formula(asked) == "bald of heads; score = mean over the patch / its largest"


def test_a_run_from_before_its_line_asked_for_heads_is_scored_by_entropy_until_the_next() -> None:
    asked = line(measure="bald", committee="heads", members=3)
    before = build_model(asked.learning, classes=3, channels=1, seed=1).eval()

    assert type(centre_scorer(before, asked)) is MaskGraph
    assert type(node_scorer(before, asked)) is TaskGraph
    assert type(node_mask_scorer(before, asked)) is MaskGraph
    assert type(node_scorer(model(asked), asked)) is PatchScorer


def test_every_second_row_and_column_is_what_a_thinned_map_says() -> None:
    asked = line(measure="margin", aggregation="top")
    network = model(asked)

    thin = node_scorer(network, asked, stride=2)

    assert isinstance(thin, PatchScorer)
    with torch.inference_mode():
        pixels = torch.from_numpy(TILES).permute(0, 3, 1, 2)
        cells = thin.source(pixels)[0][:, 0, 16:144:2, 16:144:2].reshape(2, 2, 4, 8, 2, 4, 8).mean(dim=(3, 6))
        wanted = cells.permute(0, 1, 3, 2, 4).flatten(3).amax(dim=3)
        assert torch.allclose(thin(torch.from_numpy(TILES))[0], wanted, atol=1e-6)


@pytest.mark.parametrize(
    "asked",
    [
        {"measure": "odin", "epsilon": 0.1, "on_node": "entropy"},
        {"measure": "bald", "committee": "mc-dropout", "members": 2, "on_node": "entropy"},
    ],
)
def test_what_cannot_stand_in_a_graph_scores_the_pool_while_nodes_go_by_entropy(asked: dict[str, Any]) -> None:
    chosen = line(DROPOUT, **asked)
    network = model(chosen)

    assert isinstance(centre_scorer(network, chosen), PatchScorer)
    assert type(node_scorer(network, chosen)) is TaskGraph
    assert type(node_mask_scorer(network, chosen)) is MaskGraph
    assert formula(chosen) == FORMULA
    with pytest.raises(ConfigError, match=r'set acquisition\.on_node to "entropy"'):
        node_scorer(
            network, msgspec.structs.replace(chosen, acquisition=LineAcquisitionTable(**{**asked, "on_node": "same"}))
        )


def test_other_settings_keep_their_scores_under_another_name() -> None:
    asked = [
        line(measure="margin"),
        line(aggregation="mean"),
        line(aggregation="count", threshold=0.3),
        line(aggregation="count", threshold=0.4),
        line(measure="odin"),
        line(measure="odin", temperature=1.0),
    ]

    names = [score_name(one, "strip-r001") for one in asked]

    assert len({*names, "strip-r001"}) == 7
    assert all(name.startswith("strip-r001+") for name in names)
    # What only nodes or the batch go by gives the same scores.
    assert score_name(line(measure="margin", on_node="entropy", class_balanced=True), "strip-r001") == names[0]


def test_class_weights_stand_in_the_order_of_the_masks_and_the_unnamed_weigh_nothing() -> None:
    asked = line(measure="class-variance", committee="heads", class_weights={"dent": 2.0, "scratch": 0.5})

    assert class_weights(asked) == (0.0, 0.5, 2.0)
    assert class_weights(line()) is None
    assert node_scorer(model(asked), asked)(torch.from_numpy(TILES))[0].shape == (2, 2, 2)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"measure": "bald", "committee": "mc-dropout", "on_node": "entropy"}, "has no dropout"),
        ({"measure": "bald", "committee": "heads", "aggregation": "count"}, "no paper counts this measure"),
        ({"aggregation": "count", "threshold": 2.0}, "threshold 2, the measure reaches from 0 to 1.099"),
        ({"measure": "bald", "committee": "heads", "members": 2}, "expected at least 4 members"),
    ],
)
def test_a_measure_that_the_network_cannot_be_asked_is_refused_before_anything_is_trained(
    asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        check_acquisition(line(**asked))


def test_a_measure_that_it_can_be_asked_passes() -> None:
    check_acquisition(line())
    check_acquisition(line(measure="variance", committee="heads", aggregation="sum"))


def test_what_heads_say_together_is_exported_as_the_line_s_task_graph() -> None:
    asked = line(measure="bald", committee="heads", aggregation="count", threshold=0.02)
    network = model(asked)

    graph = export_graph("task", network, asked, release="strip-0001")

    worst = check_parity(node_scorer(network, asked, stride=2), graph, TILES, what="task graph")
    assert worst["score"] < 5e-3
    assert read_metadata(graph)["formula"].startswith("bald of heads; score = count")
    assert run_graph(graph, TILES, what="task graph")["score"].std() > 0
