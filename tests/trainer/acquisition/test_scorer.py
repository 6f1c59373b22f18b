"""Scorers by name: every measure and aggregation, as a module and, where it can, as a graph."""

from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from shared.errors import ConfigError
from shared.geometry import PatchGrid
from trainer.acquisition.build import (
    Aggregation,
    CommitteeMeasure,
    Measure,
    build_aggregation,
    build_committee_source,
    build_scorer,
    build_source,
)
from trainer.acquisition.members import Heads, McDropout
from trainer.acquisition.scorer import PatchScorer, PixelSource
from trainer.acquisition.scoring import MaskGraph
from trainer.learning.compact import CompactEncoder
from trainer.learning.model import TaskModel, normalised
from trainer.release.graph import export
from trainer.release.parity import check_parity, run_graph

GRID = PatchGrid(tile_px=160, patch_px=64, margin_px=16, cell_px=16)
CLASSES = 4
TILES = np.random.default_rng(5).integers(0, 256, size=(3, GRID.tile_px, GRID.tile_px, 1), dtype=np.uint8)


class LightHeads(nn.Module):
    """One encoder, three heads of two 1 x 1 convolutions (Chitta et al., section 6)."""

    def __init__(self) -> None:
        super().__init__()
        self.classes = CLASSES
        self.encoder = CompactEncoder(channels=1, widths=(8,))
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8, 8, 1), nn.ReLU(), nn.Conv2d(8, CLASSES * 16, 1)) for _ in range(3)
        )

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        features = self.encoder(normalised(pixels))[0]
        return torch.stack([nn.functional.pixel_shuffle(head(features), 4) * 5 for head in self.heads])


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.model = LightHeads()
        self.dropout = nn.Dropout2d(0.3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.dropout(self.model(inputs * 64 + 127.5)[0])


def seeded(kind: type[nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        return kind().eval()


HEADED = seeded(LightHeads)
MODEL = TaskModel(seeded(Plain), classes=CLASSES, channels=1).eval()


def committee_source(measure: CommitteeMeasure) -> PixelSource:
    weights = (0.0, 1.0, 2.0, 0.0) if measure == "class-variance" else None
    return build_committee_source(measure, Heads(HEADED), weights=weights)


def run(scorer: PatchScorer) -> tuple[torch.Tensor, ...]:
    with torch.inference_mode():
        return scorer.eval()(torch.from_numpy(TILES))


def test_entropy_with_the_top_cells_is_the_task_graph() -> None:
    found = run(build_scorer(build_source("entropy", MODEL), GRID, top_share=1 / 16))

    with torch.inference_mode():
        wanted = MaskGraph(MODEL, GRID, top_share=1 / 16).eval()(torch.from_numpy(TILES))
    for value, expected in zip(found, wanted, strict=True):
        assert torch.equal(value, expected)


@pytest.mark.parametrize("measure", get_args(Measure))
@pytest.mark.parametrize("aggregation", get_args(Aggregation))
def test_every_measure_scores_with_every_aggregation(measure: Measure, aggregation: Aggregation) -> None:
    source = build_source(measure, MODEL, epsilon=0.01)

    score, mean, above, mask = run(build_scorer(source, GRID, aggregation=aggregation, top_share=1 / 16))

    with torch.inference_mode():
        values = source(torch.from_numpy(TILES).permute(0, 3, 1, 2))[0][:, 0].double().numpy() / source.most
    np.testing.assert_allclose(score.numpy(), by_loops(values, aggregation, source), atol=1e-5)
    np.testing.assert_allclose(mean.numpy(), by_loops(values, "mean", source), atol=1e-5)
    np.testing.assert_allclose(above.numpy(), by_loops(values, "count", source), atol=1e-5)
    assert mask.dtype == torch.uint8
    assert float(score.max()) > 0


@pytest.mark.parametrize("measure", get_args(CommitteeMeasure))
def test_every_committee_measure_scores(measure: CommitteeMeasure) -> None:
    source = committee_source(measure)

    score, _, _, mask = run(build_scorer(source, GRID, aggregation="mean", top_share=1 / 16))

    with torch.inference_mode():
        members = torch.softmax(HEADED(torch.from_numpy(TILES).permute(0, 3, 1, 2)), dim=2)
        values = source(torch.from_numpy(TILES).permute(0, 3, 1, 2))[0][:, 0].double().numpy() / source.most
    np.testing.assert_allclose(score.numpy(), by_loops(values, "mean", source), atol=1e-5)
    assert torch.equal(mask.long(), members.sum(dim=0).argmax(dim=1))
    assert 0.0 < float(score.max()) <= 1.0


def by_loops(values: NDArray[np.float64], aggregation: str, source: PixelSource) -> NDArray[np.float64]:
    """Scores of maps ``(n, tile, tile)`` from 0 to 1, patch by patch."""
    level = (source.most / 2 if source.threshold is None else source.threshold) / source.most
    result = np.zeros((len(values), GRID.patches_per_side, GRID.patches_per_side))
    for n, row, col in np.ndindex(*result.shape):
        y, x = GRID.inset_px + row * GRID.patch_px, GRID.inset_px + col * GRID.patch_px
        patch = values[n, y : y + GRID.patch_px, x : x + GRID.patch_px]
        cells = [patch[v : v + 16, u : u + 16].mean() for v in range(0, 64, 16) for u in range(0, 64, 16)]
        result[n, row, col] = {
            "mean": patch.mean(),
            "sum": patch.sum() / patch.size,
            "count": (patch > level).mean(),
            "top": max(cells),
        }[aggregation]
    return result


def test_the_sum_itself_is_the_sum() -> None:
    values = torch.rand(1, 1, 128, 128, generator=torch.Generator().manual_seed(1))

    found = build_aggregation("sum", GRID, top_share=1, threshold=None)(values)

    np.testing.assert_allclose(found[0, 1, 0].numpy(), values[0, 0, 64:, :64].double().sum(), rtol=1e-5)


class EveryMeasure(nn.Module):
    """The map of every measure, side by side on one pass, so that one export serves them all."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = Heads(HEADED)
        self.committee_measures = nn.ModuleList(committee_source(name).measure for name in get_args(CommitteeMeasure))
        self.measures = nn.ModuleList(build_source(name, MODEL).measure for name in get_args(Measure))

    def forward(self, tiles: torch.Tensor) -> tuple[torch.Tensor, ...]:
        members = list(self.heads(tiles.permute(0, 3, 1, 2)))
        logits = members[0] * 9.0
        maps = [measure(members) for measure in self.committee_measures]
        return (*maps, *[measure(logits) for measure in self.measures])


def exported(module: nn.Module, *outputs: str) -> bytes:
    example = torch.zeros(2, GRID.tile_px, GRID.tile_px, 1, dtype=torch.uint8)
    return export(module.eval(), example, name="tiles", outputs=outputs, metadata={})


def test_a_committee_of_heads_is_a_task_graph_with_a_mask() -> None:
    scorer = build_scorer(committee_source("bald"), GRID, aggregation="top", top_share=1 / 16)
    assert scorer.kept_out is None

    data = exported(scorer, "score", "mean", "above", "mask")

    assert check_parity(scorer, data, TILES, what="committee graph")["score"] < 1e-5
    assert run_graph(data, TILES[:1], what="committee graph")["score"].shape == (1, 2, 2)


def test_every_measure_says_as_a_graph_what_it_says_in_torch() -> None:
    names = [*get_args(CommitteeMeasure), *get_args(Measure)]
    every = EveryMeasure().eval()

    found = run_graph(exported(every, *names), TILES, what="graph")

    with torch.inference_mode():
        wanted = every(torch.from_numpy(TILES))
    assert list(found) == names
    for value, expected in zip(found.values(), wanted, strict=True):
        np.testing.assert_allclose(value, expected.numpy(), atol=1e-5)


def test_what_a_node_cannot_run_says_why() -> None:
    dropped = build_scorer(
        build_committee_source("bald", McDropout(MODEL, 3, seed=1)), GRID, aggregation="mean", top_share=1
    )
    stepped = build_scorer(build_source("odin", MODEL, epsilon=0.1), GRID, top_share=1)

    assert "random draws" in str(dropped.kept_out)
    assert "gradient" in str(stepped.kept_out)
    assert float(run(dropped)[0].max()) > 0


@pytest.mark.parametrize("aggregation", get_args(Aggregation))
def test_a_broken_model_shows_in_every_score(aggregation: Aggregation) -> None:
    class Broken(nn.Module):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return torch.full((len(inputs), CLASSES, *inputs.shape[2:]), torch.nan)

    model = TaskModel(Broken(), classes=CLASSES, channels=1)

    score = run(build_scorer(build_source("margin", model), GRID, aggregation=aggregation, top_share=1 / 16))[0]

    assert torch.isnan(score).all()


def test_counting_needs_a_threshold_that_pixels_can_pass() -> None:
    bald = committee_source("bald")
    two = TaskModel(nn.Conv2d(1, 2, 1), classes=2, channels=1)

    with pytest.raises(ConfigError, match="no paper counts this measure"):
        build_scorer(bald, GRID, aggregation="count", top_share=1)
    with pytest.raises(ConfigError, match=r"threshold 0.5, the measure reaches from 0 to 0.5"):
        build_scorer(build_source("least-confidence", two), GRID, aggregation="count", top_share=1)
    assert float(run(build_scorer(bald, GRID, aggregation="count", top_share=1, threshold=0.01))[0].max()) > 0


def test_unknown_names_are_refused_with_the_known() -> None:
    with pytest.raises(ConfigError, match='measure "entropi": not known; known are bvsb, entropy, least-confidence'):
        build_source("entropi", MODEL)
    with pytest.raises(ConfigError, match="known are bald, categories-first-entropy"):
        build_committee_source("entropy", Heads(HEADED))
    with pytest.raises(ConfigError, match="known are count, mean, sum, top"):
        build_scorer(build_source("entropy", MODEL), GRID, aggregation="max", top_share=1)


def test_class_weights_belong_to_class_variance_and_only_there() -> None:
    with pytest.raises(ConfigError, match="class-variance needs them"):
        build_committee_source("class-variance", Heads(HEADED))
    with pytest.raises(ConfigError, match="class-variance needs them"):
        build_committee_source("bald", Heads(HEADED), weights=(1.0,) * CLASSES)


def test_a_single_class_is_nothing_to_be_unsure_of() -> None:
    with pytest.raises(ConfigError, match="1 class; a model is unsure between at least 2"):
        build_source("margin", TaskModel(nn.Conv2d(1, 1, 1), classes=1, channels=1))
