"""The benchmark's rivals: each keeps the budget and does what its name says, or the comparison means nothing."""

import numpy as np
import pytest

from benchmarks.stream.rivals import FixedCosine, FrameDifference, Seen, Terms, Threshold, contenders, uncertainty
from shared.config import BudgetTable

D = 16
TERMS = Terms(BudgetTable(patches_per_hour=720.0, burst=10), frames_per_s=1.0, tau=0.2)


def stream(seed: int, frames: int = 150, patches: int = 16) -> list[Seen]:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(frames):
        rows = rng.normal(size=(patches, D))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        pictures = rng.normal(size=(patches, 4, 4)).astype(np.float32)
        found.append(Seen(rng.random(patches), rows.astype(np.float32), pictures))
    return found


def test_every_contender_keeps_the_budget_and_uses_it() -> None:
    allowed = 10 + 720.0 * 150 / 3600.0

    sent = {}
    for contender in contenders(TERMS, stream(1), seed=0):
        sent[contender.name] = sum(int(contender.offer(float(n), seen).sum()) for n, seen in enumerate(stream(2)))

    assert set(sent) == {"winnow", "winnow, open gate", "random", "uncertainty", "frame difference", "fixed cosine"}
    assert all(0.4 * allowed <= count <= allowed for count in sent.values()), sent


def test_the_threshold_takes_the_highest_scores_first() -> None:
    rival = Threshold("uncertainty", Terms(BudgetTable(patches_per_hour=1.0, burst=2), 1.0, 0.2), uncertainty, 0.5)
    seen = stream(3, frames=1)[0]

    sent = rival.offer(0.0, Seen(np.linspace(0.0, 1.0, 16), seen.embeddings, seen.pictures))

    assert np.flatnonzero(sent).tolist() == [14, 15]


def test_the_frame_difference_is_the_mean_change_of_a_patch() -> None:
    measure = FrameDifference()
    first, second = stream(4, frames=2)

    before, after = measure(first), measure(second)

    assert before.tolist() == [0.0] * 16
    np.testing.assert_allclose(after[3], np.abs(second.pictures[3] - first.pictures[3]).mean(), rtol=1e-6)


@pytest.mark.parametrize(("most_alike", "expected"), [(0.9, [True, False, True]), (0.1, [True, False, False])])
def test_the_fixed_cosine_sends_what_is_unlike_all_that_was_sent(most_alike: float, expected: list[bool]) -> None:
    rival = FixedCosine(None, 2, most_alike)
    rows = np.array([[1.0, 0.0], [1.0, 0.01], [0.6, 0.8]], dtype=np.float32)

    sent = rival.offer(0.0, Seen(np.zeros(3), rows, np.zeros((3, 4, 4), dtype=np.float32)))

    assert sent.tolist() == expected
