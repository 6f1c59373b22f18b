"""How unsure a model is of a patch, as settings: what studies and lines have in common, and what a line adds."""

from typing import Annotated, Literal

from msgspec import Meta, field

from shared.kinds import Positive, Table
from shared.ways import Aggregation, Committee, CommitteeMeasure, Measure


class AcquisitionTable(Table, frozen=True):
    """How unsure a model is: a measure of its pixels, and their aggregation."""

    measure: Literal[Measure, CommitteeMeasure] = "entropy"
    aggregation: Aggregation = "top"
    #: What ``count`` compares with, in the measure's unit; the paper's own when absent.
    threshold: float | None = None
    committee: Committee | None = None
    members: Annotated[int, Meta(ge=2, le=64)] = 4
    #: The weight of the KL regulariser over ``heads``; 0 makes them an L2 ensemble.
    beta: Annotated[float, Meta(ge=0.0, le=1e6)] = 1e-4
    #: ``odin``'s.
    temperature: Positive = 0.1
    epsilon: Annotated[float, Meta(ge=0.0, le=1e6)] = 0.0

    @property
    def heads(self) -> int:
        """How many light heads a network has for this; 0 leaves it its own last layer."""
        return self.members if self.committee == "heads" else 0

    @property
    def networks(self) -> int:
        """How many networks learn for this, each by itself."""
        return self.members if self.committee == "ensemble" else 1


class LineAcquisitionTable(AcquisitionTable, frozen=True):
    """How a line's patches are scored: by the trainer, and by the task graph that its nodes run."""

    #: What the task graph computes: the same, or entropy over the top cells where the trainer's measure cannot stand in a graph.
    on_node: Literal["same", "entropy"] = "same"
    #: ``class-variance``'s, by name; a class that is not named weighs nothing.
    class_weights: dict[str, Annotated[float, Meta(ge=0.0, le=1e6)]] = field(default_factory=dict)
    #: Whether a patch is worth more where the pool holds little of the class seen in it.
    class_balanced: bool = False
