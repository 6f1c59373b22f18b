from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_agent.stream.filter import StreamFilter, Verdict
from shared.config import BudgetTable, FilterTable, SelectionTable
from shared.release import SpaceEntry

D = 16
SPACE = SpaceEntry(id="a" * 64, dim=D, tau=0.2)
OTHER_SPACE = SpaceEntry(id="b" * 64, dim=D, tau=0.2)
RICH = BudgetTable(patches_per_hour=1e6, burst=1000, floor_share=0.0)
Rows = NDArray[np.float32]


def unit_rows(rng: np.random.Generator, n: int) -> Rows:
    rows = rng.normal(size=(n, D))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def new_filter(budget: BudgetTable = RICH, settings: FilterTable | None = None, *, seed: int = 0) -> StreamFilter:
    return StreamFilter(budget, settings or FilterTable(), SelectionTable(), rng=np.random.default_rng(seed))


def warm_filter(budget: BudgetTable = RICH, settings: FilterTable | None = None, *, seed: int = 0) -> StreamFilter:
    stream_filter = new_filter(budget, settings, seed=seed)
    stream_filter.swap(scored=False, space=SPACE)
    return stream_filter


def offer(
    stream_filter: StreamFilter, rows: Rows, *, now: float = 0.0, scores: NDArray[np.float64] | None = None
) -> list[Verdict]:
    screening = stream_filter.screen(now, len(rows), scores)
    return stream_filter.judge(now, screening, rows[screening.wanted])


def test_of_twins_in_one_frame_one_is_sent() -> None:
    row = unit_rows(np.random.default_rng(0), 1)

    verdicts = offer(warm_filter(), np.repeat(row, 3, axis=0))

    assert sorted(verdict.reason for verdict in verdicts) == ["known", "known", "novel"]


def test_what_was_sent_is_known_in_the_next_frame() -> None:
    rows = unit_rows(np.random.default_rng(1), 4)
    stream_filter = warm_filter()
    first = offer(stream_filter, rows)

    again = offer(stream_filter, rows, now=1.0)

    assert {verdict.reason for verdict in first} == {"novel"}
    assert {verdict.reason for verdict in again} == {"known"}


