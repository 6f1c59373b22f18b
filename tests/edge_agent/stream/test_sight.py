"""A camera that looks at itself: dark, blurred and dirty, and the frames that are none of it."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.stream.sight import Alarm, Fault, Glance, Sight, Usual, _without_streaks
from shared.config import SightTable
from shared.steel_line import SteelLine

SIDE = 128
Frame = NDArray[np.uint8]


def strip(seed: int, camera: str = "top") -> SteelLine:
    return SteelLine(seed, f"strip/press-03/{camera}", height_px=SIDE, width_px=SIDE, scale=0.25)


def frames(line: SteelLine, numbers: Iterable[int]) -> list[Frame]:
    return [line.frame(number).image[..., None] for number in numbers]


def blurred(image: Frame, *, reach: int = 2, seed: int = 0) -> Frame:
    """Out of focus: averaged over a square, and the sensor's noise on top as before."""
    padded = np.pad(image[..., 0].astype(np.float64), reach, mode="reflect")
    span = range(2 * reach + 1)
    mean = np.mean([padded[y : y + SIDE, x : x + SIDE] for y in span for x in span], axis=0)
    noise = np.random.default_rng(seed).normal(0.0, 1.5, mean.shape)
    return np.clip(mean + noise, 0, 255).astype(np.uint8)[..., None]


def spotted(image: Frame, *, top: int = 40, left: int = 70, radius: int = 11, depth: float = 0.2) -> Frame:
    """Behind a spot of dirt on the lens, out of focus."""
    rows, cols = np.ogrid[:SIDE, :SIDE]
    distance = np.hypot(rows - top, cols - left) / radius
    loss = depth * np.clip(1.5 - distance, 0.0, 1.0)
    return (image * (1.0 - loss)[..., None]).astype(np.uint8)


def used_to(line: SteelLine, count: int, table: SightTable | None = None) -> Sight:
    """An eye that has seen the line for a while."""
    sight = Sight(table or SightTable())
    for image in frames(line, range(count)):
        sight.look(image)
    return sight


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_clean_camera_never_complains(seed: int) -> None:
    """The negative control: of 300 frames of each of three strips, none is called anything."""
    sight = Sight(SightTable())

    found = Counter(fault for image in frames(strip(seed), range(300)) for fault in sight.look(image).faults)

    assert found == {}


def test_a_blurred_frame_is_seen_at_once_and_a_sharp_one_after_it() -> None:
    line = strip(1)
    sight = used_to(line, 60)

    found = [sight.look(image).faults for image in frames(line, range(60, 120))]
    out_of_focus = [sight.look(blurred(image, seed=n)).faults for n, image in enumerate(frames(line, range(120, 150)))]
    again = [sight.look(image).faults for image in frames(line, range(150, 180))]

    assert found == [()] * 60
    assert out_of_focus == [("blurred",)] * 30
    assert again == [()] * 30


@pytest.mark.parametrize("axis", [0, 1])
def test_a_frame_that_was_moved_while_exposed_is_blurred_along_one_axis(axis: int) -> None:
    line = strip(2)
    sight = used_to(line, 60)

    found = []
    for number, image in enumerate(frames(line, range(60, 80))):
        moved = np.mean([np.roll(image.astype(np.float64), step, axis=axis) for step in range(9)], axis=0)
        noise = np.random.default_rng(number).normal(0.0, 1.5, moved.shape)
        found.append(sight.look(np.clip(moved + noise, 0, 255).astype(np.uint8)).faults)

    assert found == [("blurred",)] * 20


def test_a_light_that_fails_is_dark_and_not_blurred() -> None:
    line = strip(1)
    sight = used_to(line, 40)

    half = [sight.look((image * 0.4).astype(np.uint8)).faults for image in frames(line, range(40, 50))]
    none = sight.look(np.zeros((SIDE, SIDE, 1), dtype=np.uint8)).faults

    assert half == [("dark",)] * 10
    assert none == ("dark",)


