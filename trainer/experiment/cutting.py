"""How a recipe cuts: images into units, and a budget of labels into rounds."""

from collections.abc import Collection
from typing import Annotated, Literal

from msgspec import Meta

from shared.errors import ConfigError
from shared.kinds import Count, Table
from trainer.experiment.growth import Fixed, increments, named_growth
from trainer.experiment.units import Parts, Squares, UnitRule, Whole


class UnitTable(Table, frozen=True):
    """What is selected and labelled, and how much of the image around it the model sees."""

    kind: Literal["whole", "parts", "squares"] = "whole"
    rows: Count | None = None
    cols: Count | None = None
    side_px: Count | None = None
    context_px: Annotated[int, Meta(ge=0, le=4096)] = 0
    #: The model sees full images, the loss covers the labelled units only.
    full: bool = False

    @property
    def rule(self) -> UnitRule:
        """How an image is cut; a ``ConfigError`` where the sizes do not fit the kind."""
        given = {name for name in ("rows", "cols", "side_px") if getattr(self, name) is not None}
        wanted = {"whole": set[str](), "parts": {"rows", "cols"}, "squares": {"side_px"}}[self.kind]
        if given != wanted:
            raise ConfigError(
                f'unit.kind "{self.kind}" with {_listed(given)}; it takes {_listed(wanted)}, and nothing else'
            )
        if self.full and self.context_px:
            raise ConfigError(f"unit.context_px is {self.context_px} and unit.full is true; a full image has no margin")
        match self.kind:
            case "whole":
                return Whole()
            case "parts":
                return Parts(rows=self.rows or 1, cols=self.cols or 1)
            case "squares":
                return Squares(side_px=self.side_px or 1)


class ScheduleTable(Table, frozen=True):
    """How many units each round adds: a first set and equal rounds, or a growth that a paper names."""

    growth: Literal["fixed", "linear-8", "linear-4", "exponential-4"] = "fixed"
    first: Count | None = None
    per_round: Count | None = None
    rounds: Count | None = None
    total: Count | None = None

    def additions(self) -> tuple[int, ...]:
        """Return what each round adds, the start set first."""
        given = {name for name in ("first", "per_round", "rounds", "total") if getattr(self, name) is not None}
        wanted = {"first", "per_round", "rounds"} if self.growth == "fixed" else {"total"}
        if given != wanted:
            raise ConfigError(
                f'schedule.growth "{self.growth}" with {_listed(given)}; it takes {_listed(wanted)}, and nothing else'
            )
        if self.growth != "fixed":
            return increments(named_growth(self.growth), self.total or 0)
        first, batch, rounds = self.first or 1, self.per_round or 1, self.rounds or 1
        return increments(Fixed(first, batch), first + batch * (rounds - 1))


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "no size"
