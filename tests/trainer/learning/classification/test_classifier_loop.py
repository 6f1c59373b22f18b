"""Training a classifier: it learns, repeats itself, and refuses what it cannot learn from."""

from itertools import chain
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from shared.errors import ConfigError, InputError
from tests.trainer.learning.classification.pictures import accuracy, quadrants, quiet, small
from trainer.learning.classification.loop import ClassifierReport, rate, train_classifier
from trainer.learning.classification.nets import Classifier
from trainer.learning.classification.settings import ClassifierTable

SHORT = ClassifierTable(network="dense-16", epochs=2, minibatch=8)


def fit(
    model: Classifier,
    images: NDArray[np.uint8],
    labels: NDArray[np.uint8],
    settings: ClassifierTable = SHORT,
    *,
    seed: int = 1,
    **more: Any,
) -> ClassifierReport:
    return train_classifier(model, images, labels, settings, seed=seed, **({"step": quiet} | more))


def weights(model: Classifier) -> list[torch.Tensor]:
    return [value.clone() for value in model.state_dict().values()]


def same(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(("network", "epochs", "right"), [("dense-16", 20, 0.9), ("resnet18", 3, 0.6)])
def test_a_short_training_tells_images_it_has_not_seen(network: str, epochs: int, right: float) -> None:
    """Four classes: by chance a quarter is right."""
    images, labels = quadrants(80, 1)
    unseen = quadrants(200, 2)
    model = small(network)

    report = fit(model, images, labels, ClassifierTable(network=network, epochs=epochs, minibatch=8))

    assert accuracy(model, *unseen) > right
    assert len(report.losses) == epochs
    assert report.losses[-1] < report.losses[0] / 2


@pytest.mark.parametrize("network", ["dense-16", "resnet18"])
def test_the_same_seed_gives_the_same_weights(network: str) -> None:
    images, labels = quadrants(24, 1)
    settings = ClassifierTable(network=network, epochs=2, minibatch=8, mirror=True, shift_px=1)
    found = []

    for seed in (1, 1, 2):
        model = small(network)
        fit(model, images, labels, settings, seed=seed)
        # What torch has drawn in between must not matter.
        torch.rand(17)
        found.append(weights(model))

    assert same(found[0], found[1])
    assert not same(found[0], found[2])


def test_one_step_is_that_of_adam() -> None:
    """The first step of Adam moves every weight by the learning rate against the sign of its gradient."""
    images, labels = quadrants(8, 1)
    model, plain = small(), small()
    loss = torch.nn.functional.cross_entropy(
        plain(torch.from_numpy(images).permute(0, 3, 1, 2)), torch.from_numpy(labels).long()
    )
    loss.backward()

    report = fit(model, images, labels, ClassifierTable(network="dense-16", epochs=1, minibatch=8, learning_rate=1e-3))

    assert report.losses == (pytest.approx(float(loss.detach()), rel=1e-5),)
    for moved, start in zip(model.parameters(), plain.parameters(), strict=True):
        assert start.grad is not None
        # Adam's epsilon holds back weights whose gradient is next to nothing.
        clear = start.grad.abs() > 1e-4
        torch.testing.assert_close(
            (moved - start).detach()[clear], -1e-3 * start.grad.sign()[clear], rtol=1e-3, atol=1e-7
        )


def test_every_image_is_shown_once_an_epoch_in_minibatches_of_about_one_size() -> None:
    images, labels = quadrants(33, 1, classes=2, side=2)
    images[:, 0, 0, 0] = np.arange(33)
    model = small(side=2)
    shown: list[list[int]] = []
    model.register_forward_pre_hook(lambda _module, args: shown.append(args[0][:, 0, 0, 0].tolist()))

    fit(model, images, labels, ClassifierTable(network="dense-16", epochs=2, minibatch=16))

    assert [len(part) for part in shown] == [11] * 6
    assert sorted(chain(*shown[:3])) == sorted(chain(*shown[3:])) == list(range(33))
    assert shown[:3] != shown[3:]


def test_no_minibatch_is_left_with_one_image() -> None:
    """Batch normalisation has no spread over one; 33 images by 16 would leave it."""
    images, labels = quadrants(33, 1, side=8)

    report = fit(small("resnet18"), images, labels, ClassifierTable(network="resnet18", epochs=1, minibatch=16))

    assert report.finished


def test_a_stop_is_heard_and_said() -> None:
    images, labels = quadrants(8, 1)
    told: list[tuple[int, int]] = []

    report = fit(
        small(),
        images,
        labels,
        ClassifierTable(network="dense-16", epochs=9),
        step=lambda done, total: told.append((done, total)),
        stop=lambda: len(told) >= 2,
    )

    assert not report.finished
    assert told == [(1, 9), (2, 9)]


def test_a_diverging_training_ends_with_the_setting_to_change() -> None:
    images, labels = quadrants(8, 1)
    model = small()
    with torch.no_grad():
        model.last.bias.fill_(float("nan"))

    with pytest.raises(ConfigError, match=r"the loss is nan after 1 epochs; lower learning_rate 0\.001"):
        fit(model, images, labels)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda x, y: (x[:0], y[:0]), "0 images and 0 labels; label images first"),
        (lambda x, y: (x, y[:3]), "8 images and 3 labels"),
        (lambda x, y: (x, np.full_like(y, 2)), "all 8 labels are class 2; label images of at least 2 classes first"),
        (
            lambda x, y: (x, np.where(np.arange(8) == 5, 4, y).astype(np.uint8)),
            "label 5 is class 4; the set has classes 0 to 3",
        ),
        (lambda x, y: (x[:, :4], y), r"images of \(4, 8, 1\) uint8, the network takes \(8, 8, 1\) uint8; set size_px"),
        (lambda x, y: (x.astype(np.float32), y), "float32, the network takes"),
    ],
    ids=["nothing", "unequal", "one-class", "out-of-range", "size", "floats"],
)
def test_what_cannot_be_learned_from_is_refused_and_the_model_left_alone(change: Any, said: str) -> None:
    images, labels = quadrants(8, 1)
    model = small()
    before = weights(model)

    with pytest.raises(InputError, match=said):
        fit(model, *change(images, labels))

    assert same(weights(model), before)


def test_the_learning_rate_falls_to_a_tenth_at_each_milestone() -> None:
    settings = ClassifierTable(epochs=10, milestones=(0.5, 0.8))

    rates = [rate(epoch, settings) for epoch in range(10)]

    assert rates == pytest.approx([1.0] * 5 + [0.1] * 3 + [0.01] * 2)
    assert rate(9, ClassifierTable(epochs=10)) == 1.0


def test_the_thread_count_of_the_process_is_given_back() -> None:
    before = torch.get_num_threads()
    images, labels = quadrants(8, 1)

    fit(small(), images, labels, ClassifierTable(network="dense-16", epochs=1, threads=1 if before > 1 else 2))

    assert torch.get_num_threads() == before
