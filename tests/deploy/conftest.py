"""A site on disk: its files, and a store with two releases."""

from pathlib import Path

import pytest

from deploy.store import Store
from shared.files import write_durably
from shared.geometry import PatchGrid
from shared.identity import sha256_hex
from shared.release import FileEntry, Manifest, SpaceEntry, release_path, write_json

SITE = """\
site = "plant"
lines = ["steel.toml"]

[broker]
port = {port}
"""
LINE = """\
line = "steel"
[[classes]]
name = "background"
[[classes]]
name = "scratch"
"""


def add_release(root: Path, number: int) -> Manifest:
    """Write one release as the trainer does."""
    graph = b"graph %d" % number
    name = f"steel-{number:04d}"
    manifest = Manifest(
        line="steel",
        release=name,
        number=number,
        created=1_700_000_000.0 + number,
        classes=("background", "scratch"),
        geometry=PatchGrid(tile_px=160, patch_px=64, margin_px=16, cell_px=16),
        files={"space": FileEntry(name="space.onnx", sha256=sha256_hex(graph), bytes=len(graph))},
        space=SpaceEntry(id=sha256_hex(graph), dim=8, tau=0.1),
    )
    write_durably(root / release_path("steel", name, "space.onnx"), graph)
    write_durably(root / release_path("steel", name), write_json(manifest))
    return manifest


@pytest.fixture
def site_file(tmp_path: Path) -> Path:
    """A site whose broker nobody runs, with releases 1 and 2."""
    (tmp_path / "steel.toml").write_text(LINE)
    path = tmp_path / "site.toml"
    path.write_text(SITE.format(port=1))
    for number in (1, 2):
        add_release(tmp_path / "trainer" / "public", number)
    return path


@pytest.fixture
def store(site_file: Path) -> Store:
    """The store of that site."""
    return Store(site_file.parent / "trainer" / "public")
