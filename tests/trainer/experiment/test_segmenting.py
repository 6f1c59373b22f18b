"""Learning to segment for a study: what the model is shown, how committees learn, what is measured."""

from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import ConfigError, StateError
from shared.images import encode_image
from tests.trainer.experiment.studies import RECIPE, write_recipe, write_tiny_set
from trainer.experiment.grounds import lay_ground, open_data
from trainer.experiment.learner import Labelled
from trainer.experiment.pictures import Pictures, padded, padded_masks
from trainer.experiment.recipe import load_recipe
from trainer.experiment.segmenting import SegmentationLearner
from trainer.experiment.units import Parts
from trainer.learning.model import at_once

ENTROPY = 'measure = "entropy"'


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    return write_tiny_set(tmp_path / "sets")


def quiet(_done: int, _total: int) -> None:
    pass


def learner_of(sets: Path, text: str = RECIPE) -> SegmentationLearner:
    recipe = load_recipe(write_recipe(sets.parent, text))
    ground = lay_ground(recipe, open_data(recipe, sets, work=sets), step=quiet)
    learner = ground.learner("top")
    assert isinstance(learner, SegmentationLearner)
    return learner


def test_crops_carry_their_context_and_only_the_unit_is_labelled(sets: Path) -> None:
    learner = learner_of(sets)

    crops, masks = learner.samples([0, 5])

    assert crops.shape == (2, 24, 24, 1)
    assert (masks != 255).sum() == 2 * 16 * 16
    assert (masks[:, 4:20, 4:20] != 255).all()


def test_full_images_are_seen_and_only_their_labelled_units_learned(sets: Path) -> None:
    learner = learner_of(sets, RECIPE.replace("context_px = 4", "full = true"))

    # Units 0 and 3 are two corners of the first image, 5 one of the second.
    images, masks = learner.samples([5, 3, 0])

    assert images.shape == (2, 32, 32, 1)
    assert (masks != 255).sum(axis=(1, 2)).tolist() == [2 * 256, 256]
    assert (masks[0, :16, :16] != 255).all()
    assert (masks[0, 16:, 16:] != 255).all()


@pytest.mark.parametrize("context", ["context_px = 4", "full = true"])
def test_scores_come_in_the_order_asked(context: str, sets: Path) -> None:
    fitted = learner_of(sets, RECIPE.replace("context_px = 4", context)).fit(
        Labelled((0, 5, 9, 14), 0), seed=1, step=quiet
    )

    scores = fitted.scores([7, 2, 30], step=quiet)

    assert fitted.scores([30, 7, 2], step=quiet) == pytest.approx(scores[[2, 0, 1]], rel=1e-5)
    assert len(set(scores.tolist())) == 3
    assert ((scores > 0) & (scores <= 1)).all()


@pytest.mark.parametrize("committee", ["ensemble", "heads"])
def test_a_committee_disagrees_and_is_measured_as_one(committee: str, sets: Path) -> None:
    text = RECIPE.replace(ENTROPY, f'measure = "bald"\ncommittee = "{committee}"\nmembers = 4')
    fitted = learner_of(sets, text).fit(Labelled((0, 5, 9, 14), 0), seed=1, step=quiet)

    scores = fitted.scores(range(32), step=quiet)

    assert scores.max() > 0
    assert 0 <= fitted.measure("test", step=quiet).value <= 1


def test_a_study_s_training_ends_early_by_a_split_that_no_result_is_told_of(
    sets: Path,
) -> None:
    text = RECIPE.replace("steps = 4", "steps = 400\njudgements = 200\nstop_patience = 2\nlearning_rate = 1e-9")
    learner = learner_of(sets, text)
    seen: list[int] = []

    learner.fit(Labelled((0, 5, 9, 14), 0), seed=1, step=lambda done, _total: seen.append(done))

    assert learner.watched is not None
    assert learner.watched.images.shape == (2, 32, 32, 1)
    # So low a rate teaches nothing that could get better.
    assert seen[-1] < 400


def test_no_training_may_end_by_what_results_are_told_of(sets: Path) -> None:
    text = RECIPE.replace("steps = 4", "steps = 4\nstop_patience = 2")

    with pytest.raises(ConfigError, match=r"learning\.stop_patience: tiny has .* by a val split of its own only"):
        learner_of(sets, text.replace('name = "tiny"', 'name = "tiny"\nmeasured = "val"'))


def test_what_is_trained_on_is_never_measured(sets: Path) -> None:
    fitted = learner_of(sets).fit(Labelled((0, 5), 0), seed=1, step=quiet)

    with pytest.raises(StateError, match="split train is not measured"):
        fitted.measure("train", step=quiet)


def test_images_of_several_sizes_ask_for_one(sets: Path) -> None:
    for part in ("images", "masks"):
        (sets / "tiny" / part / "a0.png").write_bytes(encode_image(np.zeros((40, 32, 1), dtype=np.uint8)))
    data = open_data(load_recipe(write_recipe(sets.parent)), sets, work=sets)

    with pytest.raises(ConfigError, match=r"2 sizes of images.*set data\.size_px"):
        Pictures.read(data, Parts(rows=2, cols=2), ("train",), step=quiet)


def test_large_images_are_seen_fewer_at_once() -> None:
    assert at_once(64, 64) == 32
    assert at_once(1024, 2048) == 1
    assert at_once(512, 512) == 8
    assert at_once(9000, 9000) == 1


def test_scoring_and_measuring_keep_to_the_threads_of_the_recipe(sets: Path) -> None:
    fitted = learner_of(sets, RECIPE.replace("threads = 1", "threads = 2")).fit(Labelled((0, 5), 0), seed=1, step=quiet)
    before = torch.get_num_threads()
    used: list[int] = []

    def look(_done: int, _total: int) -> None:
        used.append(torch.get_num_threads())

    fitted.scores([1], step=look)
    fitted.measure("test", step=look)

    assert used == [2, 2]
    assert torch.get_num_threads() == before


def test_padding_reflects_images_and_supervises_nothing() -> None:
    images = np.arange(2 * 5 * 6, dtype=np.uint8).reshape(2, 5, 6, 1)
    masks = np.ones((2, 5, 6), dtype=np.uint8)

    wide, known = padded(images, grain=8), padded_masks(masks, grain=8)

    assert wide.shape == (2, 8, 8, 1)
    assert (wide[:, :5, :6] == images).all()
    assert (wide[:, 5, :6] == images[:, 4]).all()
    assert (known != 255).sum() == masks.size
