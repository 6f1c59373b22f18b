"""A camera's source in agent.toml: its kind, its ids, and no password in an address."""

from pathlib import Path

import pytest

from shared.config import load_agent
from shared.errors import ConfigError
from shared.sources import SteelLineSource, masked
from tests.shared.configured import AGENT, LINE, problems_of


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
        ('{ type = "folder", path = "i", pattern = "./" }', 'top.source.pattern is "./", which names no files'),
        ('{ type = "folder", path = "i", pattern = "a**b" }', 'top.source.pattern is "a**b"; ** stands for whole'),
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


def test_an_unknown_key_of_a_camera_source_is_held_against_its_own_kind(folder: Path) -> None:
    path = folder / "agent.toml"
    path.write_text(AGENT.replace('path = "images"', 'path = "images", first_frame = 1'))

    (problem,) = problems_of(path, load_agent)

    assert '"cameras[0].source.first_frame" is not a known key; known keys are path, pattern, loop, poll_s' in problem
