"""The ids of a part, a lot or a recipe that ride along with a frame: a few short words, bounded wherever they come in."""

import re
from collections.abc import Mapping
from typing import Final

MOST_IDS: Final = 8
LONGEST_ID: Final = 120
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")


def faults_of_ids(ids: Mapping[str, str]) -> list[str]:
    """Say what is wrong with ids: too many, a name that is none, a value that is empty, too long or not printable."""
    faults = [] if len(ids) <= MOST_IDS else [f"{len(ids)} ids, at most {MOST_IDS} ride along"]
    for name, value in list(ids.items())[:MOST_IDS]:
        if not _NAME.fullmatch(name):
            faults.append(f'"{name[:40]}" is no name for an id; use 1 to 40 of a-z 0-9 _, beginning with a letter')
        if not 0 < len(value) <= LONGEST_ID or not value.isprintable():
            faults.append(f'id {name[:40]} is "{value[:40]!s}"; expected 1 to {LONGEST_ID} printable characters')
    return faults
