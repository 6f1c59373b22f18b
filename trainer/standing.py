"""Where one line stands at the centre: what the pool holds, what is labelled, and what is newest."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from shared.release import MANIFEST_NAME, release_path
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pool, RoundRow
from trainer.rounds.machine import first_round


@dataclass(frozen=True, slots=True)
class Standing:
    """One line's numbers; before its first round, the stage that is due. ``run`` and ``release`` are the newest ones, None before the first."""

    line: str
    pool: dict[str, int]
    counters: dict[str, int]
    labels: dict[str, int]
    round: int
    stage: str
    run: str | None
    release: str | None
    #: How well the nodes' scores rank as the trainer's do, at the newest selection that could tell.
    rank_correlation: float | None
    #: What the gate said of the newest run: "passed", "held back" or "overridden"; None before the first.
    gate: str | None

    def facts(self) -> dict[str, object]:
        """Return everything under its name."""
        return asdict(self)


def standing(pool: Pool, line: str, paths: TrainerPaths) -> Standing:
    """Read where a line stands."""
    rows = pool.rounds(line)
    row = rows[-1] if rows else None
    due = first_round()
    return Standing(
        line=line,
        pool=pool.counts(line),
        counters=pool.counters(line),
        labels=pool.label_counts(line),
        round=due.number if row is None else row.number,
        stage=str(due.stage) if row is None else row.stage,
        run=newest_run(pool, line),
        release=newest_release(paths, line),
        rank_correlation=_newest(rows, "rank_correlation"),
        gate=_verdict(rows),
    )


def _newest(rows: Sequence[RoundRow], name: str) -> float | None:
    known = [value for row in rows if isinstance(value := row.detail.get(name), float)]
    return known[-1] if known else None


def _verdict(rows: Sequence[RoundRow]) -> str | None:
    judged = [row.detail for row in rows if row.detail.get("passed") is not None]
    if not judged:
        return None
    return "passed" if judged[-1]["passed"] else "overridden" if judged[-1].get("override") else "held back"


def newest_run(pool: Pool, line: str) -> str | None:
    """Name the newest run that a line's rounds completed."""
    row = pool.round(line)
    run = None if row is None else row.detail.get("run")
    return run if isinstance(run, str) else None


def newest_release(paths: TrainerPaths, line: str) -> str | None:
    """Name a line's newest release; a folder without a manifest is none."""
    shelf = (paths.public / release_path(line, "any")).parent.parent
    names = [file.parent.name for file in shelf.glob(f"{line}-*/{MANIFEST_NAME}")]
    # Numbers have four digits or more: the longer name is the newer one.
    return max(names, key=lambda name: (len(name), name), default=None)
