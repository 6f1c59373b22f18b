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
)
from shared.errors import ConfigError
from shared.sources import FolderSource
from tests.shared.configured import AGENT, LINE, SITE, line_file, problems_of


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
    "url",
    [
        "http://h:1/?token=geheim",
        "http://h#geheim",
        "http://h/geheim?",
        "http://[::1",
        "http://geheim:65536",
        "http://h/gehe\u00efm",
        "file://geheim/store",
        "file:///geheim?x",
        "file:///geheim%00",
    ],
)
def test_an_address_that_no_store_can_have_is_refused_without_repeating_it(folder: Path, url: str) -> None:
    path = folder / "agent.toml"
    path.write_text(f'releases_url = "{url}"\n' + AGENT, encoding="utf-8")

    (problem,) = problems_of(path, load_agent)

    assert problem.startswith(f"{path}: releases_url cannot be; expected an address as http://host, ")
    assert "geheim" not in problem


@pytest.mark.parametrize(
    "url",
    [
        "http://h",
        "HTTPS://h:65535/a/b%20c/",
        "http://[::1]:8480/x",
        "file:///usb stick/\u00fc",
        "file://localhost/mnt/a@b",
    ],
)
def test_addresses_that_a_store_can_have_are_taken(folder: Path, url: str) -> None:
    path = folder / "agent.toml"
    path.write_text(f'releases_url = "{url}"\n' + AGENT, encoding="utf-8")

    agent, _ = load_agent(path)

    assert agent.releases_url == url


def test_a_nul_is_refused_with_its_key_wherever_it_stands(folder: Path) -> None:
    path = folder / "agent.toml"
    text = AGENT.replace('path = "images"', 'path = "ima\\u0000ges"').replace("line.toml", "line\\u0000.toml")
    path.write_text('directory = "a\\u0000"\n' + text)

    problems = problems_of(path, load_agent)

    assert [problem.split(" ")[1] for problem in problems] == ["directory", "lines[0]", "cameras[0].source.path"]
    assert all("holds a NUL" in problem for problem in problems)


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


@pytest.mark.parametrize(("name", "load"), [("site.toml", load_site), ("agent.toml", load_agent)])
def test_a_password_without_a_name_is_refused(folder: Path, name: str, load: Callable[[Path], object]) -> None:
    path = folder / name
    path.write_text(path.read_text() + '\n[broker]\npassword_file = "p"\n')

    problem = f"{path}: broker.password_file stands without a username; give both"
    assert problems_of(path, load) == (problem,)


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


def test_each_provider_runs_what_the_line_says(folder: Path) -> None:
    line = load_line(line_file(folder, LINE + 'release = { precision = "fp16", providers = { cpu = "int8" } }'))

    assert line.release.precision_on("cpu") == "int8"
    assert line.release.precision_on("cuda") == "fp16"