def test_a_covered_lens_is_dark_from_the_first_frame() -> None:
    assert Sight(SightTable()).look(np.full((SIDE, SIDE, 3), 3, dtype=np.uint8)).faults == ("dark",)


def test_a_spot_that_stays_is_dirt_and_is_found_where_it_is() -> None:
    line = strip(3)
    sight = used_to(line, 200)

    before = [sight.look(image) for image in frames(line, range(200, 240))]
    dirty = [sight.look(spotted(image)) for image in frames(line, range(240, 540))]
    cleaned = [sight.look(image) for image in frames(line, range(540, 940))]

    assert {glance.faults for glance in before} == {()}
    assert dirty[-1].faults == ("dirty",)
    assert next(at for at, glance in enumerate(dirty) if glance.faults) < 120
    # 16-pixel patches: the spot around (40, 70) reaches 16 pixels, into rows 1 to 3 and columns 3 to 5.
    unclear = dirty[-1].unclear((8, 8), (SIDE, SIDE), 16)
    assert unclear is not None
    places = {divmod(int(at), 8) for at in np.flatnonzero(unclear)}
    assert (2, 4) in places
    assert places <= {(row, col) for row in (1, 2, 3) for col in (3, 4, 5)}
    assert cleaned[-1].faults == ()


def test_the_simulated_lens_gets_dirty() -> None:
    """The strip's own dirt, from a clean lens to just before its cleaning; no more than dirt is seen."""
    line = SteelLine(1, "strip/press-03/top", height_px=256, width_px=256, scale=0.5)
    sight = used_to(line, 200)

    found = Counter(fault for image in frames(line, range(5500, 5700)) for fault in sight.look(image).faults)

    assert found["dirty"] > 50
    assert set(found) == {"dirty"}


def test_a_line_that_stands_still_is_not_dirty() -> None:
    line = strip(4)
    sight = used_to(line, 200)
    (still,) = frames(line, [200])
    rng = np.random.default_rng(0)

    found = []
    for _ in range(300):
        noise = rng.normal(0.0, 1.5, still.shape)
        found.append(sight.look(np.clip(still + noise, 0, 255).astype(np.uint8)).faults)
    found += [sight.look(image).faults for image in frames(line, range(201, 440))]

    assert set(found) == {()}


def test_another_recipe_is_another_picture() -> None:
    rough, smooth = frames(strip(1), range(100)), [blurred(image) for image in frames(strip(1), range(100))]
    told, untold = Sight(SightTable()), Sight(SightTable())
    for image in rough:
        told.look(image, recipe="rough")
        untold.look(image)

    with_recipe = [told.look(image, recipe="smooth").faults for image in smooth]
    without = untold.look(smooth[0]).faults

    assert set(with_recipe) == {()}
    assert without == ("blurred",)


@pytest.mark.parametrize("key", ["dark", "blurred", "dirty"])
def test_a_measure_of_nothing_is_never_said(key: str) -> None:
    line = strip(1)
    sight = used_to(line, 200, SightTable(**{key: 0.0}))
    worst = {
        "dark": lambda image: (image * 0.02).astype(np.uint8),
        "blurred": lambda image: blurred(image, reach=4),
        "dirty": spotted,
    }[key]

    found = {fault for image in frames(line, range(200, 300)) for fault in sight.look(worst(image)).faults}

    assert key not in found


def test_large_frames_are_looked_at_in_parts_with_the_same_answer() -> None:
    """1,024 pixels of the same strip in colour: clean, then out of focus."""
    rng = np.random.default_rng(0)
    sight = Sight(SightTable())

    def scene(*, sharp: bool) -> Frame:
        coarse = rng.normal(120.0, 20.0, (512, 512) if sharp else (128, 128))
        times = 2 if sharp else 8
        return np.clip(np.kron(coarse, np.ones((times, times))), 0, 255).astype(np.uint8)[..., None].repeat(3, axis=2)

    clean = [sight.look(scene(sharp=True)).faults for _ in range(25)]

    assert set(clean) == {()}
    assert sight.look(scene(sharp=False)).faults == ("blurred",)


