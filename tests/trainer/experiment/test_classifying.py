"""A classification set as a study sees it: units are images, the value is accuracy."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from numpy.typing import NDArray

from shared.errors import ConfigError, InputError, StateError
from shared.ways import Measure
from tests.trainer.experiment.studies import write_recipe
from tests.trainer.learning.classification.pictures import quadrants, quiet
from trainer.experiment.albums import Albums
from trainer.experiment.classification_ground import classification_ground
from trainer.experiment.classifying import ClassifierLearner, check_asked
from trainer.experiment.cutting import UnitTable
from trainer.experiment.datasets.arrays import ArraySource, load_arrays
from trainer.experiment.datasets.dataset import DataSet, Request
from trainer.experiment.datasets.open import open_dataset
from trainer.experiment.draws import random_start
from trainer.experiment.grounds import lay_ground
from trainer.experiment.learner import Ground, Labelled, Stopped
from trainer.experiment.opinions import of_dropout
from trainer.experiment.recipe import SpaceSource, StudyAcquisition, StudyLearning, load_recipe
from trainer.learning.classification.measures import MEASURES, uncertainty
from trainer.learning.classification.predicting import logits_of
from trainer.learning.classification.settings import ClassifierTable

NAMES = ("north-west", "north-east", "south-west", "south-east")


@pytest.fixture(scope="module")
def tiny() -> DataSet:
    """Eighty images to learn from less the tenth held out, and forty to be measured on."""
    images, labels = quadrants(120, 1)
    source = ArraySource(Path("tiny"), images, labels)
    return load_arrays(source, Request(name="tiny", seed=3), classes=NAMES, train=80)


@pytest.fixture(scope="module")
def albums(tiny: DataSet) -> Albums:
    return Albums.read(tiny, ("train", "test"), step=quiet)


def learner(
    albums: Albums, measure: Measure = "entropy", *, asked: StudyAcquisition | None = None, **settings: Any
) -> ClassifierLearner:
    table = ClassifierTable(**{"network": "dense-16", "epochs": 15, "minibatch": 8} | settings)
    return ClassifierLearner(albums, table, asked or StudyAcquisition(measure=measure))


def ground(data: DataSet, *, acquisition: StudyAcquisition | None = None, source: Any = "untrained") -> Ground:
    return classification_ground(
        data,
        measured="test",
        classifier=lambda arm: ClassifierTable(
            network="dense-32" if arm == "wide" else "dense-16", epochs=15, minibatch=8
        ),
        acquisition=lambda _arm: acquisition or StudyAcquisition(),
        space=lambda _arm: SpaceSource(encoder="compact-4-8", steps=4, minibatch=8, source=source),
        step=quiet,
    )


def test_a_unit_is_the_image_of_that_place_in_the_training_split(tiny: DataSet, albums: Albums) -> None:
    laid = ground(tiny)

    assert laid.count == len(tiny.splits["train"]) == 72
    assert laid.pixels([0, 5, 71]) == 3 * 64
    assert albums.train.images.dtype == np.uint8
    for unit in (0, 31, 71):
        key = tiny.splits["train"][unit]
        np.testing.assert_array_equal(albums.train.images[unit], tiny.image(key))
        assert albums.train.labels[unit] == tiny.label(key)


def test_what_is_learned_beats_chance_by_far(albums: Albums) -> None:
    fitted = learner(albums).fit(Labelled(tuple(range(40)), 0), seed=1, step=quiet)

    measured = fitted.measure("test", step=quiet)

    assert measured.value > 0.9
    assert len(measured.per_class) == 4


def test_accuracy_is_the_share_of_images_told_right(albums: Albums) -> None:
    fitted = learner(albums, epochs=1).fit(Labelled(tuple(range(40)), 0), seed=1, step=quiet)
    part = albums.parts["test"]
    pixels = torch.from_numpy(part.images).permute(0, 3, 1, 2)
    told = fitted.model(pixels).argmax(dim=1).numpy()

    measured = fitted.measure("test", step=quiet)

    assert measured.value == pytest.approx(np.mean(told == part.labels))
    right = [np.mean(told[part.labels == label] == label) for label in range(4)]
    assert measured.per_class == pytest.approx(right)


def test_a_class_that_does_not_occur_has_no_accuracy(albums: Albums) -> None:
    five = Albums(albums.parts, classes=5)

    measured = learner(five).fit(Labelled(tuple(range(40)), 0), seed=1, step=quiet).measure("test", step=quiet)

    assert measured.per_class[4] is None
    assert all(value is not None for value in measured.per_class[:4])


def test_the_same_units_and_seed_give_the_same_model(albums: Albums) -> None:
    known = Labelled((3, 9, 40, 41, 42, 55), 2)
    units = list(range(72))

    first, again, other = (
        learner(albums).fit(known, seed=seed, step=quiet).scores(units, step=quiet) for seed in (1, 1, 2)
    )

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("measure", MEASURES)
def test_scores_come_in_the_order_asked_and_follow_the_measure(albums: Albums, measure: Measure) -> None:
    fitted = learner(albums, measure, epochs=2).fit(Labelled(tuple(range(20)), 0), seed=1, step=quiet)
    units = [60, 3, 3, 41]

    scores = fitted.scores(units, step=quiet)

    with torch.inference_mode():
        logits = fitted.model(torch.from_numpy(albums.train.images[units]).permute(0, 3, 1, 2))
    np.testing.assert_allclose(scores, uncertainty(logits, measure), atol=1e-6)
    assert scores[1] == scores[2]
    assert ((scores >= 0) & (scores <= 1)).all()


def by_hand(members: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mutual information in numpy, for probabilities (members, n, classes), as a share of log 4."""

    def entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
        return -(p * np.log(np.maximum(p, 1e-300))).sum(axis=-1)

    return (entropy(members.mean(axis=0)) - entropy(members).mean(axis=0)) / np.log(4)


