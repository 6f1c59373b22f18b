"""Candidates for a spool, and what is in it."""

from typing import Final

from edge_agent.courier.spool import Item, Spool

CAP: Final = 1_000_000


def item(name: str, *, value: float = 1.0, size: int = 1000) -> Item:
    return Item(id=name, line="strip", value=value, payload=name.encode().ljust(size, b"."))


def ids(spool: Spool) -> list[str]:
    return [candidate for _, candidate in spool.ids_after("strip", 0, limit=10_000)]
