"""What every strategy takes and gives."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from trainer.selection.kernels import Floats, Ints


@dataclass(frozen=True, slots=True)
class Problem:
    """What a batch is chosen from.

    ``embeddings`` is ``(n, d)`` and ``labelled`` ``(m, d)``, both of unit length and from one space. ``scores`` is
    ``(n,)`` in [0, 1], or None while no model has scored the pool. ``tau`` is the kernel's temperature.
    """

    embeddings: Floats
    scores: Floats | None
    labelled: Floats
    tau: float


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen: indices in the order drawn, each one's inclusion probability, and what should be told."""

    indices: Ints
    marginals: Floats
    notes: tuple[str, ...] = ()


class Strategy(Protocol):
    """A way to choose."""

    @property
    def name(self) -> str:
        """The name in ``line.toml``."""

    def choose(self, problem: Problem, k: int, rng: np.random.Generator) -> Choice:
        """Choose ``k`` patches, or fewer with a note when the pool cannot give as many."""
