"""A spool that is open while a test runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edge_agent.courier.spool import Spool
from tests.edge_agent.courier.spooled import CAP


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    spool = Spool.open(tmp_path / "spool.db", cap_bytes=CAP, ballast_bytes=0)
    yield spool
    spool.close()
