"""Releases on the node's disk: where they lie, whether they are whole, and what may go.

A release lies first in ``incoming/<line>/<release>/`` and, once its trial passed, in
``releases/<line>/<release>/``. The move is a rename, so that a directory below ``releases/`` is complete or
not there.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edge_agent.releases.activation import Held
from shared.errors import InputError, ReleaseError
from shared.files import read_bounded, sync_directory
from shared.release import MANIFEST_NAME, MAX_FILE_BYTES, MAX_MANIFEST_BYTES, Manifest, read_manifest, verify


@dataclass(frozen=True, slots=True)
class Shelf:
    """The two folders of one node."""

    incoming: Path
    releases: Path

    def place(self, line: str, release: str) -> Path:
        """Name the directory of a release that passed its trial."""
        return self.releases / line / release

    def find(self, line: str, held: Held) -> Path | None:
        """Return the directory where a release lies whole, None when it must be fetched."""
        for root in (self.releases, self.incoming):
            directory = root / line / held.release
            try:
                check(directory, sha256=held.sha256, line=line)
            except ReleaseError:
                continue
            return directory
        return None

    def install(self, line: str, held: Held) -> Path:
        """Move a tried release to where inspection loads it from, unless it lies there."""
        place = self.place(line, held.release)
        source = self.find(line, held)
        if source is None:
            raise ReleaseError(f"release {held.release}: no longer whole after its trial")
        if source == place:
            return place
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.exists():
                # Only a release that no longer verified is in the way: one that did would have been the source.
                shutil.rmtree(place)
            source.replace(place)
            for directory in (place.parent, self.releases, source.parent):
                sync_directory(directory)
        except OSError as error:
            raise ReleaseError(f"{place}: {error.strerror}; the release cannot be put in place") from None
        return place

    def prune(self, line: str, keep: Iterable[Held | None]) -> list[str]:
        """Remove the releases of a line that nothing points at, and name them."""
        kept = {held.release for held in keep if held is not None}
        shelf = self.releases / line
        removed = (
            [directory for directory in sorted(shelf.iterdir()) if directory.name not in kept] if shelf.is_dir() else []
        )
        for directory in removed:
            shutil.rmtree(directory, ignore_errors=True)
        return [directory.name for directory in removed]


def check(directory: Path, *, sha256: str, line: str) -> Manifest:
    """Verify the manifest and every file it lists; a ``ReleaseError`` names what is wrong."""
    try:
        data = read_bounded(directory / MANIFEST_NAME, limit=MAX_MANIFEST_BYTES)
        manifest = read_manifest(data, sha256=sha256, what=f"{directory.name}: {MANIFEST_NAME}")
        if manifest.line != line:
            raise ReleaseError(f'release {manifest.release}: made for line "{manifest.line}", not "{line}"')
        for entry in manifest.files.values():
            content = read_bounded(directory / entry.name, limit=min(entry.bytes, MAX_FILE_BYTES))
            verify(content, sha256=entry.sha256, what=f"release {manifest.release}: {entry.name}", size=entry.bytes)
    except InputError as error:
        raise ReleaseError(f"release {directory.name}: {error}; it is not used") from None
    return manifest
