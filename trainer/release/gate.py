"""The gate: may a run replace the release in service? Judged on the reference set alone. Pure.

A run is refused when its mIoU falls more than ``max_drop`` below the release in service and the fall is no accident of
the few patches it was measured on: at least ``SURE`` of the resampled reference sets agree that it is worse. Without a
release in service there is nothing to fall below. A class under its floor refuses a run as well, where the reference
set holds that class.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from shared.config import GateTable
from shared.errors import StateError
from trainer.learning.metrics import Confusion, iou, miou

RESAMPLES: Final = 1000
#: The share of resampled reference sets on which a run must be worse before a fall counts.
SURE: Final = 0.9


@dataclass(frozen=True, slots=True)
class GateReport:
    """What the gate found; ``reasons`` is empty when the run passed."""

    passed: bool
    #: None when nothing is supervised.
    miou: float | None
    #: The release in service on the same reference patches.
    miou_before: float | None
    #: IoU by class; None where neither truth nor prediction holds it.
    per_class: dict[str, float | None]
    #: How sure it is that the run is worse than the release in service.
    worse_share: float | None
    patches: int
    reasons: tuple[str, ...]


def judge(
    new: Confusion,
    old: Confusion | None,
    settings: GateTable,
    *,
    classes: tuple[str, ...],
    rng: np.random.Generator,
) -> GateReport:
    """Judge a run by its confusion matrices ``(n, k, k)`` on the n reference patches; ``old`` is the release in service's."""
    if new.shape[1:] != (len(classes), len(classes)) or (old is not None and old.shape != new.shape):
        raise StateError(
            f"gate: matrices of shape {new.shape} and {None if old is None else old.shape} for {len(classes)} classes; both must come from the same reference patches"
        )
    total = new.sum(axis=0)
    per_class = {name: _number(value) for name, value in zip(classes, iou(total), strict=True)}
    value = _number(miou(total))
    before = None if old is None else _number(miou(old.sum(axis=0)))
    share = None if old is None else worse_share(new, old, rng)
    reasons = _below_floors(total, settings, classes)
    if value is None:
        reasons.append("the reference set holds no supervised pixel; label reference patches first")
    elif before is not None and share is not None and before - value > settings.max_drop and share >= SURE:
        reasons.append(
            f"mIoU {value:.3f} is {before - value:.3f} below the release in service ({before:.3f}), allowed is {settings.max_drop:.3f}; "
            f"worse in {share:.0%} of {RESAMPLES} resampled reference sets"
        )
    return GateReport(not reasons, value, before, per_class, share, len(new), tuple(reasons))


def worse_share(new: Confusion, old: Confusion, rng: np.random.Generator) -> float:
    """Return the share of bootstrap samples of the reference patches on which ``new`` has the lower mIoU.

    Paired: both are measured on the same resampled patches. A tie counts half.
    """
    n = len(new)
    if not n:
        return 0.5
    # How often each patch is drawn; a matrix product sums the drawn matrices.
    drawn = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES)
    flat = (len(drawn), *new.shape[1:])
    values = []
    for counts in (new, old):
        per_class = iou((drawn @ counts.reshape(n, -1)).reshape(flat))
        known = ~np.isnan(per_class)
        present = known.sum(axis=1)
        total = np.where(known, per_class, 0.0).sum(axis=1)
        values.append(np.divide(total, present, out=np.zeros(len(drawn)), where=present > 0))
    return float((values[0] < values[1]).mean() + 0.5 * (values[0] == values[1]).mean())


def _below_floors(total: Confusion, settings: GateTable, classes: tuple[str, ...]) -> list[str]:
    values = iou(total)
    reasons = []
    for name, floor in sorted(settings.class_floors.items()):
        index = classes.index(name)
        # A class the reference set lacks cannot be judged by it.
        if total[index].sum() and values[index] < floor:
            reasons.append(f'class "{name}": IoU {values[index]:.3f}, its floor is {floor:.3f}')
    return reasons


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
