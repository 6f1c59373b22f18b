"""How a recipe cuts: images into units, and a budget of labels into rounds."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated, Final, Literal, TypeAlias

from msgspec import Meta

from shared.errors import ConfigError
from shared.kinds import Count, Share, Table
from trainer.experiment.clicks import CostRule, OneLabel, Outline
from trainer.experiment.growth import Fixed, increments, named_growth
from trainer.experiment.pixelpick import Among, Apart, PixelRule
from trainer.experiment.units import Parts, Squares, UnitRule, Whole

_SIZES: Final[dict[str, set[str]]] = {
    "whole": set(),
    "parts": {"rows", "cols"},
    "squares": {"side_px"},
    "superpixels": {"side_px"},
    "pixels": set(),
}


@dataclass(frozen=True, slots=True)
class Superpixels:
    """Each image is cut into regions of about ``side_px`` squared pixels that follow its edges; each costs clicks."""

    side_px: int
    cost: CostRule


@dataclass(frozen=True, slots=True)
class Pixels:
    """Each pixel is a unit, and costs one click."""


ClickRule: TypeAlias = Superpixels | Pixels


class UnitTable(Table, frozen=True):
    """What is selected and labelled, and how much of the image around it the model sees.

    Of superpixels and single pixels a label is a click: the schedule counts clicks, and the model sees full images.
    """

    kind: Literal["whole", "parts", "squares", "superpixels", "pixels"] = "whole"
    rows: Count | None = None
    cols: Count | None = None
    side_px: Count | None = None
    context_px: Annotated[int, Meta(ge=0, le=4096)] = 0
    #: The model sees full images, the loss covers the labelled units only.
    full: bool = False
    #: Of superpixels: a person names the class that most of one has, or outlines what is in it.
    answer: Literal["class", "outline"] = "class"
    #: Of an outline: corners that lie so near to the line without them are spared.
    tolerance_px: Annotated[float, Meta(ge=0.0, le=64.0)] = 1.0

    @property
    def clicked(self) -> bool:
        """Whether a label is a click."""
        return self.kind in {"superpixels", "pixels"}

    @property
    def rule(self) -> UnitRule | ClickRule:
        """How an image is cut; a ``ConfigError`` where the sizes do not fit the kind."""
        given = {name for name in ("rows", "cols", "side_px") if getattr(self, name) is not None}
        wanted = _SIZES[self.kind]
        if given != wanted:
            raise ConfigError(
                f'unit.kind "{self.kind}" with {_listed(given)}; it takes {_listed(wanted)}, and nothing else'
            )
        if self.context_px and (self.full or self.clicked):
            which = "unit.full is true" if self.full else f'unit.kind is "{self.kind}"'
            raise ConfigError(f"unit.context_px is {self.context_px} and {which}; a full image has no margin")
        if self.answer != "class" and self.kind != "superpixels":
            raise ConfigError(f'unit.answer is "{self.answer}" and unit.kind "{self.kind}"; superpixels are outlined')
        match self.kind:
            case "whole":
                return Whole()
            case "parts":
                return Parts(rows=self.rows or 1, cols=self.cols or 1)
            case "squares":
                return Squares(side_px=self.side_px or 1)
            case "superpixels":
                cost = OneLabel() if self.answer == "class" else Outline(self.tolerance_px)
                return Superpixels(side_px=self.side_px or 1, cost=cost)
            case "pixels":
                return Pixels()


class PixelTable(Table, frozen=True):
    """How an arm that goes by score picks pixels: by lot among the top share of each image, or the top ones apart."""

    top_share: Share | None = None
    distance_px: Annotated[float, Meta(ge=0.0, le=4096.0)] | None = None

    @property
    def rule(self) -> PixelRule:
        """The rule; a ``ConfigError`` where there are two or none."""
        if (self.top_share is None) == (self.distance_px is None):
            raise ConfigError(
                f"pixels: top_share {self.top_share} and distance_px {self.distance_px}; expected one of them"
            )
        return Among(self.top_share) if self.top_share is not None else Apart(self.distance_px or 0.0)


class ScheduleTable(Table, frozen=True):
    """How many units, or clicks, each round adds: a first set and equal rounds, or a growth that a paper names."""

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
