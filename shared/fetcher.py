"""The fetcher seam: where release files and rollout documents come from.

HTTP from the trainer, or a folder (a mounted store, a USB stick). A fetcher only brings bytes, within a
bound; trust is decided by ``release``.
"""

import email.utils
import http.client
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Protocol

from shared.errors import ConfigError, InputError, LinkError
from shared.files import read_bounded


class Fetcher(Protocol):
    """Brings the bytes at a path below the store's root."""

    def fetch(self, path: str, *, limit: int) -> bytes | None:
        """Return the bytes, None when there is no such file; a ``LinkError`` when the store is away."""


class HttpFetcher:
    """Static files over HTTP(S)."""

    def __init__(self, url: str, *, timeout_s: float = 10.0) -> None:
        if _scheme(url) not in {"http", "https"}:
            raise ConfigError(f'releases_url "{url}": expected http://, https:// or file://')
        self._url = url.rstrip("/")
        self._timeout_s = timeout_s

    def fetch(self, path: str, *, limit: int) -> bytes | None:
        url = f"{self._url}/{path}"
        try:
            with urllib.request.urlopen(url, timeout=self._timeout_s) as answer:  # noqa: S310  # the scheme was checked above
                data: bytes = answer.read(limit + 1)
                promised = answer.headers.get("Content-Length")
        except urllib.error.HTTPError as error:
            if error.code in {404, 410}:
                return None
            raise LinkError(f"{url}: the store answers {error.code}; trying again later") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            # A host that no name can be, or a redirection to no address, is a ValueError.
            reason = getattr(error, "reason", error)
            raise LinkError(f"{url}: {reason}; trying again later") from None
        if len(data) > limit:
            raise LinkError(f"{url}: more than {limit} bytes; not taken")
        if promised is not None and promised != str(len(data)):
            raise LinkError(f"{url}: {len(data)} of {promised} bytes came; trying again later")
        return data


class FolderFetcher:
    """A store that is mounted."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def fetch(self, path: str, *, limit: int) -> bytes | None:
        file = self._root / path
        if not file.is_file():
            if not self._root.is_dir():
                raise LinkError(f"{self._root}: no folder is there; trying again later")
            return None
        try:
            return read_bounded(file, limit=limit)
        except InputError as error:
            raise LinkError(str(error)) from None


def build_fetcher(url: str) -> Fetcher:
    """Make the fetcher that a URL asks for."""
    if _scheme(url) == "file":
        return FolderFetcher(Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)))
    return HttpFetcher(url)


def server_time(url: str, *, timeout_s: float = 5.0) -> float | None:
    """Ask an HTTP server what time it is, in seconds since 1970, to the second; None where nobody tells one."""
    if _scheme(url) not in {"http", "https"}:
        return None
    try:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310  # the scheme was checked above
        with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310  # likewise
            said = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        # A server that has nothing there still has a clock.
        said = error.headers.get("Date")
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise LinkError(f"{url}: {getattr(error, 'reason', error)}; trying again later") from None
    try:
        return None if said is None else email.utils.parsedate_to_datetime(said).timestamp()
    except ValueError:
        return None


def _scheme(url: str) -> str:
    try:
        return urllib.parse.urlsplit(url).scheme
    except ValueError as error:
        raise ConfigError(f'releases_url "{url}": {error}; expected http://, https:// or file://') from None
