"""A spool that is open while a test runs, and an uplink with a centre beside it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.courier.spool import Spool
from tests.edge_agent.courier.centre import World
from tests.edge_agent.courier.spooled import CAP


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool.open(tmp_path / "spool.db", cap_bytes=CAP, ballast_bytes=0)
    yield spool
    spool.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path / "spool.db")
    yield world
    world.spool.close()