def test_an_ensemble_of_classifiers_disagrees_by_its_members_and_is_measured_by_their_mean(albums: Albums) -> None:
    asked = StudyAcquisition(measure="bald", committee="ensemble", members=3)
    fitted = learner(albums, asked=asked, epochs=2).fit(Labelled(tuple(range(20)), 0), seed=1, step=quiet)
    pixels = torch.from_numpy(albums.train.images).permute(0, 3, 1, 2)

    scores = fitted.scores(range(72), step=quiet)

    with torch.inference_mode():
        told = np.stack([torch.softmax(model(pixels).double(), dim=1).numpy() for model in fitted.models])
    assert len(told) == 3
    np.testing.assert_allclose(scores, by_hand(told), atol=1e-5)
    assert np.ptp(told, axis=0).max() > 0.01
    part = albums.parts["test"]
    with torch.inference_mode():
        seen = torch.from_numpy(part.images).permute(0, 3, 1, 2)
        mean = np.mean([torch.softmax(model(seen), dim=1).numpy() for model in fitted.models], axis=0)
    assert fitted.measure("test", step=quiet).value == pytest.approx((mean.argmax(axis=1) == part.labels).mean())


def test_a_committee_of_dropout_is_drawn_from_its_seed(albums: Albums) -> None:
    asked = StudyAcquisition(measure="bald", committee="mc-dropout", members=5)
    how = learner(albums, asked=asked, epochs=2, dropout=0.5)
    fitted = how.fit(Labelled(tuple(range(20)), 0), seed=1, step=quiet)

    scores = fitted.scores(range(72), step=quiet)
    torch.rand(7)
    again = fitted.scores(range(72), step=quiet)

    members = of_dropout(fitted.model, 5, albums.train.images, np.arange(72), seed=1, threads_used=1, step=quiet)
    np.testing.assert_array_equal(scores, again)
    np.testing.assert_allclose(scores, by_hand(np.stack([each.double().numpy() for each in members])), atol=1e-5)
    assert scores.max() > 0.01


def test_what_dropout_leaves_is_right_on_average(albums: Albums) -> None:
    """The last layer is linear: over many members its logits are those of all features, up to a constant each."""
    fitted = learner(albums, epochs=2, dropout=0.3).fit(Labelled(tuple(range(20)), 0), seed=1, step=quiet)
    images, few = albums.train.images, np.arange(6)

    members = of_dropout(fitted.model, 4000, images, few, seed=3, threads_used=1, step=quiet)

    logits = np.stack([np.log(each.double().numpy()) for each in members])
    differences = (logits[..., 1:] - logits[..., :1]).mean(axis=0)
    whole = logits_of(fitted.model, images, few, threads_used=1, step=quiet).double().numpy()
    np.testing.assert_allclose(differences, whole[:, 1:] - whole[:, :1], atol=0.12)


