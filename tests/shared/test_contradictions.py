"""Settings that are sound by themselves and cannot go together are refused when the line is read."""

import re
from pathlib import Path

import pytest

from shared.config import load_line
from shared.errors import ConfigError
from tests.shared.configured import LINE, line_file, problems_of


def test_settings_of_a_selection_that_do_not_go_together_are_reported_together(folder: Path) -> None:
    settings = """
strategy = "greedy"
sampler = "dense"
weighting = "eq3-distance"
a = 0.7
batch = 20
[selection.quota]
by = "camera"
places = { "press-03/top" = 15 }
"""
    (folder / "line.toml").write_text(f"{LINE}[selection]{settings}[gate]\nmax_drop = 3\n")

    with pytest.raises(ConfigError) as refused:
        load_line(folder / "line.toml")

    told = "\n".join(refused.value.problems)
    assert len(refused.value.problems) == 5
    assert 'selection.sampler is "dense"; strategy "greedy" takes auto, lazy, block' in told
    assert 'selection.weighting is "eq3-distance"; strategy "greedy" takes quality' in told
    assert 'selection.a + selection.b is 1.3; weighting "eq3-distance" is a kernel up to 1' in told
    assert "selection.quota.places: 15 in all; of a batch of 20, 14 are left beside the reference set" in told
    assert "gate.max_drop" in told


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ('strategy = "kdpp"\nsampler = "lowrank"', 'selection.sampler is "lowrank" and selection.weighting is "quality"'),
        ('strategy = "kdpp"\nsampler = "lowrank"\nweighting = "diversity"', 'selection.weighting is "diversity", which has full rank'),
        ('strategy = "kdpp"\nsampler = "lazy"', 'selection.sampler is "lazy"; strategy "kdpp" takes auto, block, dense, lowrank'),
        ('strategy = "top"\nsampler = "block"', 'selection.sampler is "block"; strategy "top" takes auto'),
        ('weighting = "eq3-distance"\nb = 0.61', "selection.a + selection.b is 1.01"),
        ('strategy = "best"', 'selection.strategy is "best"; known are kdpp, greedy, kmeans'),
        ('weighting = "eq3"', 'selection.weighting is "eq3"; known are quality, eq3-distance, eq3-literal, diversity'),
        ("stride = 0", "selection.stride"),
        ("informative = 0", "selection.informative"),
        ("near_duplicates = 1.0", "selection.near_duplicates"),
        ('quota = { by = "node" }', 'selection.quota.by is "node"; known are camera, class'),
        ('quota = { by = "class", places = { scrtch = 2 } }', '"scrtch" is not a class of the line; known classes are steel'),
        ('quota = { by = "camera", places = { top = 2 } }', '"top" is not a camera; expected node/camera'),
        ('quota = { by = "camera", places = { "n/top" = 0 } }', "selection.quota.places"),
    ],
)  # fmt: skip
def test_a_selection_that_cannot_be_made_is_refused_at_load(folder: Path, settings: str, reason: str) -> None:
    (folder / "line.toml").write_text(f"{LINE}[selection]\n{settings}\n")

    with pytest.raises(ConfigError, match=re.escape(reason)):
        load_line(folder / "line.toml")


