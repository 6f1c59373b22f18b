"""A node whose releases are kept."""

from pathlib import Path

import pytest

from tests.edge_agent.releases.kept import Build, Node


@pytest.fixture
def node(tmp_path: Path, build_release: Build) -> Node:
    return Node(tmp_path, build_release)
