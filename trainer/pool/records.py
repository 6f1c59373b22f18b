"""What goes into the pool and what comes out: frozen values, no database in sight."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from shared.messages import Candidate

#: A candidate waits in the pool, is handed over once, and is labelled from then on.
State = Literal["pool", "handed", "labelled"]
STATES: Final = ("pool", "handed", "labelled")
#: train: chosen for the training set; reference: drawn uniformly, judges and never trains; seed: came with its label.
Purpose = Literal["train", "reference", "seed"]
#: The reason of a candidate that the random floor sent; only these are a uniform sample of what the cameras saw.
FLOOR: Final = "floor"
#: The node of candidates cut from images that people had labelled before; no real node may have this name.
SEED_NODE: Final = "seed"


@dataclass(frozen=True, slots=True)
class Arrival:
    """A candidate that passed every check, and where it came from: node and line are the topic's."""

    line: str
    node: str
    candidate: Candidate
    received_at: float


@dataclass(frozen=True, slots=True)
class AddReport:
    """How many candidates were new, and how many had come before."""

    new: int
    again: int


@dataclass(frozen=True, slots=True)
class PoolEntry:
    """One candidate without its crop."""

    id: str
    line: str
    node: str
    camera: str
    frame: int
    captured_at: float
    row: int
    col: int
    inside_h: int
    inside_w: int
    release: str | None
    score: float | None
    reason: str
    gain: float | None
    seen: int
    crop_format: str
    received_at: float
    state: State
    #: Of the part, the lot or the recipe that its frame showed.
    ids: Mapping[str, str]

    @property
    def inside(self) -> tuple[int, int]:
        """How many rows and columns of the patch lie inside the frame."""
        return self.inside_h, self.inside_w


@dataclass(frozen=True, slots=True)
class Pick:
    """One candidate that a selection chose, what for and why."""

    id: str
    purpose: Purpose
    explanation: dict[str, object]


@dataclass(frozen=True, slots=True)
class LabelTask:
    """One candidate that was handed over; ``state`` turns to labelled when its mask has come."""

    candidate_id: str
    line: str
    round: int
    purpose: Purpose
    explanation: dict[str, object]
    handed_at: float
    state: State


@dataclass(frozen=True, slots=True, eq=False)
class Returned:
    """One painted mask: ``(crop_px, crop_px)`` class values, 255 outside the patch; ``source`` says who painted."""

    candidate_id: str
    mask: NDArray[np.uint8]
    source: str


@dataclass(frozen=True, slots=True)
class RoundRow:
    """Where a line's round stands."""

    line: str
    number: int
    stage: str
    detail: dict[str, object]
    updated_at: float