def test_mistakes_are_the_images_told_wrong(albums: Albums) -> None:
    fitted = learner(albums, epochs=1).fit(Labelled(tuple(range(8)), 0), seed=1, step=quiet)

    wrong = fitted.mistakes(range(72), step=quiet)

    with torch.inference_mode():
        told = fitted.model(torch.from_numpy(albums.train.images).permute(0, 3, 1, 2)).argmax(dim=1).numpy()
    assert wrong.tolist() == [float(mine != truth) for mine, truth in zip(told, albums.train.labels, strict=True)]
    assert 0 < wrong.sum() < 72


def test_a_fit_looks_at_no_label_but_those_it_was_given(albums: Albums) -> None:
    known = tuple(range(20))
    blind = albums.train.labels.copy()
    blind[20:] = 0
    hidden = Albums({**albums.parts, "train": type(albums.train)(albums.train.images, blind)}, classes=4)

    seen, unseen = (
        learner(each).fit(Labelled(known, 0), seed=1, step=quiet).scores(range(72), step=quiet)
        for each in (albums, hidden)
    )

    np.testing.assert_array_equal(seen, unseen)


def test_a_stopped_training_is_no_model(albums: Albums) -> None:
    with pytest.raises(Stopped):
        learner(albums).fit(Labelled(tuple(range(20)), 0), seed=1, step=quiet, stop=lambda: True)


def test_labels_of_one_class_are_refused(albums: Albums) -> None:
    alike = tuple(np.flatnonzero(albums.train.labels == 1).tolist())

    with pytest.raises(InputError, match="labels are class 1; label images of at least 2 classes first"):
        learner(albums).fit(Labelled(alike, 0), seed=1, step=quiet)


def test_no_label_at_all_is_refused(albums: Albums) -> None:
    with pytest.raises(InputError, match="0 images and 0 labels"):
        learner(albums).fit(Labelled((), 0), seed=1, step=quiet)


def test_a_unit_that_cuts_images_of_one_class_is_refused(tiny: DataSet, tmp_path: Path) -> None:
    recipe = replace(load_recipe(write_recipe(tmp_path)), learning=StudyLearning())

    with pytest.raises(ConfigError, match="unit: tiny has one class an image"):
        lay_ground(recipe, tiny, step=quiet)


def test_settings_of_a_model_that_a_study_does_not_have_are_refused(tiny: DataSet, tmp_path: Path) -> None:
    recipe = replace(load_recipe(write_recipe(tmp_path)), unit=UnitTable())

    with pytest.raises(ConfigError, match="learning: tiny is a set for classification, which has no such model"):
        lay_ground(recipe, tiny, step=quiet)


@pytest.mark.parametrize("unit", [-1, 72])
def test_a_unit_that_is_not_there_is_refused(albums: Albums, unit: int) -> None:
    fitted = learner(albums, epochs=1).fit(Labelled(tuple(range(20)), 0), seed=1, step=quiet)

    with pytest.raises(StateError, match=f"unit {unit}: the training split has 0 to 71"):
        fitted.scores([0, unit], step=quiet)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_that_is_not_measured_is_refused(albums: Albums, split: Any) -> None:
    fitted = learner(albums, epochs=1).fit(Labelled(tuple(range(20)), 0), seed=1, step=quiet)

    with pytest.raises(StateError, match=f"measure: split {split} is not measured"):
        fitted.measure(split, step=quiet)


@pytest.mark.parametrize("source", ["pixels", "untrained", "task", "simclr"])
def test_an_embedding_has_length_one_and_does_not_depend_on_its_company(tiny: DataSet, source: str) -> None:
    embedder = ground(tiny, source=source).embedder("random")
    start = tuple(range(20))

    every = embedder.embed(range(72), start=start, seed=5, step=quiet)
    some = embedder.embed([70, 2], start=start, seed=5, step=quiet)

    assert every.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(every, axis=1), 1.0, atol=1e-5)
    np.testing.assert_array_equal(some, every[[70, 2]])


