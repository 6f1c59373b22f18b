"""Clicks: what labelling a region costs, and batches that cost a budget of them (D5). Pure.

Cai et al. (CVPR 2021) fill a batch by score until the clicks spent reach K. The score decides, not score per click;
the last region may go beyond K by less than its own cost, because what a region costs is known only once it is labelled.
"""

from dataclasses import dataclass
from typing import TypeAlias, assert_never

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError
from trainer.experiment.superpixels import Regions, pieces
from trainer.labelling.masks import IGNORE, Mask
from trainer.selection.numbers import Floats, Ints
from trainer.selection.problem import SelectionError
from trainer.selection.strategies.ranking import ranked

Corner: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class OneLabel:
    """A person names the class that most of a region has: one click each."""


@dataclass(frozen=True, slots=True)
class Outline:
    """A person outlines what of each class lies in a region, a click a corner, and names each part with one more.

    A region of one class is only named. Pixels of 255 are left out. Corners that lie within ``tolerance_px`` of the
    line without them are spared: a person does not follow the pixels' stairs.
    """

    tolerance_px: float

    def __post_init__(self) -> None:
        # The comparison is false for nan, too.
        if not 0.0 <= self.tolerance_px < np.inf:
            raise ConfigError(f"clicks: tolerance_px {self.tolerance_px:g}; expected a number from 0")


CostRule: TypeAlias = OneLabel | Outline


@dataclass(frozen=True, slots=True)
class Filled:
    """A batch and what it cost: ``indices`` ``(k,)`` in the order taken. ``notes`` say what should be told."""

    indices: Ints
    clicks: int
    notes: tuple[str, ...] = ()


def region_costs(rule: CostRule, regions: Regions, mask: Mask) -> Ints:
    """Count the clicks that each region of an image costs, ``(count,)``, by its true mask ``(h, w)``."""
    match rule:
        case OneLabel():
            return np.ones(regions.count, dtype=np.intp)
        case Outline():
            return _outline_costs(rule, regions, mask)
        case _:
            assert_never(rule)


def fill(scores: Floats, costs: Ints, *, budget_clicks: int, rng: np.random.Generator) -> Filled:
    """Take regions by falling score until at least ``budget_clicks`` are spent; equal scores are ordered by lot.

    Args:
        scores: ``(n,)``, finite.
        costs: ``(n,)``, from 1.
        budget_clicks: K.
        rng: Decides ties.
    """
    if scores.shape != costs.shape or not len(costs):
        raise SelectionError(f"regions: {len(scores)} scores and {len(costs)} costs; nothing was chosen")
    if not np.isfinite(scores).all():
        raise SelectionError(f"regions: score {int(np.argmin(np.isfinite(scores)))} is no number; nothing was chosen")
    cheapest = int(costs.min())
    if cheapest < 1:
        raise SelectionError(f"regions: a cost of {cheapest} clicks, at least 1 was expected; nothing was chosen")
    if budget_clicks < cheapest:
        raise SelectionError(
            f"budget: {budget_clicks} clicks, the cheapest region costs {cheapest}; nothing was chosen", possible=0
        )
    order = ranked(scores, rng)
    spent = np.cumsum(costs[order])
    # The first place where the budget is reached belongs to the batch.
    taken = min(len(order), int(np.searchsorted(spent, budget_clicks)) + 1)
    clicks = int(spent[taken - 1])
    notes = (f"all {len(order)} regions cost {clicks} of {budget_clicks} clicks",) if clicks < budget_clicks else ()
    return Filled(order[:taken], clicks, notes)


def polygons(shape: NDArray[np.bool_]) -> list[list[Corner]]:
    """Walk around a shape ``(h, w)``: a list of corners (row, column of the pixel grid) for its rim and each hole.

    The shape lies to the right of the walk. Where two of its pixels touch only at a point, they are two parts.
    """
    follows = _edges(np.pad(shape, 1))
    rings = []
    while follows:
        start = next(iter(follows))
        at, heading = start
        ring: list[Corner] = []
        while (at, heading) in follows:
            del follows[at, heading]
            at = (at[0] + heading[0], at[1] + heading[1])
            right, left = (heading[1], -heading[0]), (-heading[1], heading[0])
            turned = next(turn for turn in (right, heading, left) if (at, turn) in follows or (at, turn) == start)
            if turned != heading:
                ring.append((at[0] - 1, at[1] - 1))
            heading = turned
        rings.append(ring)
    return rings


