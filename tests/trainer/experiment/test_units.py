"""Units of an experiment: boxes that tile images, crops around them, masks that know only what is labelled."""

import numpy as np
import pytest

from shared.errors import StateError
from trainer.experiment.units import DPE_PARTS, MEAL_PARTS, THESIS_SQUARES, Box, Parts, Squares, Units, Whole, boxes

RULES = [Whole(), Parts(4, 4), Parts(3, 4), Parts(7, 5), Squares(16), Squares(512)]


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("size", [(36, 48), (41, 37), (16, 16)])
def test_the_boxes_of_an_image_cover_each_pixel_once(rule: object, size: tuple[int, int]) -> None:
    counts = np.zeros(size, dtype=np.uint8)

    for box in boxes(rule, *size):
        box.of(counts)[...] += 1
        assert box.of(counts).size == box.pixels

    assert (counts == 1).all()


def test_the_papers_grids_come_out_in_their_own_pixels() -> None:
    camvid, bdd, cityscapes = (
        boxes(MEAL_PARTS, 360, 480),
        boxes(DPE_PARTS, 720, 1280),
        boxes(THESIS_SQUARES, 1024, 2048),
    )

    assert {(box.height, box.width) for box in camvid} == {(90, 120)}
    assert len(camvid) == 16
    assert camvid[5] == Box(90, 120, 90, 120)
    assert {(box.height, box.width) for box in bdd} == {(240, 320)}
    assert len(bdd) == 12
    # A crop is an eighth of an image.
    assert len(cityscapes) == 8


def test_uneven_parts_differ_by_at_most_a_pixel() -> None:
    sizes = [(box.height, box.width) for box in boxes(Parts(7, 5), 41, 37)]

    assert {height for height, _ in sizes} == {5, 6}
    assert {width for _, width in sizes} == {7, 8}


def test_numbers_and_places_are_two_names_of_one_unit() -> None:
    units = Units(Parts(2, 3), [("a", (20, 30)), ("b", (10, 12))])

    assert len(units) == 12
    assert [units[index].key for index in units.of_image("b")] == ["b"] * 6
    assert units[7].box == Box(0, 4, 5, 4)
    assert units.by_image([11, 0, 7, 3]) == {"a": [0, 3], "b": [7, 11]}
    assert units.pixels(range(12)) == 20 * 30 + 10 * 12
    assert units.unit_px == (10, 10)
    with pytest.raises(StateError, match="image a was given twice"):
        Units(Whole(), [("a", (4, 4)), ("a", (4, 4))])


def test_only_labelled_units_are_supervised() -> None:
    units = Units(Squares(8), [("a", (20, 20)), ("b", (20, 20))])
    mask = np.random.default_rng(0).integers(0, 3, (20, 20), dtype=np.uint8)
    mask[0, 0] = 255

    known = units.supervision("b", mask, {10, 17, 0})

    # By the definition: each pixel asks for its own unit.
    for y in range(20):
        for x in range(20):
            unit = 9 + 3 * (y // 8) + x // 8
            assert known[y, x] == (mask[y, x] if unit in {10, 17} else 255)
    assert (units.supervision("a", mask, []) == 255).all()
    assert (units.supervision("a", mask, set(units.of_image("a"))) == mask).all()


def test_a_crop_is_cut_from_the_image_continued_by_reflection() -> None:
    image = np.random.default_rng(1).integers(0, 256, (20, 28, 3), dtype=np.uint8)
    units = Units(Squares(8), [("a", (20, 28))])
    margin = 5
    padded = np.pad(image, ((margin, margin + 8), (margin, margin + 8), (0, 0)), mode="reflect")

    for index in range(len(units)):
        box = units[index].box
        expected = padded[box.top : box.top + 18, box.left : box.left + 18]
        np.testing.assert_array_equal(units.crop(index, image, margin_px=margin), expected)
    np.testing.assert_array_equal(units.crop(0, image), image[:8, :8])


def test_the_label_of_a_crop_ends_with_its_unit() -> None:
    mask = np.random.default_rng(2).integers(0, 3, (20, 28), dtype=np.uint8)
    units = Units(Squares(8), [("a", (20, 28))])

    for index in range(len(units)):
        box = units[index].box
        known = units.crop_mask(index, mask, margin_px=5)
        assert known.shape == units.crop(index, mask, margin_px=5).shape == (18, 18)
        assert (known != 255).sum() == box.pixels
        np.testing.assert_array_equal(known[5 : 5 + box.height, 5 : 5 + box.width], box.of(mask))


@pytest.mark.parametrize("rule", [Parts(0, 3), Parts(3, 99), Squares(0)])
def test_a_grid_that_cannot_be_is_refused(rule: object) -> None:
    with pytest.raises(StateError, match="expected"):
        boxes(rule, 20, 20)
