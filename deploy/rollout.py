"""Rollouts decided: which number, which nodes, who is done, who refused, who is silent. Pure.

A document's number only goes up. A rollback is a newer document that points at an older release, and never
below the floor.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from deploy.fleet import NodeView
from shared.errors import ReleaseError, StateError
from shared.messages import LineReport
from shared.release import Manifest, Rollout

#: The states of a node's activation that nothing but another rollout leads out of, as a line report names them.
_AT_REST: Final = frozenset({"idle", "failed"})


class Standing(Enum):
    """Where one node is with one rollout document."""

    DONE = "done"
    BUSY = "busy"
    REFUSED = "refused"
    WAITING = "waiting"
    OFFLINE = "offline"


@dataclass(frozen=True, slots=True)
class Progress:
    """Where every node that is meant stands, and the reason that a refusing one gave."""

    standings: dict[str, Standing]
    reasons: dict[str, str]

    @property
    def done(self) -> tuple[str, ...]:
        return self._in(Standing.DONE)

    @property
    def refused(self) -> tuple[str, ...]:
        return self._in(Standing.REFUSED)

    @property
    def silent(self) -> tuple[str, ...]:
        """Who has neither taken the release nor said why not: a silent node counts as failed."""
        return self._in(Standing.BUSY, Standing.WAITING, Standing.OFFLINE)

    @property
    def settled(self) -> bool:
        """Say whether every node has answered."""
        return not self.silent

    def _in(self, *wanted: Standing) -> tuple[str, ...]:
        return tuple(sorted(node for node, standing in self.standings.items() if standing in wanted))


def next_document(
    previous: Rollout | None, manifest: Manifest, *, manifest_sha256: str, nodes: tuple[str, ...], now: float
) -> Rollout:
    """Make the document that follows `previous` and asks for the manifest's release."""
    floor = 0 if previous is None else previous.min_release
    if manifest.number < floor:
        raise ReleaseError(
            f"release {manifest.release}: number {manifest.number} is below the floor {floor} of line {manifest.line}; "
            "nothing is rolled out"
        )
    return Rollout(
        line=manifest.line,
        rollout=1 if previous is None else previous.rollout + 1,
        release=manifest.release,
        number=manifest.number,
        manifest_sha256=manifest_sha256,
        min_release=floor,
        nodes=nodes,
        issued=now,
    )


def nodes_meant(rollout: Rollout, known: tuple[str, ...]) -> tuple[str, ...]:
    """Name the nodes that a rollout counts on: those it names, or else every known one of the line."""
    return tuple(sorted(rollout.nodes)) or known


def standing(rollout: Rollout, view: NodeView) -> Standing:
    """Say where one node is with a rollout."""
    report = view.line(rollout.line)
    answered = report is not None and report.rollout >= rollout.rollout
    if report is not None and answered and report.manifest_sha256 == rollout.manifest_sha256:
        return Standing.DONE
    if not view.online:
        return Standing.OFFLINE
    if report is None or not answered:
        return Standing.WAITING
    return Standing.REFUSED if _at_rest(report) else Standing.BUSY


def judge(rollout: Rollout, nodes: tuple[str, ...], views: Mapping[str, NodeView]) -> Progress:
    """Say where every node that is meant stands."""
    standings = {node: standing(rollout, views.get(node, NodeView())) for node in nodes}
    reports = {node: views[node].line(rollout.line) for node in nodes if node in views}
    return Progress(
        standings=standings,
        reasons={
            node: report.reason or "no reason given"
            for node, report in reports.items()
            if report is not None and standings[node] is Standing.REFUSED
        },
    )


def failure(rollout: Rollout, progress: Progress, *, waited_s: float) -> StateError | ReleaseError | None:
    """Return the error that ends a watched rollout, None when every node took the release."""
    what = f"rollout {rollout.rollout} of line {rollout.line}"
    if not progress.standings:
        return StateError(
            f"{what}: no node of the line is known; the document stands, and nodes take {rollout.release} when they come"
        )
    problems = [f"{node} keeps what it runs: {progress.reasons[node]}" for node in progress.refused]
    if progress.silent:
        problems.append(f"no word from {', '.join(progress.silent)} within {waited_s:g} s")
    if not problems:
        return None
    kind = ReleaseError if progress.refused else StateError
    return kind(
        f"{what}: {len(progress.done)} of {len(progress.standings)} nodes run {rollout.release}; {'; '.join(problems)}"
    )


def _at_rest(report: LineReport) -> bool:
    return report.state in _AT_REST