def simplified(ring: list[Corner], *, tolerance_px: float) -> list[Corner]:
    """Spare the corners of a closed ring that lie within a distance of the line without them (Douglas and Peucker)."""
    if tolerance_px == 0.0 or len(ring) < 4:
        return ring
    far = int(_distances(ring, ring[0], ring[0]).argmax())
    halves = [ring[: far + 1], [*ring[far:], ring[0]]]
    kept = [corner for half in halves for corner in _thinned(half, tolerance_px)[:-1]]
    # Two points are no outline: what is thinner than the tolerance keeps its farthest corner.
    if len(kept) > 2:
        return kept
    third = int(_distances(ring, ring[0], ring[far]).argmax())
    return [ring[place] for place in sorted({0, far, third})]


def _outline_costs(rule: Outline, regions: Regions, mask: Mask) -> Ints:
    costs = np.ones(regions.count, dtype=np.intp)
    known = mask != IGNORE
    both = regions.labels.astype(np.int64) * (IGNORE + 1) + mask
    part, count = pieces(both)
    top, left, bottom, right, first = _boxes(part, count)
    region_of, class_of = regions.labels.ravel()[first], mask.ravel()[first]
    kinds = np.unique(region_of.astype(np.int64) * (IGNORE + 1) + class_of) // (IGNORE + 1)
    uniform = np.bincount(kinds, minlength=regions.count) == 1
    costs[~uniform] = 0
    for number in range(count):
        if uniform[region_of[number]] or not known.ravel()[first[number]]:
            continue
        box = part[top[number] : bottom[number] + 1, left[number] : right[number] + 1]
        rings = polygons(box == number)
        costs[region_of[number]] += 1 + sum(len(simplified(ring, tolerance_px=rule.tolerance_px)) for ring in rings)
    return costs


def _boxes(part: NDArray[np.int32], count: int) -> tuple[Ints, Ints, Ints, Ints, Ints]:
    """Return each part's first and last row and column, and its first pixel: top, left, bottom, right, first."""
    rows, cols = np.indices(part.shape)
    flat = part.ravel()
    top, left = np.full(count, part.shape[0], dtype=np.intp), np.full(count, part.shape[1], dtype=np.intp)
    bottom, right = np.zeros(count, dtype=np.intp), np.zeros(count, dtype=np.intp)
    np.minimum.at(top, flat, rows.ravel())
    np.minimum.at(left, flat, cols.ravel())
    np.maximum.at(bottom, flat, rows.ravel())
    np.maximum.at(right, flat, cols.ravel())
    return top, left, bottom, right, np.unique(flat, return_index=True)[1]


def _edges(shape: NDArray[np.bool_]) -> dict[tuple[Corner, Corner], None]:
    """Return the sides between inside and outside as start and heading, the inside to the right."""
    edges: dict[tuple[Corner, Corner], None] = {}
    for row, col in np.argwhere(shape).tolist():
        if not shape[row - 1, col]:
            edges[(row, col), (0, 1)] = None
        if not shape[row, col + 1]:
            edges[(row, col + 1), (1, 0)] = None
        if not shape[row + 1, col]:
            edges[(row + 1, col + 1), (0, -1)] = None
        if not shape[row, col - 1]:
            edges[(row + 1, col), (-1, 0)] = None
    return edges


def _thinned(line: list[Corner], tolerance_px: float) -> list[Corner]:
    """Thin an open line between its ends."""
    if len(line) < 3:
        return line
    away = _distances(line, line[0], line[-1])
    far = int(away.argmax())
    if away[far] <= tolerance_px:
        return [line[0], line[-1]]
    return [*_thinned(line[: far + 1], tolerance_px)[:-1], *_thinned(line[far:], tolerance_px)]


def _distances(line: list[Corner], start: Corner, end: Corner) -> Floats:
    """Return how far each point lies from the line through start and end, or from the point if they are one."""
    points = np.array(line, dtype=np.float64) - start
    along = np.array(end, dtype=np.float64) - start
    length = float(np.hypot(*along))
    if length == 0.0:
        return np.hypot(points[:, 0], points[:, 1])
    return np.asarray(np.abs(points[:, 0] * along[1] - points[:, 1] * along[0]) / length)
