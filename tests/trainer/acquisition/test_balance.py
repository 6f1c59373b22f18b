"""Class balance: rare classes weigh more."""

from math import exp

import numpy as np
import pytest

from shared.errors import ConfigError
from trainer.acquisition.balance import balanced, balanced_weights

SEEN = np.array([0, 0, 0, 0, 0, 0, 0, 2, 2, 1])


def test_weights_fall_with_a_class_s_share_of_the_pool() -> None:
    found = balanced_weights(SEEN, classes=4)

    np.testing.assert_allclose(found, [exp(-0.7), exp(-0.1), exp(-0.2), 1.0])


def test_a_rare_class_overtakes_a_slightly_less_sure_frequent_one() -> None:
    scores = np.full(10, 0.5)
    scores[0] = 0.6

    found = balanced(scores, SEEN, classes=4)

    assert found.argmax() == 9
    np.testing.assert_allclose(
        found, [score * exp(-np.mean(own == SEEN)) for score, own in zip(scores, SEEN, strict=True)]
    )


def test_an_empty_pool_weighs_every_class_alike() -> None:
    assert balanced_weights(np.zeros(0, dtype=np.intp), classes=3).tolist() == [1.0, 1.0, 1.0]


def test_a_class_beyond_the_class_map_is_refused() -> None:
    with pytest.raises(ConfigError, match="predicted class 2: expected 0 to 1"):
        balanced_weights(SEEN, classes=2)
