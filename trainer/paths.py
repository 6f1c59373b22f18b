"""The trainer's directory: where each of its things lies, and who may hold it.

Everything below the directory is made by the trainer. One process serves a directory, one worker holds a
line's rounds; the kernel gives a claim back when its process is gone, however it went.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from shared.config import LineConfig, SiteConfig, load_site
from shared.errors import ConfigError, StateError


class ClaimedError(StateError):
    """Another process holds what was to be claimed."""


@dataclass(frozen=True, slots=True)
class TrainerPaths:
    """The layout below ``site.trainer.directory``. ``Pool.open`` takes ``directory`` itself."""

    directory: Path

    @property
    def pool(self) -> Path:
        """The pool's database file."""
        return self.directory / "pool.db"

    @property
    def public(self) -> Path:
        """The store root that is served over HTTP: ``releases/`` and ``rollouts/``."""
        return self.directory / "public"

    @property
    def runs(self) -> Path:
        """One folder per run."""
        return self.directory / "runs"

    @property
    def spaces(self) -> Path:
        """One folder per line."""
        return self.directory / "spaces"

    def make(self) -> None:
        """Create the folders that are missing; only the owner reads them."""
        for folder in (self.directory, self.public, self.runs, self.spaces):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(
                    f"{folder}: {error.strerror}; the trainer's directory must be a folder it may write"
                ) from None

    @contextmanager
    def claim(self, what: str) -> Iterator[None]:
        """Hold ``what`` (``serve``, ``rounds-<line>``) for the life of this process; refuse when another holds it."""
        path = self.directory / f"{what}.lock"
        try:
            self.make()
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}; free the disk or name another trainer.directory") from None
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                holder = os.pread(handle, 20, 0).decode("ascii", "replace").strip() or "unknown"
                raise ClaimedError(
                    f'{self.directory}: "{what}" is held by process {holder}; stop it first, or name another trainer.directory'
                ) from None
            # Who holds it is a courtesy to the one who is refused: a full disk must not end the holder.
            with suppress(OSError):
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
            yield
        finally:
            os.close(handle)


def load(site_toml: Path) -> tuple[SiteConfig, dict[str, LineConfig], TrainerPaths]:
    """Read a site, its lines by name, and the layout of its trainer's directory."""
    site, lines = load_site(site_toml)
    return site, lines, TrainerPaths((site_toml.parent / site.trainer.directory).absolute())


def pick_line(lines: dict[str, LineConfig], name: str | None) -> LineConfig:
    """Return the line an option names; a site's only line needs no name."""
    if name is None and len(lines) == 1:
        return next(iter(lines.values()))
    if name is None:
        raise ConfigError(f"--line: the site has {len(lines)} lines; name one of {', '.join(sorted(lines))}")
    if name not in lines:
        raise ConfigError(f'--line: "{name}" is not a line of the site; known lines are {", ".join(sorted(lines))}')
    return lines[name]
