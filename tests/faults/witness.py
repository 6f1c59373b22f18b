"""The witness: what a spool said it accepted, written down outside of what is tested.

A candidate is accepted when ``Spool.accept`` has returned. The witness stands at that place and appends the ids to a
file, one write a group; the file outlives the process that is killed.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from edge_agent.courier.spool import Accepted, Item, Spool

#: Names the ledger of a courier that is started by somebody else.
LEDGER: Final = "WINNOW_FAULTS_LEDGER"


def watch_spool(ledger: Path) -> None:
    """Write down from here on what any spool of this process accepts."""
    handle = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    accept: Callable[[Spool, Sequence[Item]], Accepted] = Spool.accept

    def witnessed(spool: Spool, items: Sequence[Item]) -> Accepted:
        accepted = accept(spool, items)
        os.write(handle, "".join(f"{item.id}\n" for item in items).encode())
        return accepted

    Spool.accept = witnessed  # the witness stands in the way on purpose


class Ledger:
    """What the witness wrote, as a test reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._read = 0
        self.accepted: set[str] = set()

    def look(self) -> set[str]:
        """Read what was added, and return everything accepted so far."""
        with self.path.open("rb") as stream:
            stream.seek(self._read)
            added = stream.read()
        # A line that is not whole yet is read the next time.
        whole = added[: added.rfind(b"\n") + 1]
        self._read += len(whole)
        self.accepted.update(whole.decode("ascii").split())
        return self.accepted
