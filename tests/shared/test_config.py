import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from shared.config import (
    AgentConfig,
    LineConfig,
    SiteConfig,
    load_agent,
    load_line,
    load_site,
    read_secret,
)
from shared.errors import ConfigError
from shared.sources import FolderSource, SteelLineSource, masked

LINE = """
line = "strip"
classes = [{ name = "steel" }, { name = "scratch", colour = "#ff0000" }]
"""
SITE = """
site = "plant-1"
lines = ["line.toml"]
"""
AGENT = """
node = "press-03"
site = "plant-1"
lines = ["line.toml"]
[[cameras]]
name = "top"
line = "strip"
source = { type = "folder", path = "images" }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "line.toml").write_text(LINE)
    (tmp_path / "site.toml").write_text(SITE)
    (tmp_path / "agent.toml").write_text(AGENT)
    return tmp_path


def line_file(folder: Path, text: str) -> Path:
    path = folder / "line.toml"
    path.write_text(text)
    return path


def problems_of(path: Path, load: Callable[[Path], object]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value) == "\n".join(refused.value.problems)
    return refused.value.problems


def test_a_line_needs_only_its_name_and_classes(folder: Path) -> None:
    line = load_line(folder / "line.toml")

    assert line == LineConfig(line="strip", classes=line.classes)
    assert line.class_names == ("steel", "scratch")


def test_the_defaults_are_those_of_the_design(folder: Path) -> None:
    line = load_line(folder / "line.toml")

    sizes = line.geometry
    assert (sizes.tile_px, sizes.patch_px, sizes.margin_px, sizes.cell_px) == (1024, 256, 128, 64)
    assert line.grid.crop_px == 512
    assert sizes.top_share == 1 / 64
    assert (line.crop.format, line.crop.quality) == ("jpeg", 95)
    assert (line.budget.patches_per_hour, line.budget.burst, line.budget.floor_share) == (200, 50, 0.05)
    assert (line.selection.batch, line.selection.a, line.selection.b) == (200, 0.4, 0.6)
    assert (line.selection.reference_share_first, line.selection.reference_share) == (0.3, 0.1)
    assert line.filter.memory == 1024


def test_a_site_and_a_node_bring_the_lines_they_name(folder: Path) -> None:
    site, site_lines = load_site(folder / "site.toml")
    agent, agent_lines = load_agent(folder / "agent.toml")

    assert isinstance(site, SiteConfig)
    assert isinstance(agent, AgentConfig)
    assert site_lines == agent_lines == {"strip": load_line(folder / "line.toml")}
    assert agent.cameras[0].source == FolderSource(path="images")


def test_the_kind_of_a_camera_is_its_type(folder: Path) -> None:
    (folder / "line.toml").write_text(LINE + "[simulator]\n")
    (folder / "agent.toml").write_text(
        AGENT.replace('type = "folder", path = "images"', 'type = "steel_line", last_frame = 9')
    )

    agent, _ = load_agent(folder / "agent.toml")

    assert agent.cameras[0].source == SteelLineSource(last_frame=9)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('{ type = "folder", path = "i", pattern = "" }', 'top.source.pattern is ""'),
        ('{ type = "folder", path = "i", pattern = "/etc/*" }', 'top.source.pattern is "/etc/*"'),
        ('{ type = "folder", path = "i", pattern = "../*/p*.png" }', 'top.source.pattern is "../*/p*.png"'),
        ('{ type = "folder", path = "i", pattern = "a/.." }', 'top.source.pattern is "a/.."'),
        ('{ type = "folder", path = "i", processed = "./i/" }', 'top.source.processed is "./i/", the folder that'),
        ('{ type = "folder", path = ".", failed = "." }', 'top.source.failed is ".", the folder that'),
        ('{ type = "folder", path = "i", loop = true, processed = "p" }', "top.source.loop reads files again"),
        ('{ type = "folder", path = "i", ids = "(" }', "top.source.ids is"),
        ('{ type = "folder", path = "i", ids = "part[0-9]+" }', "which has no named group"),
        ('{ type = "folder", path = "i", ids = "(?P<Part>.)" }', '"Part" is no name for an id'),
        ('{ type = "rtsp", url = "http://cam/x" }', "top.source.url is no address of a stream"),
        ('{ type = "rtsp", url = "rtsp://cam/x", password_file = "p" }', "without a username"),
    ],
)
def test_a_source_that_cannot_be_is_refused_with_its_key(folder: Path, source: str, words: str) -> None:
    path = folder / "agent.toml"
    path.write_text(AGENT.replace('{ type = "folder", path = "images" }', source))

    (problem,) = problems_of(path, load_agent)

    assert problem.startswith(f"{path}: cameras.top.source.")
    assert words in problem


def test_an_unknown_kind_of_source_is_told_with_the_known_ones(folder: Path) -> None:
    path = folder / "agent.toml"
    path.write_text(AGENT.replace('type = "folder"', 'type = "foldr"'))

    (problem,) = problems_of(path, load_agent)

    wanted = 'cameras[0].source.type is "foldr"; known are folder, video, rtsp, steel_line, plugin'
    assert problem == f"{path}: {wanted}"


@pytest.mark.parametrize("key", ["releases_url", "host"])
@pytest.mark.parametrize(
    "url", ["http://root:geheim@cam/x", "http://root:ge heim@cam/x", "mqtt://root:geheim/x", "root:geheim@cam", ""]
)
def test_an_address_with_credentials_or_none_is_refused_without_repeating_it(folder: Path, key: str, url: str) -> None:
    path = folder / "agent.toml"
    text = f'[broker]\nhost = "{url}"\n' if key == "host" else f'releases_url = "{url}"\n'
    path.write_text(AGENT + text if key == "host" else text + AGENT)

    (problem,) = problems_of(path, load_agent)

    assert key in problem
    assert "expected a" in problem
    assert "geheim" not in problem


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"s3cr\xff", "not text in UTF-8"),
        (b"\n", "0 characters"),
        (b"a\nb", "2 lines"),
        (b"a" * 65_536, "one line of up to 65535"),
    ],
)
def test_a_secret_that_is_no_password_is_refused(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "secret"
    path.write_bytes(data)
    path.chmod(0o600)

    with pytest.raises(ConfigError, match=why):
        read_secret(path)


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://root:geheim@cam/x",
        "http://root:geheim@cam/x",
        "rtsp://cam/x?password=geheim@",
        "rtsp://root:/geheim@cam/x",
        "rtsp://root:a@b/geheim@cam/x",
        "rtsp://root:12345/geheim@cam/x",
        "rtsp:/root:geheim@cam/x",
        "rtsp://root:geheim 1@cam/x",
        "root:geheim@cam/x",
    ],
)
def test_a_password_in_an_address_is_never_repeated(folder: Path, url: str) -> None:
    path = folder / "agent.toml"
    path.write_text(AGENT.replace('type = "folder", path = "images"', f'type = "rtsp", url = "{url}", tip = 1'))

    with pytest.raises(ConfigError) as refused:
        load_agent(path)

    path.write_text(AGENT.replace('type = "folder", path = "images"', f'type = "rtsp", url = "{url}"'))
    said = str(refused.value)
    if "?" not in url:
        said += "".join(problems_of(path, load_agent))
    assert "geheim" not in said + masked(url)


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ('{ recipe = "" }', 'top.ids: id recipe is ""'),
        ('{ Recipe = "thin" }', 'top.ids: "Recipe" is no name for an id'),
        ("{ " + ", ".join(f'a{n} = "x"' for n in range(9)) + " }", "top.ids: 9 ids, at most 8 ride along"),
    ],
)
def test_ids_that_cannot_ride_along_are_refused(folder: Path, ids: str, words: str) -> None:
    path = folder / "agent.toml"
    path.write_text(AGENT + f"ids = {ids}\n")

    (problem,) = problems_of(path, load_agent)

    assert words in problem


def test_a_misspelt_key_is_refused_with_the_key_that_was_meant(folder: Path) -> None:
    path = line_file(folder, LINE + "[budget]\npatches_per_our = 100\n")

    (problem,) = problems_of(path, load_line)

    assert problem.startswith(f'{path}: "budget.patches_per_our" is not a known key; known keys are patches_per_hour, ')
    assert problem.endswith('did you mean "patches_per_hour"?')


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("speling = 1\n" + LINE, '"speling"'),
        (LINE.replace("{ name", '{ kolour = "#000000", name', 1), '"classes[0].kolour"'),
        (LINE + "[simulator]\nseeds = 1\n", '"simulator.seeds"'),
        (LINE + "[learning]\nencoders = 'x'\n", '"learning.encoders"'),
    ],
)
def test_an_unknown_key_is_named_with_its_place(folder: Path, text: str, place: str) -> None:
    (problem,) = problems_of(line_file(folder, text), load_line)

    assert f"{place} is not a known key; known keys are " in problem


def test_an_unknown_key_of_a_camera_source_is_held_against_its_own_kind(folder: Path) -> None:
    path = folder / "agent.toml"
    path.write_text(AGENT.replace('path = "images"', 'path = "images", first_frame = 1'))

    (problem,) = problems_of(path, load_agent)

    assert '"cameras[0].source.first_frame" is not a known key; known keys are path, pattern, loop, poll_s' in problem


def test_views_in_colour_need_three_channels(folder: Path) -> None:
    path = line_file(folder, LINE + "[space]\nrecipe = 'colour'\n")

    (problem,) = problems_of(path, load_line)

    assert problem == (f'{path}: space.recipe is "colour" but geometry.channels is 1; it takes 3: use "grey" or "auto"')


def test_every_faulty_table_is_reported_in_one_go(folder: Path) -> None:
    path = line_file(
        folder,
        'line = "Strip One"\n[budget]\nburst = 0\n[filter]\ngate_share = 2.0\n[crop]\nformat = "webp"\n[learnin]\nsteps = 1\n',
    )

    problems = problems_of(path, load_line)

    text = "\n".join(problems)
    for place in ("line", '"classes" is missing', "budget.burst", "filter.gate_share", "crop.format", '"learnin"'):
        assert place in text
    assert len(problems) == 6
    assert all(problem.startswith(f"{path}: ") for problem in problems)


def test_a_table_with_a_wrong_key_and_a_wrong_value_names_both_or_the_rest_next_time(folder: Path) -> None:
    path = line_file(folder, LINE + "[budget]\nbursts = 1\nburst = 0\n")

    first = problems_of(path, load_line)
    second = problems_of(line_file(folder, LINE + "[budget]\nburst = 0\n"), load_line)

    assert any("budget.bursts" in problem for problem in first)
    assert any("budget.burst" in problem for problem in second)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("[budget]\npatches_per_hour = nan\n", "patches_per_hour"),
        ("[budget]\npatches_per_hour = inf\n", "patches_per_hour"),
        ("[budget]\nfloor_share = nan\n", "floor_share"),
        ("[selection]\nb = 0.0\n", "b"),
        ("[pool]\ncap = 2.5\n", "cap"),
        ("[rounds]\nauto = 1\n", "auto"),
    ],
)
def test_numbers_that_mean_nothing_are_refused(folder: Path, table: str, reason: str) -> None:
    (problem,) = problems_of(line_file(folder, LINE + table), load_line)

    assert reason in problem


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


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('line = "strip"', 'line = "stripe"', "known lines are strip"),
        ('type = "folder", path = "images"', 'type = "steel_line"', "has no [simulator] table"),
        ('type = "folder", path = "images"', 'type = "webcam"', "source"),
        ('type = "folder", path = "images"', 'path = "images"', "type"),
        ('node = "press-03"', 'node = "press/03"', "node"),
    ],
)
def test_a_node_that_cannot_work_is_refused(folder: Path, old: str, new: str, reason: str) -> None:
    path = folder / "agent.toml"
    path.write_text(AGENT.replace(old, new))

    assert reason in "\n".join(problems_of(path, load_agent))


def test_two_cameras_of_one_name_are_refused(folder: Path) -> None:
    path = folder / "agent.toml"
    path.write_text(AGENT + AGENT[AGENT.index("[[cameras]]") :])

    assert problems_of(path, load_agent) == (f'{path}: cameras: "top" is named twice',)


def test_the_faults_of_every_line_file_are_reported_together(folder: Path) -> None:
    (folder / "other.toml").write_text("line = 'other'\n")
    (folder / "site.toml").write_text(SITE.replace('["line.toml"]', '["line.toml", "other.toml", "third.toml"]'))
    line_file(folder, LINE + "[gate]\nmax_drops = 1\n")

    text = "\n".join(problems_of(folder / "site.toml", load_site))

    assert "gate.max_drops" in text
    assert 'other.toml: "classes" is missing' in text
    assert "third.toml: No such file or directory" in text


def test_two_files_for_one_line_are_refused(folder: Path) -> None:
    (folder / "copy.toml").write_text(LINE)
    (folder / "site.toml").write_text(SITE.replace('["line.toml"]', '["line.toml", "copy.toml"]'))

    (problem,) = problems_of(folder / "site.toml", load_site)

    assert 'two files describe line "strip"' in problem


@pytest.mark.parametrize("data", [b"line = ", b"\xff\xfe", b"[a]\n[a]\n"])
def test_a_file_that_is_not_toml_is_refused_by_name(folder: Path, data: bytes) -> None:
    path = folder / "line.toml"
    path.write_bytes(data)

    (problem,) = problems_of(path, load_line)

    assert problem.startswith(f"{path}: not TOML: ")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path / "nowhere.toml", load_site)

    assert problem == f"{tmp_path / 'nowhere.toml'}: No such file or directory; expected a TOML file"


def test_a_loaded_configuration_cannot_be_changed(folder: Path) -> None:
    line = load_line(folder / "line.toml")

    with pytest.raises(AttributeError):
        line.budget.burst = 1
    assert line.budget.burst == 50
    assert msgspec.structs.replace(line.budget, burst=1).burst == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660, 0o620, 0o601])
def test_a_password_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    secret.chmod(mode)

    with pytest.raises(ConfigError, match="chmod 600") as refused:
        read_secret(secret)
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_password_of_its_owner_alone_is_read_without_its_newline(tmp_path: Path, mode: int) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    secret.chmod(mode)

    assert read_secret(secret) == "s3cret"


def test_a_missing_password_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file must hold the password alone"):
        read_secret(tmp_path / "password")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_choice_is_told_with_the_choices_and_a_wrong_form_in_words(tmp_path: Path) -> None:
    file = tmp_path / "line.toml"
    file.write_text(
        """
