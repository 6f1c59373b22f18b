"""The store as its owner sees it: the releases and rollout documents below the trainer's `public/` folder."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.config import SiteConfig
from shared.errors import InputError, ReleaseError
from shared.files import read_bounded, write_durably
from shared.identity import sha256_hex
from shared.release import (
    MANIFEST_NAME,
    MAX_FILE_BYTES,
    MAX_MANIFEST_BYTES,
    Manifest,
    Rollout,
    read_manifest,
    read_rollout,
    release_path,
    rollout_path,
    verify,
    write_json,
)


@dataclass(frozen=True, slots=True)
class StoredRelease:
    """A release that has a manifest, and the manifest's hash."""

    manifest: Manifest
    sha256: str


def store_root(site_file: Path, site: SiteConfig) -> Path:
    """Say where a site's store stands."""
    return site_file.parent / site.trainer.directory / "public"


class Store:
    """One site's releases and rollout documents."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def releases(self, line: str) -> list[StoredRelease]:
        """List a line's releases, oldest first; a folder without a manifest is no release."""
        folder = self.root / "releases" / line
        found = [self._read(line, path.parent.name) for path in sorted(folder.glob(f"*/{MANIFEST_NAME}"))]
        return sorted(found, key=lambda release: release.manifest.number)

    def release(self, line: str, name: str) -> StoredRelease:
        """Read one release's manifest."""
        if not (self.root / release_path(line, name)).is_file():
            known = ", ".join(entry.manifest.release for entry in self.releases(line)[-5:]) or "none"
            raise ReleaseError(f'release "{name}": line "{line}" has no such release; the newest are {known}')
        return self._read(line, name)

    def check_files(self, release: StoredRelease) -> None:
        """Hash every file of a release; raise at the first that is not what the manifest says."""
        manifest = release.manifest
        for entry in manifest.files.values():
            path = self.root / release_path(manifest.line, manifest.release, entry.name)
            what = f"release {manifest.release}: {entry.name}"
            try:
                data = read_bounded(path, limit=MAX_FILE_BYTES)
            except InputError as error:
                raise ReleaseError(f"{what}: {error}; it is not rolled out") from None
            verify(data, sha256=entry.sha256, what=what, size=entry.bytes)

    def rollout(self, line: str) -> Rollout | None:
        """Read a line's rollout document."""
        path = self.root / rollout_path(line)
        if not path.exists():
            return None
        return read_rollout(read_bounded(path, limit=MAX_MANIFEST_BYTES), line=line)

    def write_rollout(self, rollout: Rollout) -> None:
        """Put a line's newest rollout document in place."""
        write_durably(self.root / rollout_path(rollout.line), write_json(rollout))

    @contextmanager
    def locked(self, line: str) -> Iterator[None]:
        """Hold a line's rollouts, so that two commands never write one number."""
        path = self.root.parent / "run" / f"rollout-{line}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _read(self, line: str, name: str) -> StoredRelease:
        data = read_bounded(self.root / release_path(line, name), limit=MAX_MANIFEST_BYTES)
        manifest = read_manifest(data, sha256=None, what=f"release {name}")
        if (manifest.line, manifest.release) != (line, name):
            raise ReleaseError(
                f'release {name}: its manifest says {manifest.release} of line "{manifest.line}"; it is not used'
            )
        return StoredRelease(manifest, sha256_hex(data))
