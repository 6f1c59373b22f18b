"""The draws of the rivals, and the samples they are made of."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import chisquare

from shared.geometry import Patch
from shared.simulated import simulated_camera
from trainer.experiment.rivals import draw_pool, draw_stream
from trainer.experiment.samples import BY_LOT, PER_CLASS, Place, samples_at, validation_set

SEEN = {"press-01/top": 40, "press-02/top": 10, "press-03/top": 0}


def test_a_stream_draw_is_uniform_over_every_patch_that_was_seen(steel_site: Any) -> None:
    rng = np.random.default_rng(0)
    drawn = [place for _ in range(400) for place in draw_stream(steel_site.line, SEEN, (), 20, rng)]

    by_camera = [sum(place.node == node for place in drawn) for node in ("press-01", "press-02")]
    by_patch = np.bincount([place.row * 4 + place.col for place in drawn], minlength=16)
    by_frame = np.bincount([place.frame for place in drawn if place.node == "press-01"], minlength=40)

    assert chisquare(by_camera, np.array([0.8, 0.2]) * len(drawn)).pvalue > 1e-4
    assert chisquare(by_patch).pvalue > 1e-4
    assert chisquare(by_frame).pvalue > 1e-4


def test_what_a_rival_drew_stays_and_nothing_is_drawn_twice(steel_site: Any) -> None:
    rng = np.random.default_rng(1)
    first = draw_stream(steel_site.line, SEEN, (), 30, rng)
    more = draw_stream(steel_site.line, {"press-01/top": 80}, first, 90, rng)
    ids = draw_pool(["a", "b", "c", "d"], ["c"], 3, rng)

    assert more[:30] == first
    assert len(set(more)) == 90
    assert ids[0] == "c"
    assert len(set(ids)) == 3


def test_a_rival_takes_all_there_is_when_less_was_seen_than_asked_for(steel_site: Any) -> None:
    rng = np.random.default_rng(2)

    assert len(set(draw_stream(steel_site.line, {"press-01/top": 2}, (), 100, rng))) == 32
    assert draw_stream(steel_site.line, {}, (), 5, rng) == []
    assert sorted(draw_pool(["a", "b"], [], 5, rng)) == ["a", "b"]


def test_a_stream_sample_is_the_crop_a_node_would_send_and_the_label_the_oracle_would_paint(steel_site: Any) -> None:
    line = steel_site.line
    place = Place("press-01", "top", 7, 0, 3)

    samples = samples_at(line, [place])

    frame = simulated_camera(line, node="press-01", camera="top").frame(7)
    assert samples.crops.shape == (1, 64, 64, 1)
    assert np.abs(samples.crops[0].astype(int) - line.grid.crop(frame.image, Patch(0, 3))).max() < 12
    assert (samples.masks[0, 16:48, 16:48] == frame.mask[:32, 96:128]).all()
    assert (samples.masks[0] == 255).sum() == 64 * 64 - 32 * 32


def test_the_validation_set_holds_every_class_and_is_always_the_same(steel_site: Any) -> None:
    line = steel_site.line

    samples = validation_set(line)

    holders = [(samples.masks == value).any(axis=(1, 2)).sum() for value in range(len(line.classes))]
    assert len(samples.crops) == PER_CLASS * (len(line.classes) - 1) + BY_LOT
    assert min(holders[1:]) >= PER_CLASS * 0.9
    assert (validation_set(line).crops == samples.crops).all()


@pytest.mark.parametrize("number", [0, 5])
def test_no_validation_frame_is_one_that_a_camera_sees(steel_site: Any, number: int) -> None:
    line = steel_site.line
    seen = line.grid.crop(simulated_camera(line, node="press-01", camera="top").frame(number).image, Patch(1, 1))

    distances = np.abs(validation_set(line).crops.astype(int) - seen).mean(axis=(1, 2, 3))

    assert distances.min() > 2
