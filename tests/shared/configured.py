"""The smallest files of a line, a site and a node, and how a wrong one is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import ConfigError

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


def line_file(folder: Path, text: str) -> Path:
    path = folder / "line.toml"
    path.write_text(text)
    return path


def problems_of(path: Path, load: Callable[[Path], object]) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value) == "\n".join(refused.value.problems)
    return refused.value.problems
