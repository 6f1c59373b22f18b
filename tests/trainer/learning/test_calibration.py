"""Calibration: the error by hand, streamed or not; the temperature by a second search."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.calibration import calibration_curve

from shared.config import LearningTable
from shared.errors import StateError
from trainer.learning.calibration import (
    COLDEST,
    HOTTEST,
    Calibration,
    Reliability,
    best_temperature,
    cross_fitted,
    negative_log_likelihood,
)
from trainer.learning.evaluate import calibrate, reliability
from trainer.learning.model import build_model


def softmax(logits: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    powers = np.exp(logits - logits.max(axis=axis, keepdims=True))
    shares: NDArray[np.float64] = powers / powers.sum(axis=axis, keepdims=True)
    return shares


def pixels(seed: int = 1) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    rng = np.random.default_rng(seed)
    probabilities = softmax(2 * rng.normal(size=(6, 4, 20, 20)), axis=1)
    truth = rng.integers(0, 4, size=(6, 20, 20)).astype(np.uint8)
    truth[:, :3] = 255
    return probabilities, truth


def drawn(temperature: float, *, n: int = 20_000) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Draw classes from softmax(logits / temperature)."""
    rng = np.random.default_rng(5)
    logits = 3 * rng.normal(size=(n, 3))
    shares = softmax(logits / temperature, axis=1).cumsum(axis=1)
    return logits, (rng.random(n)[:, None] > shares).sum(axis=1).clip(0, 2).astype(np.uint8)


def test_the_error_is_that_of_a_loop_over_bins() -> None:
    probabilities, truth = pixels()

    found = Reliability.of(probabilities, truth, bins=10).ece

    flat, wanted = np.moveaxis(probabilities, 1, -1).reshape(-1, 4), truth.ravel()
    flat, wanted = flat[wanted != 255], wanted[wanted != 255]
    sure, hit = flat.max(axis=1), flat.argmax(axis=1) == wanted
    expected = 0.0
    for low in range(10):
        inside = (sure >= low / 10) & (sure < (low + 1) / 10)
        if inside.any():
            expected += inside.mean() * abs(hit[inside].mean() - sure[inside].mean())
    assert found == pytest.approx(expected, rel=1e-9)


def test_the_bins_are_those_of_scikit_learn() -> None:
    probabilities, truth = pixels()
    sure, hit = probabilities.max(axis=1)[truth != 255], (probabilities.argmax(axis=1) == truth)[truth != 255]

    found = Reliability.of(probabilities, truth, bins=8)

    right, confidence = calibration_curve(hit, sure, n_bins=8)
    held = found.counts > 0
    np.testing.assert_allclose(found.right[held] / found.counts[held], right)
    np.testing.assert_allclose(found.confidence[held] / found.counts[held], confidence)


def test_images_may_come_a_few_at_a_time() -> None:
    probabilities, truth = pixels()

    streamed = sum(
        (Reliability.of(probabilities[i : i + 2], truth[i : i + 2]) for i in range(0, 6, 2)), Reliability.none()
    )

    whole = Reliability.of(probabilities, truth)
    assert streamed.counts.tolist() == whole.counts.tolist()
    assert streamed.ece == pytest.approx(whole.ece)


def test_certain_and_right_is_without_error_and_certain_and_wrong_is_all_error() -> None:
    sure = np.zeros((1, 2, 2, 2))
    sure[:, 1] = 1.0

    assert Reliability.of(sure, np.ones((1, 2, 2), np.uint8)).ece == 0.0
    assert Reliability.of(sure, np.zeros((1, 2, 2), np.uint8)).ece == 1.0


def test_nothing_supervised_has_no_error() -> None:
    probabilities, truth = pixels()

    assert math.isnan(Reliability.of(probabilities, np.full_like(truth, 255)).ece)


def test_probabilities_that_are_no_numbers_are_refused() -> None:
    probabilities, truth = pixels()
    probabilities[0, 0, 10, 10] = np.nan

    with pytest.raises(StateError, match="1 probabilities are no numbers"):
        Reliability.of(probabilities, truth)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_that_classes_were_drawn_with_is_found(temperature: float) -> None:
    logits, truth = drawn(temperature)

    found = best_temperature(logits, truth)

    second = minimize_scalar(
        lambda logarithm: negative_log_likelihood(logits, truth, temperature=math.exp(logarithm)),
        bounds=(math.log(COLDEST), math.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-8},
    )
    assert found == pytest.approx(math.exp(second.x), rel=1e-4)
    assert found == pytest.approx(temperature, rel=0.05)


def test_the_likelihood_is_that_of_the_softmax() -> None:
    logits, truth = drawn(1.0, n=50)

    expected = -np.log(softmax(logits / 1.7, axis=1)[np.arange(50), truth]).mean()

    assert negative_log_likelihood(logits, truth, temperature=1.7) == pytest.approx(expected)


def test_a_temperature_mends_what_is_too_sure() -> None:
    logits, truth = drawn(3.0)
    shaped = truth.reshape(1, 100, 200)

    def error(temperature: float) -> float:
        shares = softmax(logits / temperature, axis=1).T.reshape(1, 3, 100, 200)
        return Reliability.of(shares, shaped).ece

    assert error(best_temperature(logits, truth)) < 0.02
    assert error(1.0) > 0.15