def test_a_streak_is_no_spot_however_long_it_stays() -> None:
    cells = np.zeros((12, 12), dtype=np.bool_)
    cells[1, 2:9] = True
    cells[4:11, 11] = True
    spots = np.zeros_like(cells)
    spots[5:8, 2:6] = spots[3, 7] = spots[10, 1:4] = True

    kept = _without_streaks(cells | spots)

    np.testing.assert_array_equal(kept, spots)


def test_dirty_cells_are_counted_into_the_patches_they_lie_in() -> None:
    """Against a count cell by cell; the last patches reach past the frame."""
    rng = np.random.default_rng(3)
    spots = rng.random((30, 40)) < 0.06
    glance = Glance(("dirty",), 1.0, 1.0, 0.06, spots)
    height, width, patch = 120, 200, 64

    found = glance.unclear((2, 4), (height, width), patch)

    counts = np.zeros((2, 4, 2))
    for row in range(30):
        for col in range(40):
            place = int((row + 0.5) * height / 30 // patch), int((col + 0.5) * width / 40 // patch)
            counts[place] += (spots[row, col], 1)
    assert found is not None
    np.testing.assert_array_equal(found, (counts[..., 0] > 0.05 * counts[..., 1]).ravel())
    assert 0 < found.sum() < 8


def test_an_alarm_waits_for_the_third_frame_and_stays_until_thirty_are_clear() -> None:
    alarm = Alarm()
    shown: list[tuple[Fault, ...]] = []
    changes = 0
    for faults in [("dark",), ("dark",), ()] + [("dark",)] * 3 + [()] * 29 + [("dark",)] + [()] * 30:
        changes += alarm.note(faults)  # the words are faults
        shown.append(alarm.raised)

    assert shown == [()] * 5 + [("dark",)] * 60 + [()]
    assert changes == 2


def test_another_product_is_usual_after_a_while_even_if_nobody_says_so() -> None:
    """Faulty frames count a twentieth, so that what stays for long is no fault any more."""
    usual = Usual()
    for _ in range(500):
        usual.note(10.0, faulty=False)

    shares = []
    for _ in range(12_000):
        shares.append(usual.share(2.0))
        usual.note(2.0, faulty=shares[-1] < 0.4)

    assert shares[0] == pytest.approx(0.2)
    assert shares[2_000] < 0.4
    assert shares[-1] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 500), (32, 8192), (8192, 32)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_frame_too_small_or_thin_to_be_measured_is_no_fault_and_is_not_remembered(
    shape: tuple[int, int], channels: int
) -> None:
    table = SightTable()
    sight = used_to(strip(1), 25, table)
    usual = (sight.level.value, sight.level.seen, sight.sharpness[0].value, sight.standing)

    glance = sight.look(np.zeros((*shape, channels), dtype=np.uint8), recipe="another")

    assert (glance.faults, glance.level, glance.sharpness, glance.dirt, glance.spots) == ((), 1.0, 1.0, 0.0, None)
    assert glance.unclear((1, 1), shape, 256) is None
    assert (sight.level.value, sight.level.seen, sight.sharpness[0].value, sight.standing) == usual


@pytest.mark.parametrize("shape", [(6, 6), (64, 8192), (8192, 64), (100, 6000), (SIDE, SIDE)])
def test_a_frame_that_can_be_measured_is_however_thin(shape: tuple[int, int]) -> None:
    sight = Sight(SightTable())
    rng = np.random.default_rng(0)

    for _ in range(25):
        glance = sight.look(rng.integers(80, 120, (*shape, 1), dtype=np.uint8))

    assert glance.faults == ()
    assert glance.level == pytest.approx(1.0, abs=0.2)
    assert np.isfinite([sight.level.value, *(usual.value for usual in sight.sharpness)]).all()
