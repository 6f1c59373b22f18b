"""A line that held its rounds, for tests of what comes after."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def site(finished_site: Any, tmp_path: Path) -> Any:
    return finished_site.copy_to(tmp_path)
