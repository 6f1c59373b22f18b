"""What the fault tests share: what a machine must have for them, and a word about what each of them did."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import MISSING
from tests.faults import amnesia
from tests.faults.amnesia import Amnesia

Say = Callable[[str], None]


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Say:
    """Say what was done and counted; it stands at the end of the run."""

    def told(words: str) -> None:
        record_property("fault", words)

    return told


@pytest.fixture
def amnesiac(tmp_path: Path) -> Iterator[Amnesia]:
    """A file system that forgets what was not synced."""
    lacks = amnesia.missing()
    if lacks is not None:
        pytest.skip(MISSING + lacks)
    with Amnesia.mounted(tmp_path / "amnesia") as mounted:
        yield mounted


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 10 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["/bin/mount", "-t", "tmpfs", "-o", "size=10m,mode=0700", "winnow-faults", str(folder)]
    if os.geteuid() != 0:
        pytest.skip(MISSING + "the right to mount a tmpfs (root)")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(MISSING + f"the right to mount a tmpfs ({done.stderr.strip()})")
    yield folder
    subprocess.run(["/bin/umount", "-l", str(folder)], check=True)
