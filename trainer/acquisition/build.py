"""From names to scorers: every measure, committee measure and aggregation that a setting can name."""

from collections.abc import Sequence
from typing import assert_never, get_args

from shared.acquisition import AcquisitionTable
from shared.errors import ConfigError
from shared.geometry import PatchGrid
from shared.ways import Aggregation, CommitteeMeasure, Measure
from trainer.acquisition.aggregation import Aggregator, Count, Mean, Sizes, Stride, Sum, Top, sizes_at
from trainer.acquisition.committee import (
    CategoriesFirstEntropy,
    CommitteeMeasurer,
    EnsembleEntropy,
    MutualInformation,
    Variance,
    VariationRatio,
    VoteEntropy,
)
from trainer.acquisition.entropy import PixelEntropy
from trainer.acquisition.members import Committee, Ensemble, Heads, McDropout
from trainer.acquisition.odin import Odin
from trainer.acquisition.pixels import Bvsb, LeastConfidence, Margin
from trainer.acquisition.scorer import MaskScorer, OneModel, PatchScorer, PixelSource, SeveralModels
from trainer.learning.model import EveryHead, TaskModel


def build_source(measure: Measure, model: TaskModel, *, temperature: float = 0.1, epsilon: float = 0.0) -> PixelSource:
    """Measure one model; ``temperature`` and ``epsilon`` are ODIN's."""
    _know("measure", measure, get_args(Measure), classes=model.classes)
    match measure:
        case "entropy":
            return OneModel(model, PixelEntropy(model.classes))
        case "least-confidence":
            return OneModel(model, LeastConfidence(model.classes))
        case "margin":
            return OneModel(model, Margin(model.classes))
        case "bvsb":
            return OneModel(model, Bvsb(model.classes))
        case "odin":
            return Odin(model, temperature=temperature, epsilon=epsilon)
        case _:
            assert_never(measure)


def build_committee_source(
    measure: CommitteeMeasure, committee: Committee, *, weights: Sequence[float] | None = None
) -> PixelSource:
    """Measure a committee; ``weights`` are ``class-variance``'s, one for each class."""
    _know("committee measure", measure, get_args(CommitteeMeasure), classes=committee.classes)
    if (weights is None) == (measure == "class-variance"):
        raise ConfigError(
            f'committee measure "{measure}" with class weights {weights}; class-variance needs them and only it'
        )
    return SeveralModels(committee, _committee_measure(measure, committee.classes, weights))


def build_asked_source(
    asked: AcquisitionTable, models: Sequence[TaskModel], *, weights: Sequence[float] | None, seed: int
) -> PixelSource:
    """Build what a setting asks for: a measure of the first model, or of a committee of them.

    Args:
        asked: The measure, and whose opinions it goes by.
        models: Those of an ensemble, else one.
        weights: ``class-variance``'s.
        seed: Of the members that ``mc-dropout`` draws.
    """
    if asked.measure in get_args(Measure):
        measure: Measure = asked.measure  # type: ignore[assignment]  # one of the two Literals
        return build_source(measure, models[0], temperature=asked.temperature, epsilon=asked.epsilon)
    of_committee: CommitteeMeasure = asked.measure  # type: ignore[assignment]  # the other
    committee: Committee
    match asked.committee:
        case "ensemble":
            committee = Ensemble(models)
        case "heads":
            committee = Heads(EveryHead(models[0]))
        case "mc-dropout":
            committee = McDropout(models[0], asked.members, seed=seed)
        case None:
            raise ConfigError(
                f'acquisition.measure is "{asked.measure}" without a committee; name one in acquisition.committee'
            )
        case _:
            assert_never(asked.committee)
    return build_committee_source(of_committee, committee, weights=weights)


def build_aggregation(
    aggregation: Aggregation, grid: Sizes, *, top_share: float, threshold: float | None
) -> Aggregator:
    """Aggregate to patches; ``top_share`` is ``top``'s, ``threshold``, in the measure's unit, ``count``'s."""
    _know("aggregation", aggregation, get_args(Aggregation))
    match aggregation:
        case "mean":
            return Mean(grid)
        case "sum":
            return Sum(grid)
        case "top":
            return Top(grid, top_share=top_share)
        case "count":
            if threshold is None:
                raise ConfigError(
                    'aggregation "count": no paper counts this measure, so it has no threshold of its own; set one or aggregate otherwise'
                )
            return Count(grid, threshold=threshold)
        case _:
            assert_never(aggregation)


def build_scorer(
    source: PixelSource,
    grid: PatchGrid,
    *,
    aggregation: Aggregation = "top",
    top_share: float,
    threshold: float | None = None,
) -> MaskScorer:
    """Put a scorer together that also says the class of every pixel; ``threshold`` takes the place of the measure's own."""
    chosen, level = _aggregated(source, grid, aggregation, top_share=top_share, threshold=threshold)
    return MaskScorer(source, chosen, grid, threshold=level)


def build_node_scorer(
    source: PixelSource,
    grid: PatchGrid,
    *,
    aggregation: Aggregation,
    top_share: float,
    threshold: float | None,
    stride: Stride,
    mask: bool,
) -> PatchScorer:
    """Put together what stands in a task graph, or refuse what cannot; with ``mask`` it says the class of every pixel."""
    if source.kept_out is not None:
        raise ConfigError(f'acquisition: {source.kept_out}; set acquisition.on_node to "entropy"')
    kind = MaskScorer if mask else PatchScorer
    chosen, level = _aggregated(source, sizes_at(grid, stride), aggregation, top_share=top_share, threshold=threshold)
    return kind(source, chosen, grid, threshold=level, stride=stride)


def _aggregated(
    source: PixelSource, sizes: Sizes, aggregation: Aggregation, *, top_share: float, threshold: float | None
) -> tuple[Aggregator, float | None]:
    level = source.threshold if threshold is None else threshold
    if aggregation == "count" and level is not None and not 0 <= level < source.most:
        raise ConfigError(
            f'aggregation "count": threshold {level:.4g}, the measure reaches from 0 to {source.most:.4g} and no pixel counts; set another or aggregate otherwise'
        )
    return build_aggregation(aggregation, sizes, top_share=top_share, threshold=level), level


def _committee_measure(measure: CommitteeMeasure, classes: int, weights: Sequence[float] | None) -> CommitteeMeasurer:
    match measure:
        case "ensemble-entropy":
            return EnsembleEntropy(classes)
        case "categories-first-entropy":
            return CategoriesFirstEntropy(classes)
        case "bald" | "kl-consensus":
            return MutualInformation(classes)
        case "vote-entropy":
            return VoteEntropy(classes)
        case "variation-ratio":
            return VariationRatio(classes)
        case "variance" | "class-variance":
            return Variance(classes, weights)
        case _:
            assert_never(measure)


def _know(what: str, name: str, known: Sequence[str], *, classes: int = 2) -> None:
    if name not in known:
        raise ConfigError(f'{what} "{name[:60]}": not known; known are {", ".join(sorted(known))}')
    if classes < 2:
        raise ConfigError(f'{what} "{name}": {classes} class; a model is unsure between at least 2')
