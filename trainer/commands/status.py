"""``winnow trainer status``: where each line of a site stands."""

from shared.console import Console
from shared.errors import StateError
from trainer.commands.options import AsJson, SiteToml

_NUMBERS = (
    "pool",
    "handed",
    "labelled",
    "train",
    "reference",
    "seed",
    "received",
    "again",
    "dropped",
    "refused",
    "deferred",
)


def status(site: SiteToml, *, as_json: AsJson = False) -> None:
    """Say what the pool holds, what is labelled, where the rounds stand, and what is newest."""
    from trainer.paths import load  # the database only when asked
    from trainer.pool.pool import Pool
    from trainer.standing import standing

    _, lines, paths = load(site)
    if not paths.pool.exists():
        raise StateError(f'{paths.directory}: no pool is there yet; "winnow trainer serve" makes it')
    with Pool.open(paths.directory) as pool, pool.read():
        found = [standing(pool, line, paths) for line in lines]
    console = Console(as_json=as_json)
    if as_json:
        for one in found:
            console.event("status", "", **one.facts())
        return
    columns = []
    for one in found:
        numbers = {**one.counters, **one.labels, **one.pool}
        agreement = None if one.rank_correlation is None else f"{one.rank_correlation:.2f}"
        columns.append(
            [*(numbers[name] for name in _NUMBERS), one.round, one.stage, one.run, one.gate, one.release, agreement]
        )
    # A line is a column: a terminal is too narrow for this many numbers beside each other.
    names = [*_NUMBERS, "round", "stage", "run", "gate", "release", "nodes' scores agree"]
    rows = zip(names, *columns, strict=True)
    console.table(f"trainer {paths.directory}", ["", *(one.line for one in found)], list(rows))
