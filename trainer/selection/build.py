"""From the line's settings to a strategy, with what the sizes of pool and batch decide."""

from dataclasses import dataclass
from typing import Final, assert_never

from msgspec.structs import replace

from shared.config import SelectionTable
from trainer.selection.auto import choose_greedy_sampler, choose_sampler
from trainer.selection.problem import SelectionError
from trainer.selection.strategies.greedy import Greedy
from trainer.selection.strategies.kcentre import Kcentre
from trainer.selection.strategies.kdpp import Kdpp
from trainer.selection.strategies.kmeans import Kmeans
from trainer.selection.strategies.meal import Meal, MealFt
from trainer.selection.strategies.proportional import Proportional
from trainer.selection.strategies.random import Random
from trainer.selection.strategies.ranking import Stride, Top
from trainer.selection.strategies.strategy import Strategy

#: Strategies that go by scores alone or begin with them: without a model there is nothing to go by.
_BY_SCORES: Final = ("meal", "meal-ft", "stride", "top", "proportional")


@dataclass(frozen=True, slots=True)
class Plan:
    """How a batch is to be chosen: by which strategy, drawn with which sampler, and why so."""

    strategy: Strategy
    sampler: str | None = None
    notes: tuple[str, ...] = ()


def plan(settings: SelectionTable, *, n: int, k: int, known: int, scored: bool) -> Plan:
    """Say how ``k`` of ``n`` patches are chosen beside ``known`` labelled ones: what the line leaves to us is settled here, with the reason."""
    if not scored and settings.strategy in _BY_SCORES:
        return Plan(Random(), notes=(f"no scores yet for {settings.strategy}: this batch is drawn by lot",))
    if settings.strategy not in {"kdpp", "greedy"}:
        return Plan(build_strategy(settings))
    if settings.sampler != "auto":
        return Plan(build_strategy(settings), settings.sampler)
    if settings.strategy == "greedy":
        sampler: str
        sampler, reason = choose_greedy_sampler(n, k, known if settings.conditioned else 0)
    else:
        sampler, reason = choose_sampler(n, k, settings.weighting)
    return Plan(build_strategy(replace(settings, sampler=sampler)), sampler, (reason,))


def build_strategy(settings: SelectionTable) -> Strategy:  # noqa: C901, PLR0911  # one case a strategy
    """Return the strategy that the line names, with a sampler that is no longer ``auto`` where it takes one."""
    match settings.strategy:
        case "kdpp":
            return _kdpp(settings)
        case "greedy":
            return _greedy(settings)
        case "kmeans":
            return Kmeans(a=settings.a, b=settings.b, conditioned=settings.conditioned)
        case "kcentre":
            return Kcentre(conditioned=settings.conditioned)
        case "meal":
            return Meal(informative=settings.informative)
        case "meal-ft":
            return MealFt(informative=settings.informative)
        case "stride":
            return Stride(stride=settings.stride)
        case "top":
            return Top()
        case "proportional":
            return Proportional()
        case "random":
            return Random()
        case _:
            assert_never(settings.strategy)


def _kdpp(settings: SelectionTable) -> Kdpp:
    match settings.sampler:
        case "block" | "dense" | "lowrank" | "dppy-exact" | "dppy-mcmc" as sampler:
            return Kdpp(
                weighting=settings.weighting,
                sampler=sampler,
                a=settings.a,
                b=settings.b,
                conditioned=settings.conditioned,
                draws=settings.draws,
            )
        case _:
            raise SelectionError(
                f'sampler {settings.sampler}: strategy "kdpp" does not draw with it; nothing was chosen'
            )


def _greedy(settings: SelectionTable) -> Greedy:
    match settings.sampler:
        case "lazy" | "block" as sampler:
            return Greedy(a=settings.a, b=settings.b, sampler=sampler, conditioned=settings.conditioned)
        case _:
            raise SelectionError(f'sampler {settings.sampler}: strategy "greedy" does not go by it; nothing was chosen')
