"""A forgetful file system that a test mounts, arms and cuts.

It runs in a process of its own: the one whose files lie here may be killed while it waits for them.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from tests.faults.forgetful import Weather

ROOT = Path(__file__).resolve().parents[2]
#: How long one word to the file system may take.
_WITHIN_S = 120.0


class Amnesia:
    """A mounted forgetful disk, as a test sees it."""

    def __init__(self, mount: Path, process: "subprocess.Popen[bytes]") -> None:
        self.path = mount
        self._process = process

    @classmethod
    @contextmanager
    def mounted(cls, mount: Path) -> Iterator[Self]:
        """Mount it, and unmount it whatever happened."""
        mount.mkdir()
        command = [sys.executable, "-m", "tests.faults.amnesia_mount", str(mount)]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        watchdog = threading.Timer(_WITHIN_S, process.kill)
        try:
            watchdog.start()
            amnesia = cls(mount, process)
            assert amnesia._hear() == {"mounted": True}, "the file system did not come up"
            watchdog.cancel()
            yield amnesia
        finally:
            watchdog.cancel()
            subprocess.run(
                [shutil.which("fusermount3") or "fusermount3", "-u", "-z", str(mount)], check=False, capture_output=True
            )
            process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                assert stream is not None
                stream.close()

    def arm(self, *, changes: int, weather: Weather, seed: int) -> None:
        """Cut the power before that many more changes of the disk are done."""
        self._tell({"do": "arm", "changes": changes, "weather": weather, "seed": seed})

    def cut(self) -> int:
        """Cut the power now if it is still on, and say how many changes were done."""
        return int(self._tell({"do": "cut"})["changes"])

    def is_off(self) -> bool:
        """Say whether the cut has come."""
        return bool(self._tell({"do": "ask"})["off"])

    def restore(self) -> None:
        """Switch the power on again."""
        self._tell({"do": "restore"})

    def _tell(self, word: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(word).encode() + b"\n")
        self._process.stdin.flush()
        return self._hear()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the file system ended"
        heard: dict[str, Any] = json.loads(line)
        return heard


def missing() -> str | None:
    """Say what this machine lacks for it; None when nothing."""
    try:
        handle = os.open("/dev/fuse", os.O_RDWR)
    except OSError as error:
        return f"/dev/fuse ({error.strerror})"
    os.close(handle)
    if shutil.which("fusermount3") is None:
        return "fuse3 (make setup installs it)"
    try:
        import mfusepy  # noqa: F401  # only whether it can be had
    except (ImportError, OSError) as error:
        return f"mfusepy ({error})"
    return None
