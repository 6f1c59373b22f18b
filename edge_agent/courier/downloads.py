"""Downloads: rollout documents and releases, from the store into ``incoming/``.

The fetcher brings bytes within a bound; here they are verified before they are written, and a release's
manifest is written last, so that a directory with a manifest is complete. A store that is away is asked
again, each time later; a release that does not verify is given up after a few tries.
"""

import random
import shutil
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge_agent.handoff import Fetch, Fetched, FetchFailed, RolloutSeen
from edge_agent.log import LOG
from shared.backoff import backoff_s
from shared.clock import Clock
from shared.errors import InputError, LinkError, ReleaseError
from shared.fetcher import Fetcher
from shared.files import read_bounded, write_durably
from shared.release import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    FileEntry,
    Rollout,
    read_manifest,
    read_rollout,
    release_path,
    rollout_path,
    verify,
)

FIRST_WAIT_S: Final = 2.0
MOST_WAIT_S: Final = 120.0
#: A release that does not verify may have been cut on its way; after this many tries it is the store's fault.
MAX_BAD_TRIES: Final = 3
#: What a download leaves free on the disk.
_RESERVE_BYTES: Final = 64 << 20


@dataclass(slots=True)
class _Wanted:
    fetch: Fetch
    due: float
    tries: int = 0
    bad_tries: int = 0


