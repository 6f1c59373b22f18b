"""Names and ids.

A name (site, line, node, camera, worker) is lower-case, short and safe in a topic, a path and a file
name. A candidate's id is made once, at acceptance, and carries the hash of what it names.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Self

from shared.errors import ConfigError, WireError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?")
_CANDIDATE = re.compile(
    r"(?P<node>[a-z0-9](?:[a-z0-9_-]{0,38}[a-z0-9])?)-(?P<boot>[0-9a-f]{8})-(?P<seq>0|[1-9][0-9]{0,11})-(?P<digest>[0-9a-f]{16})"
)


def is_name(text: str) -> bool:
    """Say whether ``text`` may name a site, line, node, camera or worker."""
    return _NAME.fullmatch(text) is not None


def check_name(text: str, *, what: str) -> str:
    """Return ``text`` if it may be a name, refuse it otherwise."""
    if not is_name(text):
        raise ConfigError(
            f'{what}: "{text[:60]}" is not a name; use 1 to 40 of a-z 0-9 _ -, beginning and ending with a letter or digit'
        )
    return text


def new_boot_id() -> str:
    """Make an id for one start of a node, so that a late will cannot mark a later start dead."""
    return secrets.token_hex(4)


def sha256_hex(data: bytes) -> str:
    """Hash bytes the way manifests and ids do."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class CandidateId:
    """``<node>-<boot>-<seq>-<sha256[:16] of the crop>``: redelivery is recognised, forgery of a node's name is not possible."""

    node: str
    boot: str
    seq: int
    digest: str

    @classmethod
    def make(cls, *, node: str, boot: str, seq: int, crop: bytes) -> Self:
        """Name one accepted candidate."""
        return cls(node=node, boot=boot, seq=seq, digest=sha256_hex(crop)[:16])

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an id from the wire."""
        match = _CANDIDATE.fullmatch(text)
        if match is None:
            raise WireError(
                f'candidate id "{text[:80]}": expected <node>-<boot>-<seq>-<sha256[:16]>; the candidate is refused'
            )
        return cls(node=match["node"], boot=match["boot"], seq=int(match["seq"]), digest=match["digest"])

    def __str__(self) -> str:
        return f"{self.node}-{self.boot}-{self.seq}-{self.digest}"
