"""What repeats of one training differ by."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import ConfigError
from tests.trainer.experiment.studies import RECIPE, write_recipe, write_tiny_set
from trainer.experiment.grounds import lay_ground, open_data
from trainer.experiment.learner import Ground
from trainer.experiment.noise import Noise, measure_noise
from trainer.experiment.recipe import load_recipe


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    folder = tmp_path_factory.mktemp("noise")
    sets = write_tiny_set(folder / "sets")
    recipe = load_recipe(write_recipe(folder, RECIPE))
    step = lambda _done, _total: None  # noqa: E731  # nobody watches
    return lay_ground(recipe, open_data(recipe, sets, work=folder / "work", step=step), step=step)


def measured(
    ground: Ground, labels: list[int], *, repeats: int = 3, told: list[tuple[int, int]] | None = None
) -> list[Noise]:
    step = lambda done, total: (told if told is not None else []).append((done, total))  # noqa: E731  # one line
    return list(measure_noise(ground, labels, repeats=repeats, seed=0, step=step))


def test_repeats_of_one_labelled_set_differ_and_are_told_in_their_turn(ground: Ground) -> None:
    told: list[tuple[int, int]] = []

    found = measured(ground, [4, 8], told=told)

    assert [each.labels for each in found] == [4, 8]
    assert all(len(set(each.values)) > 1 for each in found)
    assert told == [(done, 6) for done in range(1, 7)]


def test_the_same_seed_measures_the_same_noise(ground: Ground) -> None:
    assert measured(ground, [4]) == measured(ground, [4])


def test_the_spread_is_the_sample_standard_deviation() -> None:
    noise = Noise(10, (0.1, 0.2, 0.4))

    assert noise.mean == pytest.approx(0.7 / 3)
    assert noise.sd == pytest.approx(np.sqrt(sum((v - 0.7 / 3) ** 2 for v in noise.values) / 2))


@pytest.mark.parametrize(
    ("labels", "repeats", "words"), [([0], 3, "labels: 0"), ([33], 3, "1 to 32"), ([4], 1, "repeats: 1")]
)
def test_what_cannot_be_measured_is_refused_before_a_training(
    ground: Ground, labels: list[int], repeats: int, words: str
) -> None:
    told: list[tuple[int, int]] = []

    with pytest.raises(ConfigError, match=words):
        measured(ground, labels, repeats=repeats, told=told)

    assert told == []


def test_pixels_are_drawn_as_a_study_draws_its_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = write_tiny_set(tmp_path / "sets")
    text = RECIPE[: RECIPE.index("[[arm]]")].replace(
        'kind = "parts"\nrows = 2\ncols = 2\ncontext_px = 4', 'kind = "pixels"'
    )
    recipe = load_recipe(write_recipe(tmp_path, text + '[[arm]]\nname = "top"\nstrategy = "top"\n'))
    step = lambda _done, _total: None  # noqa: E731  # nobody watches
    ground = lay_ground(recipe, open_data(recipe, sets, work=tmp_path, step=step), step=step)
    learned: list[Any] = []
    learner = ground.learner("random")
    plain = type(learner).fit
    monkeypatch.setattr(
        type(learner), "fit", lambda self, labelled, **words: learned.append(labelled) or plain(self, labelled, **words)
    )

    measured(ground, [16], repeats=2)

    units = np.array(learned[0].units)
    # Two of each of the eight images, as PixelPick asks; by lot among all pixels it would hardly be so.
    assert np.bincount(units // (32 * 32), minlength=8).tolist() == [2] * 8
