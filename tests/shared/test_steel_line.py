"""Facts about the simulated steel line: purity, redundancy, rates, ground truth, dirt, refusals."""

import hashlib
import itertools
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.steel_line import DEFECTS, SteelFrame, SteelLine
from shared.steel_line import line as line_module
from shared.steel_line.camera import CLEANING_FRAMES, dirt_level

NAMES = tuple(defect.name for defect in DEFECTS)
NONE_AT_ALL = dict.fromkeys(NAMES, 0.0)
MANY = dict.fromkeys(NAMES, 0.2)


def demo_line(seed: int = 5, line: str = "strip", **settings: object) -> SteelLine:
    """Make a line as the demo does: 256 px at half scale."""
    return SteelLine(seed, line, **({"height_px": 256, "width_px": 256, "scale": 0.5} | settings))


def digest(frame: SteelFrame) -> str:
    return hashlib.sha256(frame.image.tobytes() + frame.mask.tobytes()).hexdigest()


def grey_distance(one: SteelFrame, other: SteelFrame) -> float:
    """Return the median grey difference: a lone mark does not move it."""
    return float(np.median(np.abs(one.image.astype(int) - other.image.astype(int))))


def chi_square(counts: NDArray[np.int64], rates: NDArray[np.float64], frames: int) -> float:
    expected = rates * frames
    return float(((counts - expected) ** 2 / expected).sum())


def test_a_frame_is_the_same_from_two_lines_in_any_order() -> None:
    numbers = [0, 1, 899, 900, 5_999, 6_000, 123_456_789]
    forwards, backwards = demo_line(rates=MANY), demo_line(rates=MANY)
    first = {number: digest(forwards.frame(number)) for number in numbers}
    for number in range(30):
        backwards.planted(number, NAMES[number % 18])
    assert {number: digest(backwards.frame(number)) for number in reversed(numbers)} == first
    assert len(set(first.values())) == len(numbers)


def test_a_frame_is_the_same_in_another_process_with_another_hash_salt() -> None:
    program = (
        "import hashlib; from shared.steel_line import SteelLine\n"
        "f = SteelLine(5, 'strip', height_px=96, width_px=80).planted(77, 'rust')\n"
        "print(hashlib.sha256(f.image.tobytes() + f.mask.tobytes()).hexdigest())"
    )
    environment = os.environ | {"PYTHONHASHSEED": "4711"}
    there = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == digest(SteelLine(5, "strip", height_px=96, width_px=80).planted(77, "rust"))


def test_writing_into_a_frame_does_not_change_the_next_one() -> None:
    line = demo_line()
    before = line.planted(3, "dent")
    expected = digest(before)
    before.image[:], before.mask[:] = 0, 9
    assert digest(line.planted(3, "dent")) == expected


def test_numpy_integers_name_the_same_frames_as_plain_ones() -> None:
    plain, wide = demo_line(seed=9).frame(12), demo_line(seed=np.int64(9)).frame(np.int64(12))
    assert digest(plain) == digest(wide)


@pytest.mark.parametrize("other", [demo_line(seed=6), demo_line(line="strip-2")], ids=["seed", "line"])
def test_another_seed_or_line_shows_another_strip(other: SteelLine) -> None:
    assert grey_distance(demo_line().frame(0), other.frame(0)) > 3


@pytest.mark.parametrize("number", [0, 450, 3_000, 5_300])
def test_neighbours_are_nearly_identical_and_distant_frames_are_not(number: int) -> None:
    line = demo_line(rates=NONE_AT_ALL)
    here = line.frame(number)
    assert grey_distance(here, line.frame(number + 1)) <= 2.5
    assert grey_distance(here, line.frame(number + 2_500)) > 3.5


def test_most_frames_are_clean() -> None:
    line = SteelLine(1, "strip", height_px=64, width_px=64, scale=0.125)
    clean = sum(not line.frame(number).mask.any() for number in range(600))
    assert 0.75 < clean / 600 < 0.9


