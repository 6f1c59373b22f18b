"""IoU: by hand, with what is not supervised and what does not occur left out."""

import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from shared.errors import StateError
from trainer.learning.metrics import confusion, iou, miou


def test_iou_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    truth, guess = rng.integers(0, 5, size=(2, 40, 40)).astype(np.uint8)

    found = iou(confusion(truth, guess, classes=5))

    np.testing.assert_allclose(found, jaccard_score(truth.ravel(), guess.ravel(), average=None))


def test_pixels_of_255_count_for_nothing() -> None:
    truth = np.array([[0, 1, 255, 255]], dtype=np.uint8)

    counts = confusion(truth, np.array([[0, 1, 1, 0]], dtype=np.uint8), classes=2)

    assert counts.tolist() == [[1, 0], [0, 1]]


def test_a_class_neither_there_nor_predicted_stays_out_of_the_mean() -> None:
    counts = confusion(np.array([0, 0, 1], np.uint8), np.array([0, 0, 1], np.uint8), classes=3)

    assert np.isnan(iou(counts)[2])
    assert miou(counts) == 1.0


def test_a_class_predicted_where_it_never_is_counts_as_zero() -> None:
    counts = confusion(np.array([0, 0, 1], np.uint8), np.array([0, 2, 1], np.uint8), classes=3)

    assert iou(counts).tolist() == [0.5, 1.0, 0.0]
    assert miou(counts) == pytest.approx(0.5)


def test_nothing_supervised_has_no_miou() -> None:
    assert np.isnan(miou(confusion(np.full(4, 255, np.uint8), np.zeros(4, np.uint8), classes=2)))


def test_a_value_no_class_has_is_refused() -> None:
    with pytest.raises(StateError, match="value 7, the line has classes 0 to 2"):
        confusion(np.array([7], np.uint8), np.array([0], np.uint8), classes=3)
