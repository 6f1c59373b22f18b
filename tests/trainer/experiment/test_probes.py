"""The probes: inverse, most incorrect, expert, and a pool that is half one image."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import chisquare

from tests.trainer.experiment.repeated_pools import play, repeated_pool
from trainer.experiment.probes import Inverse, incorrectness
from trainer.selection.numbers import Floats, Ints
from trainer.selection.problem import Problem, SelectionError
from trainer.selection.strategies.random import Random
from trainer.selection.strategies.ranking import Top

IMAGES = 30
START = np.array([3], dtype=np.intp)


def scored(scores: list[float]) -> Problem:
    rows = np.eye(len(scores), dtype=np.float32)
    return Problem(rows, np.array(scores), rows[:0], tau=0.3)


def repeated_problem(image_of: Ints) -> Problem:
    """Give copies of an image one embedding."""
    rows = np.random.default_rng(0).normal(size=(IMAGES, 8))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return Problem(rows[image_of], None, rows[:0], tau=0.3)


def learner(image_of: Ints, hardness: Floats) -> Callable[[Ints], Floats]:
    """Stand for a model that is sure of the images it has learned."""

    def scores(labelled: Ints) -> Floats:
        return np.where(np.isin(image_of, image_of[labelled]), 0.0, hardness[image_of])

    return scores


def test_inverse_is_the_ranking_from_its_other_end() -> None:
    scores = np.random.default_rng(1).permutation(np.linspace(0.0, 1.0, 12))
    problem = scored(scores.tolist())

    found = Inverse().choose(problem, 5, np.random.default_rng(0)).indices
    whole = Top().choose(problem, 12, np.random.default_rng(0)).indices

    assert found.tolist() == np.argsort(scores)[:5].tolist()
    assert found.tolist() == whole[::-1][:5].tolist()


def test_inverse_takes_equal_scores_by_lot() -> None:
    rng = np.random.default_rng(2)
    problem = scored([0.9, 0.2, 0.2, 0.2])

    drawn = np.bincount([Inverse().choose(problem, 1, rng).indices[0] for _ in range(3_000)], minlength=4)

    assert drawn[0] == 0
    assert chisquare(drawn[1:]).pvalue > 1e-4


def test_inverse_refuses_what_top_refuses() -> None:
    with pytest.raises(SelectionError, match="5 patches asked for, the pool holds 2"):
        Inverse().choose(scored([0.1, 0.2]), 5, np.random.default_rng(0))
    with pytest.raises(SelectionError, match="different ones were expected"):
        Inverse().choose(scored([0.5, 0.5]), 1, np.random.default_rng(0))


def test_incorrectness_is_one_minus_the_mean_of_the_classes_iou() -> None:
    rng = np.random.default_rng(3)
    truths = rng.choice(np.array([0, 1, 2, 255], dtype=np.uint8), (6, 4, 4))
    guesses = rng.integers(0, 3, (6, 4, 4), dtype=np.uint8)
    guesses[5] = np.where(truths[5] == 255, 0, truths[5])

    found = incorrectness(zip(truths, guesses, strict=True), classes=3)

    for truth, guess, score in zip(truths, guesses, found, strict=True):
        known = truth != 255
        shares = []
        for value in range(3):
            inside = {place for place in np.ndindex(4, 4) if known[place] and truth[place] == value}
            said = {place for place in np.ndindex(4, 4) if known[place] and guess[place] == value}
            if inside | said:
                shares.append(len(inside & said) / len(inside | said))
        assert score == pytest.approx(1.0 - np.mean(shares))
    assert found[5] == 0.0


def test_a_unit_without_truth_is_not_called_wrong() -> None:
    nothing = np.full((3, 3), 255, dtype=np.uint8)

    found = incorrectness([(nothing, np.zeros((3, 3), dtype=np.uint8))], classes=2)

    assert found.tolist() == [0.0]


def test_half_the_pool_is_one_image() -> None:
    pool = repeated_pool(IMAGES, repeated=7)

    assert len(pool.image_of) == 2 * IMAGES
    assert pool.copies(np.arange(2 * IMAGES)) == IMAGES + 1
    assert np.bincount(pool.image_of).tolist() == [IMAGES + 1 if image == 7 else 1 for image in range(IMAGES)]


def test_rounds_that_pick_a_copy_again_are_named() -> None:
    pool = repeated_pool(4, repeated=1)
    none, one, two = np.array([0, 2]), np.array([1, 3]), np.array([4, 5])

    assert pool.picked_again([none, one, none]) == ()
    assert pool.picked_again([none, two, none, one]) == (3,)
    assert pool.picked_again([one, two, two]) == (1, 2)
    assert [pool.wasted(batches) for batches in ([none], [one], [none, two, one])] == [0, 0, 2]


def test_entropy_does_not_pick_the_repeated_image_again_and_others_do() -> None:
    pool = repeated_pool(IMAGES, repeated=7)
    problem = repeated_problem(pool.image_of)
    # Every image is a little easier than the next, the repeated one the hardest: it is picked first.
    hardness = np.linspace(0.2, 0.8, IMAGES)
    hardness[7] = 1.0
    model = learner(pool.image_of, hardness)

    batches = {
        strategy.name: play(strategy, problem, model, start=START, k=1, rounds=12, rng=np.random.default_rng(4))
        for strategy in (Top(), Random(), Inverse())
    }

    assert pool.picked_again(batches["top"]) == ()
    assert sum(map(pool.copies, batches["top"])) == 1
    # A strategy that does not learn is caught.
    assert pool.picked_again(batches["random"])
    assert pool.wasted(batches["random"]) > 0


def test_a_ranking_fills_one_batch_with_copies_and_then_has_learned() -> None:
    pool = repeated_pool(IMAGES, repeated=7)
    hardness = np.linspace(0.2, 0.8, IMAGES)
    hardness[7] = 1.0

    batches = play(
        Top(),
        repeated_problem(pool.image_of),
        learner(pool.image_of, hardness),
        start=START,
        k=5,
        rounds=4,
        rng=np.random.default_rng(5),
    )

    assert [pool.copies(batch) for batch in batches] == [0, 5, 0, 0, 0]
    assert pool.wasted(batches) == 4
    assert pool.picked_again(batches) == ()


def test_a_played_batch_never_holds_what_is_labelled() -> None:
    pool = repeated_pool(IMAGES, repeated=7)
    asked: list[int] = []

    def model(labelled: Ints) -> Floats:
        asked.append(len(labelled))
        return np.linspace(0.0, 1.0, 2 * IMAGES)

    batches = play(
        Top(), repeated_problem(pool.image_of), model, start=START, k=9, rounds=5, rng=np.random.default_rng(6)
    )

    units = np.concatenate(batches)
    assert len(set(units.tolist())) == len(units) == 1 + 5 * 9
    assert asked == [1, 10, 19, 28, 37]
    assert batches[1].tolist() == list(range(59, 50, -1))
