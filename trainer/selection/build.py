"""From the line's settings to a strategy."""

from typing import assert_never

from shared.config import SelectionTable
from trainer.selection.strategies.kdpp import Kdpp
from trainer.selection.strategies.random import Random
from trainer.selection.strategies.strategy import Strategy


def build_strategy(settings: SelectionTable) -> Strategy:
    """Return the strategy that the line names."""
    match settings.strategy:
        case "kdpp":
            return Kdpp(a=settings.a, b=settings.b)
        case "random":
            return Random()
        case _:
            assert_never(settings.strategy)
