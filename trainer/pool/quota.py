"""What one node may bring: so many candidates and so many bytes an hour, saved up for some hours. Pure.

Every message counts, stored before or not and good or not, because each costs the centre the same work. A node that
was alone for a day brings a day's candidates at once, so the saving is what matters to an honest one.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from shared.codec import MAX_MESSAGE_BYTES
from shared.transport import IngestTable

#: Names of nodes come off the wire: no more of them are remembered, the longest silent is forgotten first.
MAX_NODES: Final = 10_000
_HOUR_S: Final = 3600.0


@dataclass(slots=True)
class _Account:
    count: float
    size_bytes: float
    at: float


class Quota:
    """The accounts of all nodes."""

    def __init__(self, table: IngestTable) -> None:
        self._table = table
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def spend(self, node: str, *, size_bytes: int, now: float) -> str | None:
        """Charge one message to a node; return what is spent when it is too much and nothing was charged."""
        table = self._table
        # Any message is let in some time, however little may be saved up.
        most_count = max(1.0, table.saved_h * table.candidates_per_h)
        most_bytes = max(float(MAX_MESSAGE_BYTES), table.saved_h * table.bytes_per_h)
        account = self._accounts.get(node)
        if account is None:
            account = self._accounts[node] = _Account(most_count, most_bytes, now)
            if len(self._accounts) > MAX_NODES:
                self._accounts.popitem(last=False)
        self._accounts.move_to_end(node)
        hours = max(0.0, now - account.at) / _HOUR_S
        account.at = now
        account.count = min(most_count, account.count + hours * table.candidates_per_h)
        account.size_bytes = min(most_bytes, account.size_bytes + hours * table.bytes_per_h)
        if account.count < 1.0:
            return f"{table.candidates_per_h} candidates an hour"
        if account.size_bytes < size_bytes:
            return f"{table.bytes_per_h} bytes an hour"
        account.count -= 1.0
        account.size_bytes -= size_bytes
        return None
