"""What every sampler takes: a kernel over ``n`` patches that is asked for the pieces a sampler needs."""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from trainer.selection.numbers import Floats, Ints, Vectors

#: Tells ``E``, ``(i, k)``, of any patches: what some labelled ones explain of them.
Explaining: TypeAlias = Callable[[Ints], Floats]


class Kernel(Protocol):
    """A symmetric positive semi-definite kernel over patches, and what of it the labelled patches explain."""

    @property
    def embeddings(self) -> Vectors:
        """The patches, ``(n, d)``: where each stands, for samplers that cut the pool into neighbourhoods."""

    @property
    def labelled(self) -> Vectors:
        """What a draw is conditioned on, ``(m, d)``; none when it is not."""

    def diagonal(self) -> Floats:
        """Return ``L_ii``, ``(n,)``."""

    def among(self, items: Ints) -> Floats:
        """Return the kernel of these patches with each other, ``(i, i)``; the caller may use its memory up."""

    def across(self, rows: Ints, columns: Ints) -> Floats:
        """Return the kernel of these patches with those, ``(r, c)``."""

    def explained(self, items: Ints, known: Ints) -> Floats:
        """Return ``E``, ``(i, k)``: given that those labelled patches were drawn before, the kernel is ``L - E E^T``."""

    def explaining(self, known: Ints) -> Explaining:
        """Return ``explained`` for these labelled patches, which are taken apart once for many questions."""

    def rank_bound(self) -> int:
        """Say how many patches no draw can exceed, as far as can be told without taking the kernel apart."""


class LowRankForm(Protocol):
    """A kernel written as ``B B^T + diag(d)`` with few columns in ``B``."""

    @property
    def rank(self) -> int:
        """How many columns ``B`` has."""

    def features(self, items: Ints | slice) -> Floats:
        """Return these rows of ``B``, ``(i, rank)``."""

    def nuggets(self) -> Floats:
        """Return ``d``, ``(n,)``, none below zero."""