@pytest.mark.parametrize(
    "settings",
    [
        'strategy = "kdpp"\nweighting = "eq3-literal"',
        'strategy = "kdpp"\nweighting = "eq3-distance"\nsampler = "lowrank"',
        'strategy = "kdpp"\nweighting = "eq3-distance"\na = 0.3\nb = 0.7',
        'strategy = "greedy"\nsampler = "lazy"',
        'strategy = "kdpp"\nsampler = "dppy-mcmc"',
        'sampler = "lazy"',
        'quota = { by = "class", places = { scratch = 140 } }',
    ],
)
def test_a_selection_that_can_be_made_is_loaded(folder: Path, settings: str) -> None:
    (folder / "line.toml").write_text(f"{LINE}[selection]\n{settings}\n")

    assert load_line(folder / "line.toml").selection.batch == 200


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ('measure = "entrpy"', 'acquisition.measure is "entrpy"; known are entropy, least-confidence, margin'),
        ('aggregation = "max"', 'acquisition.aggregation is "max"; known are mean, sum, count, top'),
        ('measure = "bald"', 'acquisition.measure is "bald" without a committee; set heads or mc-dropout'),
        ('measure = "bald"\ncommittee = "ensemble"', 'acquisition.committee is "ensemble"; a round trains one model'),
        ('committee = "mc-dropout"\non_node = "entropy"', 'acquisition.measure is "entropy", which asks one model'),
        ('measure = "bald"\ncommittee = "mc-dropout"', "its members are random draws, which no task graph can compute"),
        ('measure = "odin"\nepsilon = 0.1', 'its step needs a gradient, which no task graph can compute; set acquisition.on_node to "entropy"'),
        ('measure = "class-variance"\ncommittee = "heads"', "class-variance needs them, one above 0, and only it"),
        ("class_weights = { scratch = 1 }", 'acquisition.measure is "entropy" with class_weights'),
        ('measure = "class-variance"\ncommittee = "heads"\nclass_weights = { scrtch = 1 }', '"scrtch" is not a class of the line'),
        ('measure = "class-variance"\ncommittee = "heads"\nclass_weights = { scratch = -1 }', "acquisition.class_weights"),
        ("members = 1", "acquisition.members"),
    ],
)  # fmt: skip
def test_an_acquisition_that_cannot_be_made_is_refused_at_load(folder: Path, settings: str, reason: str) -> None:
    (folder / "line.toml").write_text(f"{LINE}[acquisition]\n{settings}\n")

    with pytest.raises(ConfigError, match=re.escape(reason)):
        load_line(folder / "line.toml")


@pytest.mark.parametrize(
    "settings",
    [
        'committee = "heads"',
        'measure = "bald"\ncommittee = "heads"',
        'measure = "bald"\ncommittee = "mc-dropout"\non_node = "entropy"',
        'measure = "odin"',
        'measure = "odin"\nepsilon = 0.1\non_node = "entropy"',
        'measure = "class-variance"\ncommittee = "heads"\nclass_weights = { scratch = 1.0 }',
        'aggregation = "count"\nthreshold = 0.5',
    ],
)
def test_an_acquisition_that_can_be_made_is_loaded(folder: Path, settings: str) -> None:
    (folder / "line.toml").write_text(f"{LINE}[acquisition]\n{settings}\n")

    assert load_line(folder / "line.toml").acquisition.members == 4


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LINE.replace("scratch", "steel"), 'classes: "steel" is named twice'),
        (LINE + "[gate]\nclass_floors = { scrtch = 0.5 }\n", 'gate.class_floors: "scrtch" is not a class'),
        (LINE + '[labelling]\nsource = "oracle"\n', "there is no [simulator] table"),
        (LINE + "[geometry]\ncell_px = 100\n", "not a multiple of cell_px"),
        (
            LINE + "[learning]\nencoder = 'resnet18'\nencoder_from = 'space'\n",
            'and space.encoder "resnet34"; give both one name',
        ),
        (LINE + "[gate]\nclass_patches = 3\n", "gate.class_patches"),
        (LINE + "[gate]\nclass_floors = { scratch = 1.5 }\n", "gate.class_floors"),
        (LINE + "[gate]\nlatency_ms = 0\n", "gate.latency_ms"),
    ],
)
def test_a_line_that_contradicts_itself_is_refused(folder: Path, text: str, reason: str) -> None:
    (problem,) = problems_of(line_file(folder, text), load_line)

    assert reason in problem


def test_views_in_colour_need_three_channels(folder: Path) -> None:
    path = line_file(folder, LINE + "[space]\nrecipe = 'colour'\n")

    (problem,) = problems_of(path, load_line)

    assert problem == (f'{path}: space.recipe is "colour" but geometry.channels is 1; it takes 3: use "grey" or "auto"')


def test_sizes_that_every_second_pixel_would_miss_are_refused(folder: Path) -> None:
    sizes = "geometry = { tile_px = 96, patch_px = 54, margin_px = 5, cell_px = 9 }"

    (problem,) = problems_of(line_file(folder, LINE + sizes), load_line)

    assert "release.entropy_stride is 2, but geometry has cell_px 9, a tile's inset 21 px, which is odd" in problem
    assert load_line(line_file(folder, LINE + sizes + "\nrelease = { entropy_stride = 1 }")).grid.cell_px == 9
