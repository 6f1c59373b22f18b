"""In which numbers a graph computes, and on what: what a line releases and a node runs."""

from typing import Literal, TypeAlias

from msgspec import field

from shared.kinds import Table

Provider: TypeAlias = Literal["cpu", "cuda"]
#: int8 is the network alone; what follows its logits stays fp32, whatever the precision.
Precision: TypeAlias = Literal["fp32", "fp16", "int8"]


class ReleaseTable(Table, frozen=True):
    """How a run becomes graphs."""

    #: Every how many-th row and column of the logits the score is read from.
    entropy_stride: Literal[1, 2] = 2
    precision: Precision = "fp32"
    #: Where a provider runs another one.
    providers: dict[Provider, Precision] = field(default_factory=dict)

    def precision_on(self, provider: Provider) -> Precision:
        """Say what nodes with this provider run."""
        return self.providers.get(provider, self.precision)