class Downloads:
    """What this node is to fetch; ``step`` does what is due, in a thread of its own."""

    def __init__(
        self,
        fetcher: Fetcher,
        *,
        node: str,
        lines: Sequence[str],
        incoming: Path,
        poll_s: float,
        clock: Clock,
        rng: random.Random,
        said: Callable[[RolloutSeen | Fetched | FetchFailed], None],
    ) -> None:
        self._fetcher = fetcher
        self._node = node
        self._lines = lines
        self._incoming = incoming
        self._poll_s = poll_s
        self._clock = clock
        self._rng = rng
        self._said = said
        self._lock = threading.Lock()
        self._wanted: dict[str, _Wanted] = {}
        self._seen: dict[str, int] = {}
        self._troubles: dict[str, str] = {}
        self._poll_due = 0.0
        self._wake = threading.Event()
        self._stopped = False

    def want(self, fetch: Fetch) -> None:
        """Bring a release; the newest wish of a line replaces the one before."""
        with self._lock:
            self._wanted[fetch.line] = _Wanted(fetch, due=self._clock.monotonic())
        self._wake.set()

    def hint(self) -> None:
        """Look for rollout documents now."""
        self._poll_due = 0.0
        self._wake.set()

    def run(self) -> None:
        """Do what is due until stopped."""
        while not self._stopped:
            self._wake.clear()
            self._clock.wait(self._wake, self.step())

    def stop(self) -> None:
        """End after the file in hand."""
        self._stopped = True
        self._wake.set()

    def step(self) -> float:
        """Do what is due, and say in how many seconds something is due again."""
        if self._clock.monotonic() >= self._poll_due:
            # Nodes that were started together must not ask together for ever.
            self._poll_due = self._clock.monotonic() + self._poll_s * self._rng.uniform(0.9, 1.1)
            for line in self._lines:
                self._look(line)
        with self._lock:
            wanted = [entry for entry in self._wanted.values() if entry.due <= self._clock.monotonic()]
        for entry in wanted:
            self._try(entry)
        with self._lock:
            dues = [self._poll_due, *(entry.due for entry in self._wanted.values())]
        return max(0.0, min(dues) - self._clock.monotonic())

    def _look(self, line: str) -> None:
        try:
            data = self._fetcher.fetch(rollout_path(line), limit=MAX_MANIFEST_BYTES)
            rollout = None if data is None else read_rollout(data, line=line)
        except (LinkError, ReleaseError) as error:
            self._trouble(line, str(error))
            return
        self._trouble(line, "")
        if rollout is not None and rollout.rollout > self._seen.get(line, 0):
            self._seen[line] = rollout.rollout
            self._tell(rollout)

    def _tell(self, rollout: Rollout) -> None:
        if rollout.nodes and self._node not in rollout.nodes:
            LOG.info('line "%s": rollout %d is for other nodes', rollout.line, rollout.rollout)
            return
        LOG.info('line "%s": rollout %d asks for %s', rollout.line, rollout.rollout, rollout.release)
        self._said(RolloutSeen(rollout))

    def _try(self, entry: _Wanted) -> None:
        fetch = entry.fetch
        try:
            directory = self.bring(fetch)
        except ReleaseError as error:
            entry.bad_tries += 1
            if entry.bad_tries >= MAX_BAD_TRIES:
                self._finish(entry, FetchFailed(fetch.line, fetch.release, str(error)))
                return
            self._postpone(entry, error)
        except LinkError as error:
            self._postpone(entry, error)
        else:
            self._finish(entry, Fetched(fetch.line, fetch.release, str(directory)))

    def _postpone(self, entry: _Wanted, error: Exception) -> None:
        entry.tries += 1
        wait = backoff_s(entry.tries, self._rng, first_s=FIRST_WAIT_S, most_s=MOST_WAIT_S)
        entry.due = self._clock.monotonic() + wait
        # The error names the release, or its path in the store.
        LOG.warning("%s; asked again in %.0f s", str(error).removesuffix("; trying again later"), wait)

    def _finish(self, entry: _Wanted, message: Fetched | FetchFailed) -> None:
        with self._lock:
            # A newer wish may have come while this one was fetched.
            if self._wanted.get(entry.fetch.line) is entry:
                del self._wanted[entry.fetch.line]
        self._said(message)

    def bring(self, fetch: Fetch) -> Path:
        """Fetch one release and return where it lies; what lies there already and verifies is kept."""
        shelf = self._incoming / fetch.line
        directory = shelf / fetch.release
        what = f"release {fetch.release}"
        for other in sorted(shelf.iterdir()) if shelf.is_dir() else []:
            if other != directory:
                shutil.rmtree(other, ignore_errors=True)
        data = self._fetch(fetch, MANIFEST_NAME, limit=MAX_MANIFEST_BYTES)
        manifest = read_manifest(data, sha256=fetch.manifest_sha256, what=f"{what}: {MANIFEST_NAME}")
        if (manifest.line, manifest.release) != (fetch.line, fetch.release):
            raise ReleaseError(
                f'{what}: the manifest is of {manifest.release} of line "{manifest.line}"; it is not used'
            )
        missing = [entry for entry in manifest.files.values() if not _is_there(directory / entry.name, entry)]
        self._check_room(sum(entry.bytes for entry in missing), what=what)
        for entry in missing:
            content = self._fetch(fetch, entry.name, limit=entry.bytes)
            verify(content, sha256=entry.sha256, what=f"{what}: {entry.name}", size=entry.bytes)
            self._write(directory / entry.name, content)
        self._write(directory / MANIFEST_NAME, data)
        return directory

    def _fetch(self, fetch: Fetch, name: str, *, limit: int) -> bytes:
        path = release_path(fetch.line, fetch.release, name)
        data = self._fetcher.fetch(path, limit=limit)
        if data is None:
            # A store that is copied file by file may have the rollout document before the release.
            raise LinkError(f"{path}: not in the store")
        return data

    def _check_room(self, needed: int, *, what: str) -> None:
        free = shutil.disk_usage(self._incoming).free
        if needed + _RESERVE_BYTES > free:
            raise LinkError(f"{what}: {needed} bytes and a reserve of {_RESERVE_BYTES}, the disk has {free} free")

    @staticmethod
    def _write(path: Path, data: bytes) -> None:
        try:
            write_durably(path, data)
        except OSError as error:
            raise LinkError(f"{path}: {error.strerror}") from None

    def _trouble(self, line: str, text: str) -> None:
        """Say a change once, not at every poll."""
        if text and text != self._troubles.get(line):
            LOG.warning('line "%s": %s', line, text)
        elif not text and self._troubles.get(line):
            LOG.info('line "%s": the store answers again', line)
        self._troubles[line] = text


def _is_there(path: Path, entry: FileEntry) -> bool:
    try:
        verify(read_bounded(path, limit=entry.bytes), sha256=entry.sha256, what=entry.name, size=entry.bytes)
    except (InputError, ReleaseError):
        return False
    return True