def test_there_are_18_classes_and_their_rates_fall_into_a_long_tail() -> None:
    rates = [defect.rate for defect in DEFECTS]
    assert len(DEFECTS) == len({defect.name for defect in DEFECTS}) == len({defect.colour for defect in DEFECTS}) == 18
    assert rates == sorted(rates, reverse=True)
    assert rates[0] >= 200 * rates[-1]


def test_defects_occur_at_the_rates_of_the_law() -> None:
    frames, line = 25_000, demo_line()
    law = np.array([defect.rate for defect in DEFECTS])
    counts = np.zeros(18, dtype=np.int64)
    for number in range(frames):
        for kind, _ in line_module._occurring(line._scene.stream("defects", number), line._rates):
            counts[kind] += 1
    # 42.3 is the 99.9 % point of chi-square with 18 degrees of freedom.
    assert chi_square(counts, law, frames) < 42.3
    assert chi_square(counts, law * 1.25, frames) > 42.3, "the check must notice rates that are a quarter too high"
    assert chi_square(counts, np.full(18, law.mean()), frames) > 42.3, "the check must notice a missing tail"


def test_frames_show_a_defect_as_often_as_its_rate_says() -> None:
    frames = 1_500
    line = SteelLine(3, "strip", height_px=64, width_px=64, scale=0.25, classes=["patches"], rates={"patches": 0.3})
    shown = sum(line.frame(number).mask.any() for number in range(frames))

    def surprise(rate: float) -> float:
        chance = 1 - math.exp(-rate)
        return abs(shown - frames * chance) / math.sqrt(frames * chance * (1 - chance))

    assert surprise(0.3) < 3.5
    assert surprise(0.4) > 3.5, "the check must notice a rate that is a third too high"


def test_rates_hold_for_one_field_of_view_and_grow_with_the_area_seen() -> None:
    law = {defect.name: defect.rate for defect in DEFECTS}
    assert demo_line().rates == pytest.approx(law)
    wide = SteelLine(1, "strip", height_px=1024, width_px=1024, rates={"hole": 0.5})
    assert wide.rates == pytest.approx({name: 4 * rate for name, rate in law.items()} | {"hole": 0.5})


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("side_px", "scale"), [(512, 1.0), (256, 0.5)])
def test_a_planted_defect_is_in_the_mask_and_changes_the_pixels_under_it(name: str, side_px: int, scale: float) -> None:
    line = SteelLine(8, "strip", height_px=side_px, width_px=side_px, scale=scale, rates=NONE_AT_ALL)
    value = NAMES.index(name) + 1
    for number in (0, 41, 2_000, 7_777):
        clean, planted = line.frame(number), line.planted(number, name)
        inside = planted.mask == value
        change = np.abs(planted.image.astype(int) - clean.image.astype(int))
        assert not clean.mask.any()
        assert set(np.unique(planted.mask)) == {0, value}
        assert inside.sum() >= 4
        assert change[inside].mean() > 2
        # What lies around the shape (a rim, a shadow) is small beside it.
        assert change[~inside].mean() < change[inside].mean() / 5


@pytest.mark.parametrize("size", [(16, 16), (37, 61), (129, 517), (300, 17)])
def test_any_frame_size_is_drawn_and_every_class_can_be_planted_in_it(size: tuple[int, int]) -> None:
    line = SteelLine(2, "strip", height_px=size[0], width_px=size[1])
    for value, name in enumerate(NAMES, start=1):
        frame = line.planted(value, name)
        assert frame.image.shape == frame.mask.shape == size
        assert frame.image.dtype == frame.mask.dtype == np.uint8
        assert (frame.mask == value).any(), name


def test_every_class_lands_inside_the_frame_each_time_it_is_planted() -> None:
    line = SteelLine(4, "strip", height_px=64, width_px=64, scale=0.25)
    missed = [(name, n) for name in NAMES for n in range(40) if not (line.planted(n, name).mask).any()]
    assert missed == []