def test_a_second_patch_is_judged_against_the_first_of_its_frame() -> None:
    """Novelty within a frame equals novelty against a memory that holds what was accepted before."""
    rng = np.random.default_rng(2)
    near = unit_rows(rng, 1)
    rows = np.concatenate([near, near + 0.3 * unit_rows(rng, 1)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    likeness = np.exp((float(rows[0] @ rows[1]) - 1.0) / SPACE.tau)
    expected = 1.0 - likeness**2 / (1.0 + FilterTable().noise)

    verdicts = offer(warm_filter(), rows)

    assert verdicts[0].novelty == pytest.approx(1.0)
    assert verdicts[1].novelty == pytest.approx(expected, rel=1e-4)


def test_the_higher_score_is_accepted_when_one_may_go() -> None:
    rows = unit_rows(np.random.default_rng(3), 4)
    stream_filter = new_filter(
        BudgetTable(patches_per_hour=1e-6, burst=1, floor_share=0.0), FilterTable(gate_share=1.0)
    )
    stream_filter.swap(scored=True, space=SPACE)

    verdicts = offer(stream_filter, rows, scores=np.array([0.1, 0.2, 0.9, 0.3]))

    assert [verdict.accepted for verdict in verdicts] == [False, False, True, False]
    assert verdicts[2].gain == pytest.approx(0.901 ** (2 * 0.4 / 0.6))


def test_only_what_passes_the_gate_is_embedded() -> None:
    stream_filter = new_filter(settings=FilterTable(gate_share=0.1))
    stream_filter.swap(scored=True, space=SPACE)
    rng = np.random.default_rng(4)
    wanted = 0

    for frame in range(500):
        screening = stream_filter.screen(frame * 0.1, 16, rng.random(16))
        wanted += len(screening.wanted)
        verdicts = stream_filter.judge(frame * 0.1, screening, unit_rows(rng, len(screening.wanted)))
        dull = [at for at, verdict in enumerate(verdicts) if verdict.reason == "dull"]
        assert sorted([*dull, *screening.wanted.tolist()]) == list(range(16))

    assert wanted == pytest.approx(0.1 * 16 * 500, rel=0.15)


def test_what_is_unclear_is_not_sent_as_novel_but_the_floor_goes_on() -> None:
    budget = BudgetTable(patches_per_hour=36_000.0, burst=100, floor_share=0.3)
    stream_filter = warm_filter(budget)
    rng = np.random.default_rng(20)
    unclear = np.array([True, False] * 8)
    reasons: Counter[tuple[bool, str]] = Counter()

    for frame in range(200):
        screening = stream_filter.screen(frame * 0.1, 16, None, unclear)
        verdicts = stream_filter.judge(frame * 0.1, screening, unit_rows(rng, len(screening.wanted)))
        reasons.update((bool(hidden), v.reason) for hidden, v in zip(unclear, verdicts, strict=True))

    assert {reason for hidden, reason in reasons if hidden} == {"floor", "unclear"}
    assert {reason for hidden, reason in reasons if not hidden} >= {"floor", "novel"}
    # A sample of what the camera sees, clearly or not.
    assert reasons[True, "floor"] == pytest.approx(reasons[False, "floor"], rel=0.5)


def test_what_is_unclear_does_not_move_the_level_of_the_gate() -> None:
    """Blurred frames score high; the frames after them pass the gate as before."""
    passes = []
    for blurred in (False, True):
        stream_filter = new_filter(settings=FilterTable(gate_share=0.1))
        stream_filter.swap(scored=True, space=SPACE)
        rng = np.random.default_rng(21)
        for frame in range(100):
            stream_filter.screen(frame * 0.1, 16, rng.random(16) * 0.5)
            if blurred:
                stream_filter.screen(frame * 0.1, 16, np.full(16, 0.9), np.ones(16, dtype=np.bool_))
        screening = stream_filter.screen(11.0, 1000, np.linspace(0.0, 0.5, 1000))
        passes.append(int(screening.passed.sum()))

    assert passes[1] == pytest.approx(passes[0], abs=20)
    assert passes[0] > 50


def test_cold_sends_the_whole_budget_at_random_and_nothing_else() -> None:
    stream_filter = new_filter(BudgetTable(patches_per_hour=3600.0, burst=10, floor_share=0.05))
    verdicts: Counter[tuple[str, float | None]] = Counter()

    for frame in range(6000):
        screening = stream_filter.screen(frame * 0.1, 16, None)
        assert len(screening.wanted) == 0
        verdicts.update((v.reason, v.gain) for v in stream_filter.judge(frame * 0.1, screening, None))

    assert set(verdicts) == {("floor", None), ("budget", None)}
    assert verdicts["floor", None] == pytest.approx(600, rel=0.1)


@pytest.mark.parametrize("patches_per_hour", [360.0, 7200.0])
def test_an_hour_of_news_sends_an_hours_budget(patches_per_hour: float) -> None:
    """A stream that is always novel meets the budget from below, floor included."""
    stream_filter = warm_filter(
        BudgetTable(patches_per_hour=patches_per_hour, burst=50, floor_share=0.1), FilterTable(memory=64)
    )
    rng = np.random.default_rng(5)
    reasons: Counter[str] = Counter()

    for frame in range(3600):
        reasons.update(v.reason for v in offer(stream_filter, unit_rows(rng, 4), now=frame * 1.0))

    sent = reasons["novel"] + reasons["floor"]
    assert 0.9 * patches_per_hour <= sent <= patches_per_hour + 50
    assert reasons["floor"] == pytest.approx(0.1 * patches_per_hour, rel=0.4)


def test_a_standing_line_sends_its_picture_once() -> None:
    stream_filter = warm_filter()
    rows = unit_rows(np.random.default_rng(6), 16)

    sent = [sum(v.accepted for v in offer(stream_filter, rows, now=frame * 1.0)) for frame in range(200)]

    assert sent[0] == 16
    assert sum(sent[1:]) == 0


def test_a_rare_thing_gets_through_a_dull_stream() -> None:
    rng = np.random.default_rng(7)
    stream_filter = warm_filter(BudgetTable(patches_per_hour=200.0, burst=50, floor_share=0.05))
    usual, rare = unit_rows(rng, 2)

    def frame(*, with_rare: bool) -> Rows:
        rows = usual + 0.02 * rng.normal(size=(16, D)).astype(np.float32)
        rows[3] = rare if with_rare else rows[3]
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    for number in range(600):
        offer(stream_filter, frame(with_rare=False), now=number * 0.1)
    verdict = offer(stream_filter, frame(with_rare=True), now=60.0)[3]

    assert verdict.reason == "novel"


def test_a_byte_budget_holds_the_filter_back() -> None:
    budget = BudgetTable(patches_per_hour=3600.0, burst=50, floor_share=0.1, bytes_per_hour=3.6e6)
    rng = np.random.default_rng(8)
    for warm in (True, False):
        stream_filter = warm_filter(budget) if warm else new_filter(budget)
        sent_bytes = 0

        for frame in range(3000):
            rows = unit_rows(rng, 4)
            screening = stream_filter.screen(frame * 0.2, 4, None)
            for verdict in stream_filter.judge(frame * 0.2, screening, rows[screening.wanted] if warm else None):
                if verdict.accepted:
                    stream_filter.charge(verdict, 2000)
                    sent_bytes += 2000

        # 600 s at 1000 bytes a second, the burst of 50 of them, and one patch of debt in each share.
        assert 520_000 <= sent_bytes <= 654_000


def remembered(stream_filter: StreamFilter) -> int:
    return 0 if stream_filter._memory is None else len(stream_filter._memory)


def test_a_new_space_forgets_and_the_same_space_remembers() -> None:
    rows = unit_rows(np.random.default_rng(9), 5)
    stream_filter = warm_filter()
    offer(stream_filter, rows)

    stream_filter.swap(scored=True, space=SPACE)
    kept = remembered(stream_filter)
    stream_filter.swap(scored=True, space=OTHER_SPACE)

    assert (kept, remembered(stream_filter)) == (5, 0)


def test_what_is_labelled_is_known_from_the_first_frame() -> None:
    rows = unit_rows(np.random.default_rng(10), 5)
    stream_filter = new_filter()
    stream_filter.swap(scored=False, space=SPACE, labelled=rows[:3])

    reasons = [verdict.reason for verdict in offer(stream_filter, rows)]

    assert reasons == ["known", "known", "known", "novel", "novel"]


def test_what_was_labelled_elsewhere_is_known_when_the_next_release_brings_it() -> None:
    rows = unit_rows(np.random.default_rng(30), 6)
    stream_filter = warm_filter()
    offer(stream_filter, rows[:2])

    stream_filter.swap(scored=False, space=SPACE, labelled=rows[1:5])
    reasons = [verdict.reason for verdict in offer(stream_filter, rows, now=1.0)]

    assert reasons == ["known"] * 5 + ["novel"]
    # What was known already is not remembered twice.
    assert remembered(stream_filter) == 6


def test_a_start_remembers_what_an_earlier_one_sent() -> None:
    rows = unit_rows(np.random.default_rng(31), 8)
    before = warm_filter()
    offer(before, rows[:5])

    after = new_filter()
    after.recall(before.remember(), 3.0)
    after.swap(scored=False, space=SPACE, labelled=rows[4:6])

    assert [verdict.reason for verdict in offer(after, rows)] == ["known"] * 6 + ["novel"] * 2


def test_a_start_in_another_space_remembers_nothing() -> None:
    rows = unit_rows(np.random.default_rng(32), 5)
    before = warm_filter()
    offer(before, rows)

    after = new_filter()
    after.recall(before.remember(), 3.0)
    after.swap(scored=False, space=OTHER_SPACE)

    assert {verdict.reason for verdict in offer(after, rows)} == {"novel"}


def test_a_start_before_its_release_keeps_what_it_was_given() -> None:
    before = warm_filter()
    offer(before, unit_rows(np.random.default_rng(33), 5))
    kept = before.remember()

    cold = new_filter()
    cold.recall(kept, 0.0)
    again = cold.remember()

    assert again.space == SPACE.id
    assert again.rows is not None
    assert kept.rows is not None
    np.testing.assert_array_equal(again.rows, kept.rows)


def test_starting_again_and_again_mints_no_budget() -> None:
    """Twenty starts within a minute send what one would have sent in it."""
    budget = BudgetTable(patches_per_hour=360.0, burst=10, floor_share=0.2, bytes_per_hour=3.6e6)
    rng = np.random.default_rng(34)
    sent = sent_bytes = 0
    kept = None

    for start in range(20):
        stream_filter = warm_filter(budget, seed=start)
        if kept is not None:
            stream_filter.recall(kept, 1.0)
        for frame in range(4):
            for verdict in offer(stream_filter, unit_rows(rng, 8), now=frame * 0.5):
                if verdict.accepted:
                    stream_filter.charge(verdict, 10_000)
                    sent += 1
                    sent_bytes += 10_000
        kept = stream_filter.remember()

    # 20 starts of 1.5 s and as many pauses of 1 s.
    assert sent <= 10 + 50.0 * 0.1 + 1
    assert sent_bytes <= 100_000 + 50.0 * 1000.0 + 2 * 10_000


def test_without_a_space_the_score_alone_decides() -> None:
    stream_filter = new_filter(settings=FilterTable(gate_share=0.5))
    stream_filter.swap(scored=True, space=None)
    screening = stream_filter.screen(0.0, 4, np.array([0.1, 0.2, 0.3, 0.4]))

    verdicts = stream_filter.judge(0.0, screening, None)

    assert [verdict.reason for verdict in verdicts] == ["dull", "dull", "novel", "novel"]
    assert {verdict.novelty for verdict in verdicts} == {None}


def test_the_memory_stays_within_the_lines_bound() -> None:
    rng = np.random.default_rng(11)
    stream_filter = warm_filter(settings=FilterTable(memory=20))

    for frame in range(30):
        offer(stream_filter, unit_rows(rng, 8), now=frame * 1.0)
        assert remembered(stream_filter) <= 20


def test_same_seed_same_verdicts() -> None:
    rows = unit_rows(np.random.default_rng(12), 400)
    budget = BudgetTable(patches_per_hour=3600.0, burst=10, floor_share=0.2)

    def verdicts(seed: int) -> list[Verdict]:
        stream_filter = warm_filter(budget, seed=seed)
        cuts = pairwise(range(0, 401, 8))
        return [v for start, stop in cuts for v in offer(stream_filter, rows[start:stop], now=start * 0.1)]

    assert verdicts(1) == verdicts(1)
    assert verdicts(1) != verdicts(2)


@pytest.mark.parametrize(("floor_share", "reason"), [(0.0, "floor"), (1.0, "novel")])
def test_a_share_of_nothing_sends_nothing(floor_share: float, reason: str) -> None:
    stream_filter = warm_filter(BudgetTable(patches_per_hour=36_000.0, burst=100, floor_share=floor_share))
    rng = np.random.default_rng(13)

    reasons = {v.reason for frame in range(50) for v in offer(stream_filter, unit_rows(rng, 8), now=frame * 0.1)}

    assert reason not in reasons
    assert {"floor", "novel"} & reasons
