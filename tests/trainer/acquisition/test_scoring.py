"""The task graph as a module: a node's tile and the trainer's crop give a patch the same kind of score."""

from collections.abc import Iterable

import numpy as np
import pytest
import torch

from shared.config import LearningTable
from shared.console import Step
from shared.geometry import Patch, PatchGrid
from trainer.acquisition.rescore import Rescores, rescore_by
from trainer.acquisition.scoring import MaskGraph, TaskGraph
from trainer.learning.model import TaskModel, build_model

GRID = PatchGrid(tile_px=160, patch_px=64, margin_px=16, cell_px=16)
SETTINGS = LearningTable(architecture="compact", encoder="compact-8-8")


class Pointwise(torch.nn.Module):
    """Logits from each pixel alone: a model without context, for which tile and crop must agree exactly."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat([pixels, -2 * pixels, torch.zeros_like(pixels)], dim=1)


def pixels(n: int, side: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, size=(n, side, side, 1), dtype=np.uint8)


def rescore(
    model: TaskModel,
    crops: Iterable[np.ndarray],
    *,
    top_share: float,
    total: int,
    step: Step,
    minibatch: int | None = None,
) -> Rescores:
    graph = MaskGraph(model, GRID.as_crop(), top_share=top_share)
    return rescore_by(graph, crops, grid=GRID, total=total, step=step, minibatch=minibatch)


def test_the_crop_s_score_is_the_tile_s_when_no_context_matters() -> None:
    frame = pixels(1, 256)[0]
    model = TaskModel(Pointwise(), classes=3, channels=1)
    tiles = GRID.tiles(frame)
    score, _, _ = TaskGraph(model, GRID, top_share=1 / 16)(torch.from_numpy(tiles))
    by_node = GRID.frame_scores(score.numpy(), 256, 256)

    crops = [GRID.crop(frame, patch) for patch in GRID.patches(256, 256)]
    model.register_parameter("anchor", torch.nn.Parameter(torch.zeros(1)))
    by_trainer = rescore(model, crops, top_share=1 / 16, total=16, step=lambda _done, _total: None, minibatch=5).scores

    np.testing.assert_allclose(by_trainer.reshape(4, 4), by_node, atol=1e-6)
    assert by_node[Patch(1, 2).row, 2] == pytest.approx(by_trainer[6], abs=1e-6)


def test_rescoring_tells_its_progress_and_keeps_the_order() -> None:
    model = build_model(SETTINGS, classes=3, channels=1, seed=1).eval()
    crops = pixels(7, GRID.crop_px)
    told: list[tuple[int, int]] = []

    found = rescore(
        model,
        iter(crops),
        top_share=1 / 16,
        total=7,
        step=lambda done, total: told.append((done, total)),
        minibatch=3,
    ).scores
    alone = [
        rescore(model, [crop], top_share=1 / 16, total=1, step=lambda _done, _total: None).scores[0] for crop in crops
    ]

    assert told == [(3, 7), (6, 7), (7, 7)]
    np.testing.assert_allclose(found, alone, atol=1e-6)


def test_an_empty_pool_has_no_scores() -> None:
    model = build_model(SETTINGS, classes=3, channels=1, seed=1)

    found = rescore(model, [], top_share=1, total=0, step=lambda _done, _total: None)

    assert found.scores.shape == found.classes.shape == (0,)


class Painted(torch.nn.Module):
    """Sees class 1 where a pixel is 1, class 2 where it is 2, background elsewhere."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        # The model normalises what it is given.
        values = (pixels * 64.0 + 127.5).round()
        return torch.cat([(values == value).float() for value in (0, 1, 2)], dim=1)


def test_a_patch_s_class_is_what_is_most_in_it_besides_the_background() -> None:
    model = TaskModel(Painted(), classes=3, channels=1)
    model.register_parameter("anchor", torch.nn.Parameter(torch.zeros(1)))
    crops = np.zeros((4, GRID.crop_px, GRID.crop_px, 1), dtype=np.uint8)
    start = GRID.margin_px
    # Nothing; a little of both; only outside the patch; the other one.
    crops[1, start, start : start + 3] = 2
    crops[1, start + 1, start : start + 2] = 1
    crops[2, 0, :] = 1
    crops[3, start : start + 2, start : start + 2] = 1

    found = rescore(model, crops, top_share=1, total=4, step=lambda _done, _total: None)

    assert found.classes.tolist() == [0, 2, 0, 1]


def test_the_mask_graph_adds_the_likeliest_class_and_changes_no_score() -> None:
    model = build_model(SETTINGS, classes=4, channels=1, seed=2).eval()
    tiles = torch.from_numpy(pixels(2, GRID.tile_px))

    with torch.inference_mode():
        *scores, mask = MaskGraph(model, GRID, top_share=1 / 16).eval()(tiles)
        plain = TaskGraph(model, GRID, top_share=1 / 16).eval()(tiles)
        logits = model(tiles.permute(0, 3, 1, 2))

    assert mask.dtype == torch.uint8
    assert torch.equal(mask.long(), logits.argmax(dim=1))
    for value, expected in zip(scores, plain, strict=True):
        torch.testing.assert_close(value, expected)
