"""A line's scorers: what its settings say the trainer scores the pool by, and what the task graph of its nodes computes.

Entropy over the top cells of one model, the default, is the task graph as it is; whatever else is asked for is a
:class:`~trainer.acquisition.scorer.PatchScorer` with the same outputs. What ``release/graph.py`` exports, what parity and
golden tiles are made with, is what :func:`node_scorer` and :func:`node_mask_scorer` return.
"""

import msgspec

from shared.config import LineConfig
from shared.identity import sha256_hex
from trainer.acquisition.aggregation import Stride
from trainer.acquisition.build import build_asked_source, build_node_scorer, build_scorer
from trainer.acquisition.scorer import MaskScorer, PatchScorer
from trainer.acquisition.scoring import FORMULA, MaskGraph, TaskGraph
from trainer.learning.heads import HeadedNetwork
from trainer.learning.model import TaskModel, build_model

#: Of the members that ``mc-dropout`` draws for a line: the same minibatch gets the same scores after every restart.
_SEED = 0


def centre_scorer(model: TaskModel, line: LineConfig) -> MaskGraph | MaskScorer:
    """Build what scores the line's crops."""
    grid, share = line.grid.as_crop(), line.geometry.top_share
    if _is_plain(line) or _lacks_heads(model, line):
        return MaskGraph(model, grid, top_share=share)
    asked = line.acquisition
    source = build_asked_source(asked, [model], weights=class_weights(line), seed=_SEED)
    return build_scorer(source, grid, aggregation=asked.aggregation, top_share=share, threshold=asked.threshold)


def node_scorer(model: TaskModel, line: LineConfig, *, stride: Stride = 1) -> TaskGraph | PatchScorer:
    """Build what scores tiles on the line's nodes, from every ``stride``-th row and column."""
    if _is_plain(line) or line.acquisition.on_node == "entropy" or _lacks_heads(model, line):
        return TaskGraph(model, line.grid, top_share=line.geometry.top_share, stride=stride)
    return _exportable(model, line, stride=stride, mask=False)


def node_mask_scorer(model: TaskModel, line: LineConfig, *, stride: Stride = 1) -> MaskGraph | PatchScorer:
    """Build what scores tiles on the line's nodes and says the class of each pixel."""
    if _is_plain(line) or line.acquisition.on_node == "entropy" or _lacks_heads(model, line):
        return MaskGraph(model, line.grid, top_share=line.geometry.top_share, stride=stride)
    return _exportable(model, line, stride=stride, mask=True)


def formula(line: LineConfig) -> str:
    """Say what the line's task graph computes, for its metadata."""
    asked = line.acquisition
    if _is_plain(line) or asked.on_node == "entropy":
        return FORMULA
    return (
        f"{asked.measure} of {asked.committee or 'one model'}; score = {asked.aggregation} over the patch / its largest"
    )


def score_name(line: LineConfig, run: str) -> str:
    """Name what the pool keeps a run's scores under: by other settings the same run gives other scores."""
    if _is_plain(line):
        return run
    # What only nodes or the selection go by changes no score here.
    plain = msgspec.structs.replace(line.acquisition, on_node="same", class_balanced=False)
    return f"{run}+{sha256_hex(msgspec.json.encode([plain, line.geometry.top_share], order='sorted'))[:8]}"


def class_weights(line: LineConfig) -> tuple[float, ...] | None:
    """Return ``class-variance``'s weights in mask order; None where no class has one."""
    named = line.acquisition.class_weights
    return tuple(named.get(name, 0.0) for name in line.class_names) if any(named.values()) else None


def check_acquisition(line: LineConfig) -> None:
    """Refuse, before anything is trained, a measure that the line's network cannot be asked."""
    if _is_plain(line):
        return
    model = build_model(
        line.learning,
        classes=len(line.classes),
        channels=line.grid.channels,
        seed=0,
        heads=line.acquisition.heads,
        beta=line.acquisition.beta,
    )
    centre_scorer(model, line)
    node_scorer(model, line)


def _exportable(model: TaskModel, line: LineConfig, *, stride: Stride, mask: bool) -> PatchScorer:
    asked = line.acquisition
    return build_node_scorer(
        build_asked_source(asked, [model], weights=class_weights(line), seed=_SEED),
        line.grid,
        aggregation=asked.aggregation,
        top_share=line.geometry.top_share,
        threshold=asked.threshold,
        stride=stride,
        mask=mask,
    )


def _lacks_heads(model: TaskModel, line: LineConfig) -> bool:
    """Say whether a run is from before the line asked for heads: it has one opinion, scored by entropy until the next run."""
    return line.acquisition.committee == "heads" and not isinstance(model.network, HeadedNetwork)


def _is_plain(line: LineConfig) -> bool:
    asked = line.acquisition
    return (asked.measure, asked.aggregation, asked.threshold) == ("entropy", "top", None)
