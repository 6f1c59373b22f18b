"""Probation: does a release work on live frames. Pure: it is told what happened and when."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from shared.messages import CameraState

#: Frames that one of the line's cameras must get through under the release.
FRAMES: Final = 3
#: How long inspection may take to load a release that loaded in its trial.
SWAP_S: Final = 120.0
#: A camera that stands still this long cannot judge a release; its trial must do.
QUIET_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Passed:
    """The release may stay."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The release must go."""

    reason: str


Outcome = Passed | Failed


@dataclass(frozen=True, slots=True)
class Probation:
    """One release on probation; every method returns the next value."""

    line: str
    sha256: str
    began_at: float
    #: How long inspection may say nothing at all.
    silence_s: float
    heard_at: float
    swapped_at: float | None = None
    base: dict[str, tuple[int, int]] = field(default_factory=dict)
    best: int = 0
    missed: int = 0
    finished: bool = False

    @classmethod
    def begin(cls, *, line: str, sha256: str, now: float, silence_s: float) -> "Probation":
        """Begin with the order to swap."""
        return cls(line=line, sha256=sha256, began_at=now, heard_at=now, silence_s=silence_s)

    def swapped(self, now: float) -> "Probation":
        """Note that the release runs; frames count from the next counters on."""
        return replace(self, swapped_at=now, heard_at=now, base={}, best=0, missed=0)

    def heard(self, cameras: Sequence[CameraState], now: float) -> "Probation":
        """Take inspection's counters."""
        if self.swapped_at is None:
            return replace(self, heard_at=now)
        mine = {c.camera: (c.frames, c.frames_missed + c.frames_bad) for c in cameras if c.line == self.line}
        base = mine | {name: count for name, count in self.base.items() if name in mine}
        best = max((mine[name][0] - base[name][0] for name in mine), default=0)
        missed = max((mine[name][1] - base[name][1] for name in mine), default=0)
        return replace(self, heard_at=now, base=base, best=max(best, self.best), missed=max(missed, self.missed))

    def ended(self) -> "Probation":
        """Note that every source has ended: no further frame will come."""
        return replace(self, finished=True)

    def outcome(self, now: float) -> Outcome | None:
        """Judge; None while it is too early."""
        if self.swapped_at is None:
            waited = now - self.began_at
            return Failed(f"inspection did not bring it up within {SWAP_S:.0f} s") if waited > SWAP_S else None
        if self.best >= FRAMES:
            return Passed(f"{self.best} frames")
        if self.finished:
            return Passed("every source has ended")
        if now - self.heard_at > self.silence_s:
            return Failed(f"inspection was silent for {now - self.heard_at:.0f} s")
        return self._quiet() if now - self.swapped_at > QUIET_S else None

    def _quiet(self) -> Outcome:
        if self.missed > 0 and self.best == 0:
            return Failed(f"no frame got through in {QUIET_S:.0f} s, {self.missed} were missed or bad")
        return Passed(f"{self.best} frames in {QUIET_S:.0f} s")