def test_the_task_s_embeddings_bring_a_class_together(tiny: DataSet, albums: Albums) -> None:
    start = random_start(5, count=72, first=20)

    rows = ground(tiny, source="task").embedder("random").embed(range(72), start=start, seed=5, step=quiet)

    cosines = rows @ rows.T
    alike = albums.train.labels[:, None] == albums.train.labels[None]
    assert cosines[alike].mean() > cosines[~alike].mean() + 0.5


def test_the_task_s_embeddings_come_from_the_start_set(tiny: DataSet) -> None:
    """No label outside the start set may reach them."""
    start = random_start(5, count=72, first=20)
    laid = ground(tiny, source="task")
    expected = laid.embedder("random").embed(range(72), start=start, seed=5, step=quiet)
    learned: Any = laid.learner("random")

    learned.albums.train.labels[[unit for unit in range(72) if unit not in start]] = 0

    rows = laid.embedder("random").embed(range(72), start=start, seed=5, step=quiet)
    np.testing.assert_array_equal(rows, expected)


def test_an_arm_has_its_own_network(tiny: DataSet) -> None:
    laid = ground(tiny)

    plain, wide = (laid.learner(arm).fit(Labelled(tuple(range(20)), 0), seed=1, step=quiet) for arm in ("a", "wide"))

    dims = [fitted.model.dim for fitted in (plain, wide)]
    assert dims == [16, 32]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (
            StudyAcquisition(measure="bald", committee="heads"),
            'committee "heads" of a classifier, which has one; known are ensemble and mc-dropout',
        ),
        (
            StudyAcquisition(measure="bald", committee="mc-dropout"),
            "every member would say the same; set classifier.dropout",
        ),
        (StudyAcquisition(measure="odin", epsilon=0.1), r"acquisition\.epsilon is 0\.1"),
        (
            StudyAcquisition(measure="class-variance", committee="ensemble", class_weights=(0.0, 1.0)),
            r"acquisition\.class_weights: 2 numbers for 4 classes",
        ),
    ],
)
def test_what_a_classifier_cannot_be_asked_is_refused(table: StudyAcquisition, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_asked(table, ClassifierTable(network="dense-16"), classes=4)


def test_images_of_several_sizes_are_refused_with_the_key_to_set() -> None:
    class Two(ArraySource):
        def size(self, item: int) -> tuple[int, int]:
            return 8, 8 + item % 2

    images, labels = quadrants(120, 1)
    uneven = load_arrays(Two(Path("tiny"), images, labels), Request(name="tiny", seed=3), classes=NAMES, train=80)

    with pytest.raises(ConfigError, match=r"data set tiny: 2 sizes of images; set data\.size_px"):
        Albums.read(uneven, ("train", "test"), step=quiet)


def test_more_than_memory_may_hold_is_refused_before_an_image_is_read(
    tiny: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trainer.experiment.albums.MOST_BYTES", 112 * 64 - 1)
    told: list[int] = []

    with pytest.raises(ConfigError, match="112 images of 8 x 8 take"):
        Albums.read(tiny, ("train", "test"), step=lambda done, _total: told.append(done))

    assert told == []


@pytest.mark.data
def test_500_images_of_fashion_mnist_beat_chance_by_far(data: Path, tmp_path: Path) -> None:
    if not any((data / found).exists() for found in ("fashion_mnist", "fashion_mnist.tar.xz")):
        pytest.skip(f"{data} has no fashion_mnist")
    real = open_dataset(data, Request(name="fashion_mnist", seed=0), work=tmp_path)
    images = Albums.read(real, ("train", "test"), step=quiet)
    start = Labelled(random_start(1, count=54_000, first=500), 0)

    fitted = ClassifierLearner(images, ClassifierTable(network="dense-64"), StudyAcquisition()).fit(
        start, seed=1, step=quiet
    )

    # By chance a tenth is right.
    assert fitted.measure("test", step=quiet).value > 0.7
    scores = fitted.scores(range(5_000), step=quiet)
    assert 0 <= scores.min() < 0.1
    assert 0.5 < scores.max() <= 1
