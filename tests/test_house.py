"""The house describes itself truly: version, changelog, links, generated pages, targets."""

import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_changelogs_top_version_is_the_packages() -> None:
    (top, *_) = re.findall(r"(?m)^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text())

    assert top in {PROJECT["version"], "Unreleased"}
    assert f"## [{PROJECT['version']}] - " in (ROOT / "CHANGELOG.md").read_text()


def test_the_installed_package_is_the_one_that_is_here() -> None:
    assert version("winnow") == PROJECT["version"]


def test_the_licence_is_whole() -> None:
    text = (ROOT / PROJECT["license-files"][0]).read_text()

    assert PROJECT["license"] == "Apache-2.0"
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())

    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_every_decision_stands_in_the_index() -> None:
    index = (ROOT / "docs/adr/index.md").read_text()

    notes = sorted((ROOT / "docs/adr").glob("[0-9]*.md"))
    assert [note.name for note in notes if f"({note.name})" not in index] == []
    assert [note.name[:4] for note in notes] == [f"{number:04d}" for number in range(1, len(notes) + 1)]


@pytest.mark.parametrize("note", sorted((ROOT / "docs/adr").glob("[0-9]*.md")), ids=lambda note: note.stem)
def test_every_decision_has_the_parts_of_the_template(note: Path) -> None:
    heads = re.findall(r"(?m)^## (.+)$", note.read_text())

    assert heads == ["Context", "Options", "Decision", "Cost"]
    assert note.read_text().startswith(f"# {note.name[:4]}: ")


@pytest.mark.parametrize(
    "chapter", ["words", "node", "wire", "pool", "rounds", "demo", "own-images", "faults"], ids=lambda chapter: chapter
)
def test_every_chapter_ends_with_its_limits(chapter: str) -> None:
    text = (ROOT / "docs" / f"{chapter}.md").read_text()

    assert re.findall(r"(?m)^## (.+)$", text)[-1] == "Limits"
    assert f"({chapter}.md)" in (ROOT / "docs/index.md").read_text()


@pytest.mark.parametrize("name", ["cli.md", "methods.md", "states.md"])
def test_generated_pages_are_current(name: str) -> None:
    spec = spec_from_file_location("pages", ROOT / "tools/pages.py")
    pages = module_from_spec(spec)
    spec.loader.exec_module(pages)

    assert (ROOT / "docs" / name).read_text() == pages.pages()[name], "make docs writes it anew"


def test_every_command_that_the_book_names_exists_with_its_options() -> None:
    sections = dict(re.findall(r"(?ms)^#+ (winnow .+?)\n(.*?)(?=^#|\Z)", (ROOT / "docs/cli.md").read_text()))
    leaves = {name for name in sections if not any(other.startswith(f"{name} ") for other in sections)}

    strangers = []
    for line in commands_in_the_book():
        words = line.split()
        leaf = next((name for end in range(len(words) + 1) if (name := " ".join(words[:end])) in leaves), None)
        options = re.findall(r"--[a-z-]+", line)
        if leaf is None or any(f"`{option}`" not in sections[leaf] for option in options):
            strangers.append(line)

    assert strangers == []


def commands_in_the_book() -> set[str]:
    """Gather every command line of ours in a code block."""
    blocks = [block for page in PAGES for block in re.findall(r"(?ms)^```(?:console)?\n(.*?)^```", page.read_text())]
    # The generated page shows how commands are called, not calls.
    lines = [line.removeprefix("$ ").split("#")[0].strip(" &") for block in blocks for line in block.splitlines()]
    return {line for line in lines if line.startswith("winnow ") and "[" not in line}


def test_make_has_at_most_ten_targets_and_names_what_it_needs() -> None:
    makefile = (ROOT / "Makefile").read_text()

    (phony,) = re.findall(r"(?m)^\.PHONY: (.+)$", makefile)
    assert set(phony.split()) == {"setup", "check", "test", "demo", "bench", "soak", "docs", "clean"}
    assert all(re.search(rf"(?m)^{target}:", makefile) for target in phony.split())


@pytest.mark.parametrize(("shell", "script"), [("sh", "tools/setup.sh"), ("bash", ".ci/run")])
def test_the_scripts_are_read_by_their_shell(shell: str, script: str) -> None:
    answer = subprocess.run([shutil.which(shell), "-n", ROOT / script], capture_output=True, text=True, check=False)

    assert (answer.returncode, answer.stderr) == (0, "")


@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ({}, "there is no apt-get here; install mosquitto with this system's package manager"),
        ({"apt-get": "exit 0", "id": "echo 1000"}, "this user is not root and there is no sudo; run 'apt-get install"),
        ({"apt-get": "exit 100"}, "apt-get could not install mosquitto; install it by hand"),
        ({"apt-get": "exit 0"}, "mosquitto was installed but is not in /nowhere/sbin"),
    ],
    ids=["no-apt", "not-root", "apt-fails", "apt-lies"],
)
def test_setup_that_cannot_have_mosquitto_says_what_to_do(tmp_path: Path, programs: dict[str, str], said: str) -> None:
    script = tmp_path / "tools/setup.sh"
    script.parent.mkdir()
    # A mosquitto that is installed here must not be found: the script is told to look elsewhere.
    script.write_text((ROOT / "tools/setup.sh").read_text().replace("/usr/", "/nowhere/"))
    path = tmp_path / "bin"
    path.mkdir()
    for program in ("dirname", "env", "sh"):
        (path / program).symlink_to(shutil.which(program))
    for program, line in ({"id": "echo 0"} | programs).items():
        (path / program).write_text(f"#!/bin/sh\n{line}\n")
        (path / program).chmod(0o755)

    answer = subprocess.run(
        [shutil.which("sh"), script],
        env={"PATH": str(path), "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 1
    assert answer.stderr.startswith("setup: ")
    assert said in answer.stderr
    assert len(answer.stderr.splitlines()) == 1
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bin", "tools"]
