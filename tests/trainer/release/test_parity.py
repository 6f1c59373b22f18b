"""Parity: what differs, breaks or is not finite is not released."""

import copy
from typing import Any

import pytest
import torch

from shared.errors import ReleaseError
from trainer.acquisition.scoring import MaskGraph, TaskGraph
from trainer.release.graph import export_task
from trainer.release.parity import TOLERANCES, check_parity


def test_a_faithful_graph_passes_far_below_the_tolerance(built: Any) -> None:
    module = MaskGraph(built.model, built.line.grid, top_share=1 / 16)

    worst = check_parity(module, built.mask, built.pixels(5, 160), what="mask graph")

    assert set(worst) == {"score", "mean", "above", "mask", "rank"}
    assert worst["score"] < TOLERANCES["fp32"]["score"] / 5
    assert worst["rank"] > 0.99


def test_a_graph_of_other_weights_is_refused_with_both_numbers(built: Any) -> None:
    other = copy.deepcopy(built.model)
    with torch.no_grad():
        # Two hundredths more: nothing an eye would see, the mask is the very same.
        for weight in other.network.head.parameters():
            weight.mul_(1.02)

    with pytest.raises(ReleaseError, match=r"task graph: score differs by .* allowed is 0.0001; it is not released"):
        check_parity(
            TaskGraph(other, built.line.grid, top_share=1 / 16), built.task, built.pixels(3, 160), what="task graph"
        )


def test_a_graph_with_other_outputs_is_refused(built: Any) -> None:
    with pytest.raises(ReleaseError, match="3 outputs, the module has 4"):
        check_parity(
            MaskGraph(built.model, built.line.grid, top_share=1 / 16), built.task, built.pixels(1, 160), what="graph"
        )


def test_a_sick_model_is_refused_even_when_both_sides_agree(built: Any) -> None:
    sick = copy.deepcopy(built.model)
    with torch.no_grad():
        sick.network.head.bias.fill_(torch.nan)
    grid = built.line.grid
    scorer = TaskGraph(sick, grid, top_share=1 / 16)
    data = export_task(scorer, grid, line="steel", release="steel-0001", classes=("a", "b", "c"))

    with pytest.raises(ReleaseError, match="score is not finite"):
        check_parity(scorer, data, built.pixels(2, 160), what="task graph")


def test_bytes_that_are_no_graph_are_refused(built: Any) -> None:
    module = TaskGraph(built.model, built.line.grid, top_share=1 / 16)

    with pytest.raises(ReleaseError, match="does not run"):
        check_parity(module, built.task[:-1000], built.pixels(1, 160), what="task graph")


def test_tiles_of_another_size_are_refused_by_the_graph(built: Any) -> None:
    module = TaskGraph(built.model, built.line.grid, top_share=1 / 16)

    with pytest.raises(ReleaseError, match="does not run"):
        check_parity(module, built.task, built.pixels(1, 192), what="task graph")
