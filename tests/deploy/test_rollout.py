"""Rollouts decided."""

import pytest

from deploy.fleet import NodeView
from deploy.rollout import Standing, failure, judge, next_document, nodes_meant, standing
from shared.errors import ReleaseError, StateError
from shared.geometry import PatchGrid
from shared.messages import LineReport, NodeState, Reported
from shared.release import FileEntry, Manifest, Rollout

WANTED, OTHER = "a" * 64, "b" * 64
ROLLOUT = Rollout(line="steel", rollout=3, release="steel-0002", number=2, manifest_sha256=WANTED)


def _manifest(number: int) -> Manifest:
    return Manifest(
        line="steel",
        release=f"steel-{number:04d}",
        number=number,
        created=0.0,
        classes=("background", "scratch"),
        geometry=PatchGrid(tile_px=160, patch_px=64, margin_px=16, cell_px=16),
        files={"task": FileEntry(name="task.onnx", sha256=WANTED, bytes=1)},
    )


def _view(*, online: bool = True, sha256: str | None, rollout: int, state: str = "idle", reason: str = "") -> NodeView:
    report = LineReport(line="steel", state=state, manifest_sha256=sha256, rollout=rollout, reason=reason)
    return NodeView(NodeState(boot="a", online=online), Reported(boot="a", at=0.0, lines=(report,)))


def test_numbers_only_go_up_also_for_a_rollback() -> None:
    first = next_document(None, _manifest(5), manifest_sha256=OTHER, nodes=(), now=1.0)
    back = next_document(first, _manifest(2), manifest_sha256=WANTED, nodes=("press-01",), now=2.0)

    assert (first.rollout, first.number, first.issued) == (1, 5, 1.0)
    assert (back.rollout, back.release, back.manifest_sha256, back.nodes) == (2, "steel-0002", WANTED, ("press-01",))


def test_no_document_goes_below_the_floor() -> None:
    floored = Rollout(line="steel", rollout=7, release="steel-0004", number=4, manifest_sha256=OTHER, min_release=3)

    with pytest.raises(ReleaseError, match="number 2 is below the floor 3"):
        next_document(floored, _manifest(2), manifest_sha256=WANTED, nodes=(), now=0.0)
    assert next_document(floored, _manifest(3), manifest_sha256=WANTED, nodes=(), now=0.0).min_release == 3


def test_named_nodes_are_meant_or_else_all_that_are_known() -> None:
    named = Rollout(line="steel", rollout=1, release="steel-0001", number=1, manifest_sha256=WANTED, nodes=("n2", "n1"))

    assert nodes_meant(named, ("n3",)) == ("n1", "n2")
    assert nodes_meant(ROLLOUT, ("n3",)) == ("n3",)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (NodeView(), Standing.OFFLINE),
        (NodeView(NodeState(boot="a", online=True)), Standing.WAITING),
        (_view(sha256=OTHER, rollout=2), Standing.WAITING),
        (_view(sha256=OTHER, rollout=3, state="trial"), Standing.BUSY),
        (_view(sha256=OTHER, rollout=3, state="failed"), Standing.REFUSED),
        (_view(sha256=OTHER, rollout=2, state="failed"), Standing.WAITING),
        (_view(sha256=OTHER, rollout=3), Standing.REFUSED),
        (_view(sha256=OTHER, rollout=4), Standing.REFUSED),
        (_view(sha256=OTHER, rollout=3, online=False), Standing.OFFLINE),
        (_view(sha256=WANTED, rollout=3, state="probation"), Standing.DONE),
        (_view(sha256=WANTED, rollout=2), Standing.WAITING),
    ],
)
def test_where_a_node_stands(view: NodeView, expected: Standing) -> None:
    assert standing(ROLLOUT, view) is expected


def test_success_means_that_every_node_runs_the_hash() -> None:
    views = {"n1": _view(sha256=WANTED, rollout=3), "n2": _view(sha256=WANTED, rollout=3)}

    progress = judge(ROLLOUT, ("n1", "n2"), views)

    assert (progress.done, progress.settled) == (("n1", "n2"), True)
    assert failure(ROLLOUT, progress, waited_s=9) is None


def test_a_silent_node_counts_as_failed() -> None:
    progress = judge(ROLLOUT, ("n1", "n2"), {"n1": _view(sha256=WANTED, rollout=3)})

    error = failure(ROLLOUT, progress, waited_s=9)

    assert isinstance(error, StateError)
    assert str(error) == "rollout 3 of line steel: 1 of 2 nodes run steel-0002; no word from n2 within 9 s"


def test_a_refusing_node_is_told_with_its_reason() -> None:
    views = {
        "n1": _view(sha256=OTHER, rollout=3, state="failed", reason="golden tiles differ"),
        "n2": _view(sha256=WANTED, rollout=3),
    }

    error = failure(ROLLOUT, judge(ROLLOUT, ("n1", "n2"), views), waited_s=9)

    assert isinstance(error, ReleaseError)
    assert "n1 keeps what it runs: golden tiles differ" in str(error)


def test_a_rollout_to_nobody_is_no_success() -> None:
    assert "no node of the line is known" in str(failure(ROLLOUT, judge(ROLLOUT, (), {}), waited_s=9))
