"""What can happen to a line's activation: the events of its table."""

from dataclasses import dataclass
from typing import TypeAlias

from shared.release import Rollout


@dataclass(frozen=True, slots=True)
class Started:
    """The node starts; ``sound`` are the hashes among current and previous that still verify."""

    sound: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stopping:
    """The node is stopped by its operator: what was on the way is no failure."""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A rollout document asks for a release."""

    rollout: Rollout


@dataclass(frozen=True, slots=True)
class Arrived:
    """The wanted release lies on disk and verifies."""

    sha256: str


@dataclass(frozen=True, slots=True)
class FetchFailed:
    """The wanted release cannot be brought."""

    sha256: str
    reason: str


@dataclass(frozen=True, slots=True)
class TrialPassed:
    """The child process loaded the release and met its golden outputs."""

    sha256: str


@dataclass(frozen=True, slots=True)
class TrialFailed:
    """The release does not load, does not answer, or answers wrongly."""

    sha256: str
    reason: str
    #: False when the node could not try it: the hash stays good.
    blamed: bool = True


@dataclass(frozen=True, slots=True)
class Swapped:
    """Inspection runs the release."""

    sha256: str
    at: float


@dataclass(frozen=True, slots=True)
class SwapRefused:
    """Inspection could not bring up the wanted release."""

    sha256: str
    reason: str
    #: False when the node could not run any: the hash stays good.
    blamed: bool = True


@dataclass(frozen=True, slots=True)
class CurrentRefused:
    """Inspection could not bring up the current release."""

    sha256: str
    reason: str
    #: False when the node could not run any: the release stays current.
    blamed: bool = True


@dataclass(frozen=True, slots=True)
class ProbationPassed:
    """The release worked on live frames."""

    sha256: str


@dataclass(frozen=True, slots=True)
class ProbationFailed:
    """Inspection died or fell silent under the release."""

    sha256: str
    reason: str


Event: TypeAlias = (
    Started
    | Stopping
    | Ordered
    | Arrived
    | FetchFailed
    | TrialPassed
    | TrialFailed
    | Swapped
    | SwapRefused
    | CurrentRefused
    | ProbationPassed
    | ProbationFailed
)
