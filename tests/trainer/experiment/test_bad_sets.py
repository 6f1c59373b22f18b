"""Data sets that no study can stand on: each is refused by the file or the class, before anything is learned."""

import json
from pathlib import Path

import numpy as np
import pytest

from shared.console import Console
from shared.errors import InputError, WinnowError
from shared.images import encode_image
from tests.trainer.experiment.studies import RECIPE, write_recipe, write_tiny_set
from tests.trainer.learning.classification.pictures import quadrants, quiet
from trainer.experiment.albums import Albums
from trainer.experiment.datasets.arrays import ArraySource, load_arrays
from trainer.experiment.datasets.dataset import Request
from trainer.experiment.runner import run


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    return write_tiny_set(tmp_path / "sets")


def refused(sets: Path, text: str = RECIPE) -> str:
    """Run a study, and return how it was refused; nothing was learned."""
    out = sets.parent / "out"

    with pytest.raises(WinnowError) as caught:
        run(write_recipe(sets.parent, text), data=sets, out=out, seeds=None, jobs=1, console=Console(as_json=True))

    assert not list(out.rglob("*.jsonl"))
    return str(caught.value)


def test_a_class_that_is_never_shown_is_named(sets: Path) -> None:
    classes = {"classes": {"0": "background", "1": "light", "2": "dark", "3": "unseen"}}
    (sets / "tiny" / "classes.json").write_text(json.dumps(classes), encoding="utf-8")

    told = refused(sets)

    assert told == (
        "data set tiny: unseen in no mask of the training split; leave the class out of its list, or give images that show it"
    )


def test_a_value_that_nobody_declared_is_told_with_its_file(sets: Path) -> None:
    mask = np.zeros((32, 32), dtype=np.uint8)
    mask[3, 4:6] = 9
    (sets / "tiny" / "masks" / "a3.png").write_bytes(encode_image(mask))

    assert "masks/a3.png: undeclared values 9 (2 px); declared are 0, 1, 2" in refused(sets)


def test_a_mask_of_another_size_is_told_with_its_file(sets: Path) -> None:
    (sets / "tiny" / "masks" / "a3.png").write_bytes(encode_image(np.zeros((32, 16), dtype=np.uint8)))

    told = refused(sets, RECIPE.replace('name = "tiny"', 'name = "tiny"\nsize_px = [32, 32]'))

    assert "masks/a3.png: 32 x 16 pixels, its image is 32 x 32" in told


def test_every_mask_that_cannot_be_used_is_told_at_once(sets: Path) -> None:
    for name in ("a3", "a10"):
        (sets / "tiny" / "masks" / f"{name}.png").write_bytes(encode_image(np.full((32, 32), 9, dtype=np.uint8)))

    told = refused(sets)

    assert "masks/a3.png: undeclared values 9 (1024 px)" in told
    assert "masks/a10.png: undeclared values 9 (1024 px)" in told
    assert told.endswith("data set tiny: 2 faults")


def test_a_measured_split_of_which_nothing_is_known_measures_nothing(sets: Path) -> None:
    for name in ("a10", "a11"):
        (sets / "tiny" / "masks" / f"{name}.png").write_bytes(encode_image(np.full((32, 32), 255, dtype=np.uint8)))

    assert "data set tiny: no pixel of its test split has a class, all are 255" in refused(sets)


def test_an_encoder_that_nobody_knows_is_told_before_anything_is_learned(sets: Path) -> None:
    told = refused(
        sets,
        RECIPE.replace(
            '[space]\nsource = "untrained"\nencoder = "compact-8"', '[space]\nsource = "simclr"\nencoder = "resnet99"'
        ),
    )

    assert told.startswith('space.encoder "resnet99": ')


@pytest.mark.parametrize(
    ("acquisition", "said"),
    [
        ('measure = "class-variance", committee = "heads", class_weights = [0.0, 1.0]', "expected 3 numbers from 0"),
        ('measure = "bald", committee = "mc-dropout"', "has no dropout, every member would say the same"),
    ],
)
def test_what_an_arm_cannot_ask_is_told_before_anything_is_learned(sets: Path, acquisition: str, said: str) -> None:
    told = refused(sets, f"{RECIPE}acquisition = {{ {acquisition} }}\n")

    assert told.startswith("kdpp: ")
    assert said in told


def test_a_classifier_in_a_study_of_masks_is_refused(sets: Path) -> None:
    told = refused(sets, f"{RECIPE}classifier = {{ network = 'dense-8' }}\n")

    assert told.startswith("classifier of arm kdpp: tiny is a set for segmentation, which has no such model")


def test_one_image_is_no_set(tmp_path: Path) -> None:
    sets = write_tiny_set(tmp_path / "sets")
    (sets / "tiny" / "splits.json").unlink()
    for number in range(1, 12):
        for part in ("images", "masks"):
            (sets / "tiny" / part / f"a{number}.png").unlink()

    assert "tiny/images: 1 image; there is nothing to measure a model on" in refused(sets)


def test_a_class_of_images_that_is_never_shown_is_named() -> None:
    images, labels = quadrants(120, 1)
    source = ArraySource(Path("tiny"), images[labels != 2], labels[labels != 2])
    lacking = load_arrays(source, Request(name="tiny", seed=3), classes=("a", "b", "c", "d"), train=60)

    with pytest.raises(InputError, match="data set tiny: c in no label of the training split"):
        Albums.read(lacking, ("train", "test"), step=quiet)
