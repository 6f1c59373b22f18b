from pathlib import Path

import pytest

from tests.shared.configured import AGENT, LINE, SITE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "line.toml").write_text(LINE)
    (tmp_path / "site.toml").write_text(SITE)
    (tmp_path / "agent.toml").write_text(AGENT)
    return tmp_path
