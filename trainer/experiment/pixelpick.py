"""Pixels as units (D6): a few of each image, one key press each; the loss covers only those. Pure.

PixelPick (Shin et al. 2021) draws by lot among the most uncertain twentieth of an image, because its very top lies on one
border. ``Apart`` is the other remedy: the top ones, none near another. The first pixels, before there is a
model, are ``Among(1.0)``.
"""

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError, InputError
from trainer.labelling.masks import IGNORE, Mask
from trainer.selection.numbers import Ints
from trainer.selection.problem import SelectionError

Bools: TypeAlias = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Among:
    """By lot among the ``top_share`` most uncertain of the pixels that may be picked, but among as many as are asked for."""

    top_share: float

    def __post_init__(self) -> None:
        if not 0.0 < self.top_share <= 1.0:
            raise ConfigError(f"pixels: top_share {self.top_share:g}; expected above 0 and at most 1")


@dataclass(frozen=True, slots=True)
class Apart:
    """The most uncertain first, each at least ``distance_px`` from every other and from those that are labelled."""

    distance_px: float

    def __post_init__(self) -> None:
        # The comparison is false for nan, too.
        if not 0.0 <= self.distance_px < np.inf:
            raise ConfigError(f"pixels: distance_px {self.distance_px:g}; expected a number from 0")


PixelRule: TypeAlias = Among | Apart

#: The paper's rule: its program's share is 5 %.
PIXELPICK: Final = Among(0.05)
NOTHING: Final = np.zeros((0, 2), dtype=np.intp)


def pick(
    rule: PixelRule,
    uncertainty: NDArray[np.floating],
    n: int,
    *,
    known: Ints,
    allowed: Bools | None = None,
    rng: np.random.Generator,
) -> Ints:
    """Pick ``n`` pixels of one image; equal uncertainties are ordered by lot.

    Args:
        rule: How.
        uncertainty: ``(h, w)``, any unit.
        n: How many.
        known: ``(m, 2)``, row and column of the pixels that are labelled; none is picked again.
        allowed: ``(h, w)``, where a pixel may be picked; everywhere without.
        rng: Decides ties, and what ``Among`` draws.

    Returns:
        ``(n, 2)``, row and column, in the order picked.
    """
    if n < 1:
        raise SelectionError(f"pixels: {n} asked for, at least 1 was expected; nothing was chosen")
    if not np.isfinite(uncertainty).all():
        raise SelectionError("pixels: an uncertainty is not a number; nothing was chosen")
    free = np.ones(uncertainty.shape, dtype=np.bool_) if allowed is None else allowed.copy()
    free[known[:, 0], known[:, 1]] = False
    places = np.argwhere(free)
    if len(places) < n:
        raise SelectionError(
            f"pixels: {n} asked for, the image has {len(places)} to pick; nothing was chosen", possible=len(places)
        )
    values = uncertainty[free]
    places = places[np.lexsort((rng.random(len(values)), -values))]
    match rule:
        case Among():
            top = max(n, int(np.ceil(rule.top_share * len(places))))
            return places[rng.permutation(top)[:n]]
        case Apart():
            return _apart(rule, places, n, known)


def dealt(clicks: int, room: Ints, *, rng: np.random.Generator) -> Ints:
    """Deal clicks to images, ``(n,)``: as many to each as to any other, and none beyond its room; odd ones by lot.

    Args:
        clicks: How many; fewer are dealt where all room is taken.
        room: ``(n,)``, how many pixels of each image may be picked.
        rng: Decides which images get one more.
    """
    counts = np.zeros(len(room), dtype=np.intp)
    while left := min(clicks, int(room.sum())) - int(counts.sum()):
        open_ = np.flatnonzero(counts < room)
        share = np.full(len(open_), left // len(open_))
        share[rng.permutation(len(open_))[: left % len(open_)]] += 1
        counts[open_] = np.minimum(counts[open_] + share, room[open_])
    return counts


def pixel_mask(mask: Mask, pixels: Ints) -> Mask:
    """Return an image's mask with 255 everywhere but at ``(n, 2)`` pixels."""
    only = np.full_like(mask, IGNORE)
    rows, cols = pixels[:, 0], pixels[:, 1]
    inside = (rows >= 0) & (rows < mask.shape[0]) & (cols >= 0) & (cols < mask.shape[1])
    if not inside.all():
        row, col = pixels[int(np.argmin(inside))]
        raise InputError(f"pixel {row}, {col}: the mask is {mask.shape[0]} x {mask.shape[1]}; nothing was labelled")
    only[rows, cols] = mask[rows, cols]
    return only


def _apart(rule: Apart, places: Ints, n: int, known: Ints) -> Ints:
    """Go down the ranking and skip what lies too near."""
    open_ = np.ones(len(places), dtype=np.bool_)
    for pixel in known:
        open_ &= _far(places, pixel, rule.distance_px)
    picked: list[int] = []
    while len(picked) < n:
        # The ranking is in order: the first open place is the most uncertain one.
        first = int(open_.argmax())
        if not open_[first]:
            raise SelectionError(
                f"pixels: {n} asked for at least {rule.distance_px:g} px apart, only {len(picked)} were found; "
                "nothing was chosen, lower distance_px",
                possible=len(picked),
            )
        picked.append(first)
        open_ &= _far(places, places[first], rule.distance_px)
        open_[first] = False
    return places[picked]


def _far(places: Ints, pixel: Ints, distance_px: float) -> Bools:
    away = places - pixel
    far: Bools = (away * away).sum(axis=1) >= distance_px * distance_px
    return far
