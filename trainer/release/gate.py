"""The gate: may a run replace the release in service? Judged on the reference set alone. Pure.

A run is refused for what is sure of the line and not of the few patches it was measured on:

- its mIoU is more than ``max_drop`` below that of the release in service, and on at least ``SURE`` of the resampled
  reference sets it is worse;
- a class is below its floor and so is the upper bound of its IoU;
- its confidence is further from its accuracy than ``max_ece``, and so is the lower bound of that error;
- its graph takes longer for a tile than ``latency_ms``.

What the reference set is too small to say is told in ``notes`` and refuses nothing. Without a release in service there is
nothing to fall below.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.config import GateTable
from shared.errors import StateError
from trainer.learning.calibration import Reliability
from trainer.learning.metrics import Confusion, miou
from trainer.release.bounds import ClassBounds
from trainer.release.latency import Latency
from trainer.release.resampling import (
    RESAMPLES,
    Draws,
    class_bounds,
    draw,
    surest_error,
    worse_share,
)

#: The share of resampled reference sets on which a run must be worse before a fall counts.
SURE: Final = 0.9


@dataclass(frozen=True, slots=True)
class Measured:
    """One run on the reference patches.

    Attributes:
        counts: Confusion matrices ``(n, k, k)``.
        reliability: Pixels by confidence, of each patch; empty where nobody looked.
        latency: How long its task graph takes; None where nobody measured.
    """

    counts: Confusion
    reliability: tuple[Reliability, ...] = ()
    latency: Latency | None = None


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate found; ``reasons`` is empty when the run passed."""

    passed: bool
    #: None when nothing is supervised.
    miou: float | None
    #: The release in service on the same reference patches.
    miou_before: float | None
    #: By class.
    classes: dict[str, ClassBounds]
    #: How sure it is that the run is worse than the release in service.
    worse_share: float | None
    #: The expected calibration error; None when nothing is supervised or nobody looked.
    ece: float | None
    latency: Latency | None
    patches: int
    reasons: tuple[str, ...]
    #: What could not be judged, or not surely.
    notes: tuple[str, ...]

    @property
    def per_class(self) -> dict[str, float | None]:
        """The IoU of each class; None where neither truth nor prediction holds it."""
        return {name: found.value for name, found in self.classes.items()}


def judge(
    new: Measured,
    old: Confusion | None,
    settings: GateTable,
    *,
    classes: tuple[str, ...],
    rng: np.random.Generator,
) -> GateReport:
    """Judge a run by what was measured on the n reference patches; ``old`` are the matrices of the release in service."""
    counts = new.counts
    if counts.shape[1:] != (len(classes), len(classes)) or (old is not None and old.shape != counts.shape):
        raise StateError(
            f"gate: matrices of shape {counts.shape} and {None if old is None else old.shape} for {len(classes)} classes; both must come from the same reference patches"
        )
    draws = draw(len(counts), rng)
    bounds = dict(zip(classes, class_bounds(counts, draws), strict=True))
    value = _number(miou(counts.sum(axis=0)))
    before = None if old is None else _number(miou(old.sum(axis=0)))
    share = None if old is None else worse_share(counts, old, draws)
    ece, unsure = _calibration(new.reliability, settings, draws)
    reasons, notes = _floors(bounds, settings)
    if value is None:
        reasons.append("the reference set holds no supervised pixel; label reference patches first")
    elif before is not None and share is not None and before - value > settings.max_drop:
        fall = f"mIoU {value:.3f} is {before - value:.3f} below the release in service ({before:.3f}), allowed is {settings.max_drop:.3f}; worse in {share:.0%} of {RESAMPLES} resampled reference sets"
        if share >= SURE:
            reasons.append(fall)
        else:
            notes.append(f"{fall}, {SURE:.0%} would be sure: not refused")
    reasons += [text for sure, text in unsure if sure]
    notes += [text for sure, text in unsure if not sure]
    if new.latency is not None and settings.latency_ms is not None and new.latency.ms > settings.latency_ms:
        reasons.append(f"{new.latency}, allowed are {settings.latency_ms:g} ms")
    notes += _few(bounds, settings, len(counts))
    return GateReport(
        passed=not reasons,
        miou=value,
        miou_before=before,
        classes=bounds,
        worse_share=share,
        ece=ece,
        latency=new.latency,
        patches=len(counts),
        reasons=tuple(reasons),
        notes=tuple(notes),
    )


def _floors(bounds: dict[str, ClassBounds], settings: GateTable) -> tuple[list[str], list[str]]:
    """Say which classes lie below their floors, surely and perhaps."""
    reasons, notes = [], []
    for name, floor in sorted(settings.class_floors.items()):
        found = bounds[name]
        if found.patches < settings.class_patches:
            notes.append(
                f'class "{name}": {found.patches} reference patches hold it, {settings.class_patches} are needed; its floor {floor:.3f} is not judged'
            )
        elif found.value is not None and found.high is not None and found.value < floor:
            told = f'class "{name}": IoU {found.value:.3f} ({found.low:.3f} to {found.high:.3f} on {found.patches} reference patches), its floor is {floor:.3f}'
            if found.high < floor:
                reasons.append(told)
            else:
                notes.append(f"{told}: unsure, not refused")
    return reasons, notes


def _calibration(
    by_patch: tuple[Reliability, ...], settings: GateTable, draws: Draws
) -> tuple[float | None, list[tuple[bool, str]]]:
    """Return the calibration error, and what there is to say of it: whether it is sure, and the words."""
    if not by_patch:
        return None, []
    ece = _number(sum(by_patch, Reliability.none(bins=len(by_patch[0].counts))).ece)
    if ece is None or ece <= settings.max_ece:
        return ece, []
    least = surest_error(by_patch, draws)
    told = f"confidence is {ece:.3f} away from accuracy (at least {least:.3f}), allowed is {settings.max_ece:.3f}"
    return ece, [(True, told) if least > settings.max_ece else (False, f"{told}: unsure, not refused")]


def _few(bounds: dict[str, ClassBounds], settings: GateTable, patches: int) -> list[str]:
    """Name the classes whose IoU says little, because few patches hold them."""
    few = [
        f"{name} {found.patches}"
        for name, found in bounds.items()
        if found.patches < settings.class_patches and name not in settings.class_floors
    ]
    return [f"too few reference patches to judge by, of {patches}: {', '.join(few)}"] if few else []


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
