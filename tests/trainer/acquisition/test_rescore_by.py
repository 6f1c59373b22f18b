"""Re-scoring by any scorer: the pool's crops go through it as through the task graph."""

import numpy as np
import pytest
import torch
from torch import nn

from shared.config import LearningTable
from shared.geometry import PatchGrid
from trainer.acquisition.build import build_committee_source, build_scorer, build_source
from trainer.acquisition.members import Ensemble, McDropout
from trainer.acquisition.rescore import Rescores, rescore_by
from trainer.acquisition.scorer import MaskScorer
from trainer.acquisition.scoring import MaskGraph
from trainer.learning.model import TaskModel, build_model

GRID = PatchGrid(tile_px=160, patch_px=64, margin_px=16, cell_px=16)
CROPS = np.random.default_rng(2).integers(0, 256, size=(7, GRID.crop_px, GRID.crop_px, 1), dtype=np.uint8)


def model(seed: int) -> TaskModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Dropout2d(0.3), nn.Conv2d(8, 3, 1))
    return TaskModel(network, classes=3, channels=1).eval()


def by(scorer: MaskGraph | MaskScorer, minibatch: int = 3) -> Rescores:
    return rescore_by(scorer, iter(CROPS), grid=GRID, total=7, step=lambda _done, _total: None, minibatch=minibatch)


def test_the_default_scorer_scores_as_the_task_graph() -> None:
    scorer = build_scorer(build_source("entropy", model(1)), GRID.as_crop(), top_share=1 / 16)

    found = by(scorer)
    wanted = by(MaskGraph(model(1), GRID.as_crop(), top_share=1 / 16))

    # The graph's margin is left out; the same numbers are added in another order.
    assert found.scores == pytest.approx(wanted.scores, abs=1e-6)
    assert np.array_equal(found.classes, wanted.classes)


@pytest.mark.parametrize(("patch_px", "margin_px", "cell_px"), [(64, 16, 16), (60, 18, 20)])
def test_what_is_scored_of_a_crop_is_what_the_whole_graph_says_of_its_patch(
    patch_px: int, margin_px: int, cell_px: int
) -> None:
    """Also where the patch begins between two places of the network's finest features."""
    grid = PatchGrid(tile_px=160, patch_px=patch_px, margin_px=margin_px, cell_px=cell_px)
    settings = LearningTable(architecture="compact", encoder="compact-8-16")
    graph = MaskGraph(build_model(settings, classes=4, channels=1, seed=1).eval(), grid.as_crop(), top_share=1 / 16)
    crops = np.random.default_rng(5).integers(0, 256, size=(5, grid.crop_px, grid.crop_px, 1), dtype=np.uint8)

    found = rescore_by(graph, iter(crops), grid=grid, total=5, step=lambda _done, _total: None, minibatch=2)

    with torch.inference_mode():
        score, _, _, mask = graph(torch.from_numpy(crops))
    patch = slice(margin_px, margin_px + patch_px)
    counts = [np.bincount(seen.ravel(), minlength=4)[1:] for seen in mask[:, patch, patch].numpy()]
    assert found.scores == pytest.approx(score[:, 0, 0].double().numpy(), abs=1e-6)
    assert found.classes.tolist() == [1 + int(each.argmax()) if each.any() else 0 for each in counts]


def test_odin_steps_inside_rescoring_and_a_whole_ensemble_is_asked() -> None:
    plain = by(build_scorer(build_source("odin", model(1)), GRID.as_crop(), top_share=1 / 16))
    stepped = by(build_scorer(build_source("odin", model(1), epsilon=0.1), GRID.as_crop(), top_share=1 / 16))
    committee = Ensemble([model(1), model(2)])
    disagreed = by(build_scorer(build_committee_source("bald", committee), GRID.as_crop(), top_share=1 / 16))

    assert (stepped.scores < plain.scores).all()
    assert np.array_equal(stepped.classes, plain.classes)
    assert (disagreed.scores > 0).all()


def test_mc_dropout_scores_the_same_pool_the_same_twice() -> None:
    scorer = build_scorer(
        build_committee_source("bald", McDropout(model(1), 4, seed=3)), GRID.as_crop(), aggregation="mean", top_share=1
    )

    first, again = by(scorer), by(scorer)

    assert np.array_equal(first.scores, again.scores)
    assert (first.scores > 0).all()