def test_mask_values_index_the_chosen_classes() -> None:
    chosen = ("hole", "scratch", "rust")
    few, every = demo_line(classes=chosen, rates=NONE_AT_ALL), demo_line(rates=NONE_AT_ALL)
    assert few.classes == chosen
    for value, name in enumerate(chosen, start=1):
        one, other = few.planted(6, name), every.planted(6, name)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.mask == value, other.mask == NAMES.index(name) + 1)


def test_leaving_classes_out_moves_no_other_defect() -> None:
    few = demo_line(classes=["pitting", "dent"], rates=MANY)
    every = demo_line(rates=NONE_AT_ALL | {"pitting": 0.2, "dent": 0.2})
    shown = 0
    for number in range(25):
        one, other = few.frame(number), every.frame(number)
        assert np.array_equal(one.image, other.image)
        assert np.array_equal(one.mask > 0, other.mask > 0)
        assert set(np.unique(one.mask)) <= {0, 1, 2}
        shown += bool(one.mask.any())
    assert shown > 3


def test_harmless_marks_are_seen_in_the_image_and_not_in_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    marked = demo_line(rates=NONE_AT_ALL)
    drawn = {number: marked.frame(number) for number in range(120)}
    monkeypatch.setattr(line_module, "HARMLESS", ())
    bare = demo_line(rates=NONE_AT_ALL)
    changed = [n for n, frame in drawn.items() if not np.array_equal(frame.image, bare.frame(n).image)]
    assert 2 <= len(changed) <= 30
    assert not any(frame.mask.any() for frame in drawn.values())


def test_dirt_builds_up_until_the_lens_is_cleaned() -> None:
    line = demo_line(rates=NONE_AT_ALL)
    levels = [dirt_level(line._scene, number) for number in range(0, 4 * CLEANING_FRAMES, 50)]
    assert all(0 <= level < 1 for _, level in levels)
    rises = [later > before for (old, before), (new, later) in itertools.pairwise(levels) if old == new]
    assert all(rises)
    assert {0, 1, 2, 3} <= {cycle for cycle, _ in levels} <= {0, 1, 2, 3, 4}
    cleaned = next(n for n in range(4_000, 9_000) if dirt_level(line._scene, n)[0] == 1)

    def stain(start: int) -> float:
        """Return how uneven the image stays while the strip passes, its light profiles taken out."""
        still = np.median([line.frame(start + 13 * step).image for step in range(25)], axis=0)
        still /= still.mean(axis=0, keepdims=True)
        still /= still.mean(axis=1, keepdims=True)
        return float(np.abs(still - np.median(still)).max())

    assert stain(cleaned - 330) > 1.5 * stain(cleaned)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"classes": ["scratch", "scrach"]}, "no defect is called 'scrach'; known ones are scratch, rolled-in-scale"),
        ({"rates": {"spot": 0.1}}, "no defect is called 'spot'"),
        ({"rates": {"hole": -0.5}}, "rate of hole is -0.5, it must be from 0 to 100"),
        ({"rates": {"hole": math.nan}}, "rate of hole is nan"),
        ({"height_px": 15}, "frame is 15 x 256 px, the smallest is 16 x 16"),
        ({"width_px": -512}, "frame is 256 x -512 px"),
        ({"scale": 0.0}, "scale is 0.0, it must be above 0"),
        ({"classes": []}, "each must be named once"),
        ({"classes": ["dent", "dent"]}, "each must be named once"),
    ],
)
def test_a_line_that_cannot_be_is_refused_in_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        demo_line(**settings)
    text = str(refusal.value)
    assert text.startswith("steel line strip: ")
    assert message in text
    assert "\n" not in text


def test_everything_wrong_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as refusal:
        demo_line(height_px=3, scale=-1.0, classes=["nope"])
    assert len(refusal.value.problems) == 3


def test_a_negative_frame_number_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"steel line strip: frame number is -1, the first is 0"):
        demo_line().frame(-1)


def test_planting_a_class_the_line_does_not_have_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"steel line strip: cannot plant 'dent'; its classes are hole, rust"):
        demo_line(classes=["hole", "rust"]).planted(0, "dent")
