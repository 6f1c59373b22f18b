"""The three arms on a line that held its rounds."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shared.clock import ManualClock
from shared.console import Console
from shared.errors import InputError
from trainer.experiment.arms import Arms
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pool
from trainer.rounds.workbench import Workbench

pytestmark = pytest.mark.slow


@contextmanager
def opened(site: Any) -> Iterator[Workbench]:
    with Pool.open(site.directory) as pool:
        yield Workbench(
            pool, site.line, TrainerPaths(site.directory), ManualClock(), Console(as_json=True), threading.Event()
        )


def told_rounds(site: Any) -> list[bytes]:
    """What the demo would write for each round that is done."""
    done = [event for event in site.events if event["event"] == "round_done"]
    return [json.dumps({**event, "seen": {"press-01/top": 5 * (event["round"] + 1)}}).encode() for event in done]


def arm_events(capsys: pytest.CaptureFixture[str]) -> dict[tuple[int, str], dict[str, Any]]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {(event["round"], event["arm"]): event for event in lines if event["event"] == "arm"}


def test_each_round_is_answered_for_three_arms_with_as_many_labels(
    finished_site: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site = finished_site.copy_to(tmp_path)
    rounds = told_rounds(finished_site)

    with opened(site) as bench:
        Arms(bench).answer(rounds)
    told = arm_events(capsys)
    with opened(site) as bench:
        # Started again after a death, it is asked for the last round only.
        Arms(bench).answer(rounds[1:])
    again = arm_events(capsys)

    assert set(told) == {(number, arm) for number in (0, 1) for arm in ("winnow", "random_stream", "random_pool")}
    assert {key: event["labels"] for key, event in told.items()} == {key: (11, 25)[key[0]] for key in told}
    assert all(0 < event["miou"] < 1 for event in told.values())
    assert all(set(event["per_class"]) == {"background", "scratch", "inclusion"} for event in told.values())
    assert again == {key: event for key, event in told.items() if key[0] == 1}


def test_the_rival_of_the_pool_draws_from_what_had_come_when_the_batch_was_chosen(
    finished_site: Any, tmp_path: Path
) -> None:
    site = finished_site.copy_to(tmp_path)
    with opened(site) as bench:
        then = Arms(bench)._pool_at(1)
    # Far in the future: after every batch of this site was chosen.
    late = site.send(range(10, 12), received_at=1e10)

    with opened(site) as bench:
        now = Arms(bench)._pool_at(1)
        stored = set(bench.pool.ids("steel", state=None))

    assert set(late) <= stored
    assert now == then
    assert len(then) == 160


def test_a_line_of_input_that_is_no_round_is_refused_by_name(finished_site: Any, tmp_path: Path) -> None:
    site = finished_site.copy_to(tmp_path)

    with opened(site) as bench, pytest.raises(InputError, match=r"standard input: .*expected \{\"round\""):
        Arms(bench).answer([b'{"round": "first"}'])

    assert not (site.directory / "arms").exists()
