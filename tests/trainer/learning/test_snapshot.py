"""A snapshot holds what was labelled, in order, under a name that follows from its content."""

from collections.abc import Callable

import numpy as np
import pytest

from shared.config import LineConfig
from shared.errors import StateError
from trainer.learning.snapshot import freeze
from trainer.pool.pool import Pick, Pool, Purpose, Returned

Fill = Callable[..., list[str]]


def label(pool: Pool, ids: list[str], *, purpose: Purpose, value: int = 1, round_number: int = 0) -> None:
    pool.hand_over("strip", round_number, [Pick(name, purpose, {}) for name in ids])
    mask = np.full((64, 64), 255, dtype=np.uint8)
    mask[16:48, 16:48] = value
    pool.label([Returned(name, mask, "test") for name in ids])


def test_a_snapshot_holds_the_labelled_crops_and_their_masks(pool: Pool, line: LineConfig, fill: Fill) -> None:
    ids = fill(range(6))
    label(pool, ids[:4], purpose="train")

    snapshot = freeze(pool, line)

    assert sorted(snapshot.ids) == sorted(ids[:4])
    assert snapshot.crops.shape == (4, 64, 64, 1)
    assert snapshot.masks.shape == (4, 64, 64)
    for name, crop in pool.crops(ids[:4], channels=1):
        assert np.array_equal(snapshot.crops[snapshot.ids.index(name)], crop)
    assert (snapshot.masks[:, 16:48, 16:48] == 1).all()
    assert (snapshot.masks[:, :16] == 255).all()


def test_reference_patches_are_never_trained_on(pool: Pool, line: LineConfig, fill: Fill) -> None:
    ids = fill(range(6))
    label(pool, ids[:2], purpose="train")
    label(pool, ids[2:4], purpose="reference")
    label(pool, ids[4:], purpose="seed")

    assert set(freeze(pool, line).ids) == {*ids[:2], *ids[4:]}
    assert set(freeze(pool, line, purposes=("reference",)).ids) == set(ids[2:4])


def test_a_snapshot_s_name_changes_with_a_label_and_with_nothing_else(pool: Pool, line: LineConfig, fill: Fill) -> None:
    ids = fill(range(4))
    label(pool, ids[:2], purpose="train")
    first = freeze(pool, line)

    assert freeze(pool, line).id == first.id
    mask = np.full((64, 64), 255, dtype=np.uint8)
    mask[20, 20] = 2
    pool.label([Returned(ids[0], mask, "second thought")])
    assert freeze(pool, line).id != first.id


def test_a_line_without_labels_has_an_empty_snapshot(pool: Pool, line: LineConfig) -> None:
    snapshot = freeze(pool, line)

    assert snapshot.ids == ()
    assert snapshot.crops.shape == (0, 64, 64, 1)


def test_crops_of_another_geometry_are_refused(pool: Pool, line: LineConfig, fill: Fill) -> None:
    ids = fill(range(1), side_px=32)
    pool.hand_over("strip", 0, [Pick(ids[0], "train", {})])
    pool.label([Returned(ids[0], np.zeros((32, 32), dtype=np.uint8), "test")])

    with pytest.raises(StateError, match='crops of line "strip" are 64 px'):
        freeze(pool, line)