def test_a_model_that_is_always_right_or_knows_nothing_gets_the_limit() -> None:
    logits = np.array([[5.0, 0.0], [0.0, 5.0]])

    assert best_temperature(logits, np.array([0, 1], np.uint8)) == COLDEST
    assert best_temperature(logits, np.array([1, 0], np.uint8)) == HOTTEST


@pytest.mark.parametrize("logits", [np.zeros((0, 3)), np.full((1, 3), np.nan)], ids=["none", "nan"])
def test_no_pixel_and_no_number_are_refused(logits: NDArray[np.float64]) -> None:
    with pytest.raises(StateError, match="calibration: "):
        best_temperature(logits, np.zeros(len(logits), np.uint8))


def test_a_calibrated_model_is_less_wrong_and_predicts_the_same() -> None:
    """Noise labels: a model with large weights is far too sure of them."""
    settings = LearningTable(architecture="compact", encoder="compact-8-8")
    model = build_model(settings, classes=3, channels=1, seed=2).eval()
    rng = np.random.default_rng(1)
    crops = rng.integers(0, 256, size=(5, 32, 32, 1)).astype(np.uint8)
    masks = rng.integers(0, 3, size=(5, 32, 32)).astype(np.uint8)
    masks[:, :4] = 255
    model.temperature = 0.1
    before = reliability(model, crops, masks, minibatch=2)

    found = calibrate(model, crops, masks, minibatch=2, most=2_000, rng=np.random.default_rng(0))
    after = reliability(model, crops, masks)

    assert model.temperature == found.temperature
    assert after.counts.sum() == before.counts.sum() == int((masks != 255).sum())
    assert after.right.sum() == before.right.sum()
    assert after.ece < before.ece / 2


@pytest.mark.parametrize("labelled", [0, 1])
def test_a_model_with_too_few_labels_to_calibrate_on_has_a_temperature_of_one(labelled: int) -> None:
    model = build_model(LearningTable(architecture="compact", encoder="compact-8-8"), classes=3, channels=1, seed=2)
    masks = np.full((2, 32, 32), 255, np.uint8)
    masks[:labelled] = 1

    found = calibrate(model, np.zeros((2, 32, 32, 1), np.uint8), masks, rng=np.random.default_rng(0))

    assert (model.temperature, found.temperature) == (1.0, 1.0)
    assert found.why == f"{labelled} reference patches with labels, a temperature needs 2; it stays 1"
    assert (found.ece is None) == (labelled == 0)


def test_the_error_is_told_of_pixels_that_no_temperature_was_fitted_on() -> None:
    logits, truth = drawn(3.0, n=3_000)
    folds = np.repeat(np.arange(3), 1_000)

    found = cross_fitted(logits, truth, folds)

    total = Reliability.none()
    for fold in range(3):
        inside = folds == fold
        shares = softmax(logits[inside] / best_temperature(logits[~inside], truth[~inside]), axis=1)
        total += Reliability.of(shares[:, :, None, None], truth[inside][:, None, None])
    assert found.temperature == best_temperature(logits, truth)
    assert found.ece == pytest.approx(total.ece)
    assert found.ece_before == pytest.approx(
        Reliability.of(softmax(logits, axis=1)[:, :, None, None], truth[:, None, None]).ece
    )
    assert found.ece is not None
    assert found.ece_before is not None
    assert found.ece < found.ece_before / 3


def test_a_temperature_that_serves_only_what_it_was_fitted_on_is_not_taken() -> None:
    """One fold is sure and right, the other sure and wrong: each fits what harms the other."""
    logits = np.tile([4.0, 0.0], (200, 1))
    truth = np.repeat(np.array([0, 1], np.uint8), 100)

    found = cross_fitted(logits, truth, np.repeat([0, 1], 100))

    assert found.temperature == 1.0
    assert found.ece == found.ece_before
    assert found.why is not None


def test_patches_of_one_neighbourhood_are_in_one_fold() -> None:
    """Ten patches in pairs that are alike: a fold that split a pair would be fitted on what it judges."""
    seen: list[tuple[int, ...]] = []
    model = build_model(LearningTable(architecture="compact", encoder="compact-8-8"), classes=2, channels=1, seed=2)
    crops = np.repeat(np.arange(10, dtype=np.uint8), 32 * 32).reshape(10, 32, 32, 1)
    masks = np.broadcast_to(np.arange(10, dtype=np.uint8)[:, None, None] // 2 % 2, (10, 32, 32)).copy()

    def noted(logits: object, truth: object, folds: NDArray[np.intp]) -> Calibration:
        seen.extend(tuple(np.unique(part)) for part in folds.reshape(10, -1))
        return cross_fitted(logits, truth, folds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("trainer.learning.evaluate.cross_fitted", noted)
        calibrate(model, crops, masks, rng=np.random.default_rng(0))

    assert seen == [(fold,) for fold in (0, 0, 1, 1, 2, 2, 3, 3, 4, 4)]
