"""An ingest with a node beside it."""

import pytest

from shared.clock import ManualClock
from shared.config import LineConfig
from tests.trainer.pool.plant import Plant
from trainer.pool.pool import Pool


@pytest.fixture
def plant(pool: Pool, line: LineConfig, clock: ManualClock) -> Plant:
    return Plant(pool, line, clock)
