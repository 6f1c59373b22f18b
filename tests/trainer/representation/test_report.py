"""The report of a space: its figures are the measures', a good space is told from a blind one, chance stands beside."""

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import InputError
from shared.geometry import Image
from trainer.representation.measures import class_share, effective_rank, participation_ratio
from trainer.representation.report import SpaceQuality, measure_space, views_of

PATCHES: Image = np.random.default_rng(1).integers(0, 256, size=(40, 16, 16, 1), dtype=np.uint8)
CLASSES = np.arange(40) % 4


def by_pixels(patches: Image) -> NDArray[np.float32]:
    """Embed by row and column sums around their mean: a view keeps enough of them."""
    grey = patches[..., 0].astype(np.float32)
    sums = np.concatenate([np.sort(grey.mean(axis=1), axis=1), np.sort(grey.mean(axis=2), axis=1)], axis=1)
    sums -= sums.mean(axis=1, keepdims=True)
    return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), dtype=np.float32)


def blind(patches: Image) -> NDArray[np.float32]:
    """Embed every patch alike."""
    return np.tile(np.float32([[1.0, 0.0]]), (len(patches), 1))


def test_the_figures_are_those_of_the_measures() -> None:
    found = measure_space(by_pixels, PATCHES, space="ab" * 32, source="simclr", seed=3, classes=CLASSES)

    rows = by_pixels(PATCHES)
    assert found.dim == 32
    assert found.effective_rank == effective_rank(rows)
    assert found.participation_ratio == participation_ratio(rows)
    assert found.class_share == class_share(rows, CLASSES)
    assert found.class_chance == pytest.approx(9 / 39)
    assert found.twin_share > 3 * found.twin_chance


def test_a_blind_space_does_as_well_as_chance() -> None:
    found = measure_space(blind, PATCHES, space="ab" * 32, source="untrained", seed=3)

    assert found.twin_share == pytest.approx(found.twin_chance)
    assert found.participation_ratio == 0


def test_without_classes_nothing_is_said_of_them() -> None:
    found = measure_space(by_pixels, PATCHES, space="ab" * 32, source="simclr", seed=3)

    assert found.class_share is None
    assert found.class_chance is None
    assert "class" not in found.text()


def test_the_report_comes_back_from_json_and_reads_in_four_lines() -> None:
    found = measure_space(by_pixels, PATCHES, space="ab" * 32, source="task", seed=3, classes=CLASSES)

    lines = found.text().splitlines()

    assert msgspec.json.decode(found.to_json(), type=SpaceQuality) == found
    assert lines[0] == "space abababababab (task), 40 patches, seed 3"
    assert f"{found.twin_share:.3f} (by lot 0.025)" in lines[2]
    assert f"{found.class_share:.3f} (by lot 0.231), of 40 labelled" in lines[3]


def test_patches_without_a_class_are_looked_at_but_belong_to_none() -> None:
    some = np.where(np.arange(40) < 10, CLASSES, -1)

    found = measure_space(by_pixels, PATCHES, space="ab" * 32, source="task", seed=3, classes=some)
    none = measure_space(by_pixels, PATCHES, space="ab" * 32, source="task", seed=3, classes=np.full(40, -1))

    assert (found.patches, found.classed) == (40, 10)
    assert found.class_share == class_share(by_pixels(PATCHES)[:10], CLASSES[:10])
    assert (none.classed, none.class_share, none.class_chance) == (0, None, None)


def test_views_follow_from_the_seed_and_keep_shape_and_kind() -> None:
    colour = np.repeat(PATCHES, 3, axis=3)

    first, again, other = (views_of(colour, seed=seed) for seed in (1, 1, 2))

    assert first.shape == colour.shape
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_one_patch_has_no_neighbour() -> None:
    with pytest.raises(InputError, match="1 patches, a report needs at least 2"):
        measure_space(by_pixels, PATCHES[:1], space="ab" * 32, source="simclr", seed=3)


def test_classes_of_other_patches_are_refused() -> None:
    with pytest.raises(InputError, match="40 patches and 39 classes"):
        measure_space(by_pixels, PATCHES, space="ab" * 32, source="simclr", seed=3, classes=CLASSES[:-1])
