"""The example files hold every key at its default, and run."""

import re
import shutil
import tomllib
from pathlib import Path
from typing import get_args

import msgspec
import pytest
from msgspec import Struct

from shared.config import (
    AgentConfig,
    ClassTable,
    LineConfig,
    SiteConfig,
    load_agent,
    load_line,
    load_site,
)
from shared.sources import CameraTable, FolderSource, Source
from trainer.experiment.recipe import Arm, DataTable, Recipe, SpaceSource, load_recipe

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FILES = {"site.toml": SiteConfig, "line.toml": LineConfig, "agent.toml": AgentConfig}


def spelled_out(text: str) -> str:
    """Take the comment sign from every key and table that stands in a comment."""
    return re.sub(r"(?m)^# (?=\[|[a-z_]+ = )", "", text)


@pytest.fixture
def spelled(tmp_path: Path) -> Path:
    """The examples with nothing left in comments."""
    for name in FILES:
        (tmp_path / name).write_text(spelled_out((EXAMPLES / name).read_text()))
    return tmp_path


def keys_of_struct(kind: object, where: str = "") -> set[str]:
    """Walk a configuration's structs: every key, by its dotted place."""
    members = [kind, *get_args(kind), *(inner for arg in get_args(kind) for inner in get_args(arg))]
    structs = [member for member in members if isinstance(member, type) and issubclass(member, Struct)]
    found = set()
    for struct in structs:
        if struct.__struct_config__.tag_field:
            found.add(f"{where}{struct.__struct_config__.tag_field}")
        for field in msgspec.structs.fields(struct):
            found |= {f"{where}{field.name}"} | keys_of_struct(field.type, f"{where}{field.name}.")
    return found


def keys_of_file(value: object, where: str = "") -> set[str]:
    """Walk a parsed file the same way; a list's entries share their place."""
    if isinstance(value, list):
        return {key for entry in value for key in keys_of_file(entry, where)}
    if not isinstance(value, dict):
        return set()
    return {f"{where}{key}" for key in value} | {
        inner for key, entry in value.items() for inner in keys_of_file(entry, f"{where}{key}.")
    }


@pytest.mark.parametrize(("name", "kind"), FILES.items(), ids=FILES)
def test_every_key_stands_in_an_example(spelled: Path, name: str, kind: type[Struct]) -> None:
    found = keys_of_file(tomllib.loads((spelled / name).read_text()))

    # What a user names (classes with floors, classes with rates, groups with places) is no key of ours.
    named = (
        "acquisition.class_weights.",
        "cameras.ids.",
        "cameras.source.settings.",
        "gate.class_floors.",
        "simulator.rates.",
        "selection.quota.places.",
    )
    assert {key for key in found if not key.startswith(named)} == keys_of_struct(kind)


def test_the_examples_with_every_comment_taken_off_are_loadable_too(spelled: Path) -> None:
    load_site(spelled / "site.toml")
    agent, lines = load_agent(spelled / "agent.toml")

    assert {type(camera.source) for camera in agent.cameras} == {*get_args(Source)}
    assert lines["strip"].simulator is not None


def test_the_values_in_the_site_example_are_the_defaults() -> None:
    site, lines = load_site(EXAMPLES / "site.toml")

    assert site == SiteConfig(site=site.site, lines=site.lines)
    assert set(lines) == {"strip"}


def test_the_values_in_the_line_example_are_the_defaults() -> None:
    line = load_line(EXAMPLES / "line.toml")

    assert line == LineConfig(line=line.line, classes=line.classes)
    assert line.classes[0] == ClassTable(name="steel")


def test_the_values_in_the_agent_example_are_the_defaults() -> None:
    agent, _ = load_agent(EXAMPLES / "agent.toml")

    camera = CameraTable(name="top", line="strip", source=FolderSource(path="images"))
    assert agent == AgentConfig(node=agent.node, site=agent.site, lines=agent.lines, cameras=(camera,))


def test_every_key_of_a_recipe_stands_in_its_example() -> None:
    found = keys_of_file(tomllib.loads(spelled_out((EXAMPLES / "recipe.toml").read_text())))

    # What an arm sets apart has the recipe's own keys; how large a batch is, a study's schedule says.
    apart = tuple(f"arm.{table}." for table in ("acquisition", "learning", "classifier", "space", "pixels"))
    refused = ("arm.batch", "arm.quota", "arm.reference_share")
    known = {key for key in keys_of_struct(Recipe) if not key.startswith((*apart, *refused))}
    assert {key for key in found if not key.startswith(apart)} == known


def test_the_values_in_the_recipe_example_are_the_defaults() -> None:
    recipe = load_recipe(EXAMPLES / "recipe.toml")

    (arm,) = recipe.arm
    assert arm == Arm(name=arm.name, strategy="greedy")
    plain = Recipe(
        title=recipe.title,
        data=DataTable(name=recipe.data.name),
        space=SpaceSource(),
        schedule=recipe.schedule,
        arm=(arm,),
    )
    assert recipe == plain


def test_the_folder_example_is_one_plant(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "folder", tmp_path, dirs_exist_ok=True)

    site, lines = load_site(tmp_path / "site.toml")
    agent, agent_lines = load_agent(tmp_path / "agent.toml")

    assert lines == agent_lines
    assert agent.site == site.site
    assert agent.cameras[0].line in lines
    assert agent.releases_url.endswith(f":{site.trainer.http_port}")
    assert lines["parts"].labelling.source == "folder"