line = "Steel Line"
classes = [{name = "good"}, {name = "bad", colour = "red"}]
[labelling]
source = "foldr"
[geometry]
patch_px = 500
"""
    )

    with pytest.raises(ConfigError) as caught:
        load_line(file)

    told = [problem.removeprefix(f"{file}: ") for problem in caught.value.problems]
    assert told[:3] == [
        'line is "Steel Line"; expected 1 to 40 of a-z 0-9 _ -, beginning and ending with a letter or digit',
        'classes[1].colour is "red"; expected a colour as #rrggbb',
        "geometry: patch_px 500 is not a multiple of cell_px 64",
    ]
    assert told[3:] == ['labelling.source is "foldr"; known are folder, oracle']


def test_sizes_that_every_second_pixel_would_miss_are_refused(folder: Path) -> None:
    sizes = "geometry = { tile_px = 96, patch_px = 54, margin_px = 5, cell_px = 9 }"

    (problem,) = problems_of(line_file(folder, LINE + sizes), load_line)

    assert "release.entropy_stride is 2, but geometry has cell_px 9, a tile's inset 21 px, which is odd" in problem
    assert load_line(line_file(folder, LINE + sizes + "\nrelease = { entropy_stride = 1 }")).grid.cell_px == 9


def test_each_provider_runs_what_the_line_says(folder: Path) -> None:
    line = load_line(line_file(folder, LINE + 'release = { precision = "fp16", providers = { cpu = "int8" } }'))

    assert line.release.precision_on("cpu") == "int8"
    assert line.release.precision_on("cuda") == "fp16"
