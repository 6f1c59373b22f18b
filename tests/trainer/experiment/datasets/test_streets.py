"""Cityscapes and BDD100k, as tiny trees of the owners' shape; CalTech101's folders."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import InputError
from shared.images import encode_image
from tests.trainer.learning.classification.pictures import quiet
from trainer.experiment.datasets.bdd100k import load_bdd100k
from trainer.experiment.datasets.caltech101 import load_caltech101
from trainer.experiment.datasets.cityscapes import load_cityscapes


def put(path: Path, pixels: Any, form: Any = "png") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_image(pixels, form=form))


def colour(seed: int, height: int = 8, width: int = 16) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def cityscapes(tmp_path: Path) -> Path:
    ids = np.r_[np.arange(34), [255] * 94].astype(np.uint8).reshape(8, 16)
    places = [("train", "aachen"), ("train", "bochum"), ("val", "lindau"), ("test", "berlin")]
    for seed, (split, city) in enumerate(places):
        put(tmp_path / "leftImg8bit" / split / city / f"{city}_000000_000019_leftImg8bit.png", colour(seed))
        if split != "test":
            put(tmp_path / "gtFine" / split / city / f"{city}_000000_000019_gtFine_labelIds.png", ids)
            put(tmp_path / "gtFine" / split / city / f"{city}_000000_000019_gtFine_instanceIds.png", ids)
    return tmp_path


@pytest.fixture
def bdd100k(tmp_path: Path) -> Path:
    mask = np.r_[np.arange(19), [255] * 109].astype(np.uint8).reshape(8, 16)
    for seed, name in enumerate(("train/x1", "train/x2", "val/y1", "test/z1")):
        put(tmp_path / "images" / "10k" / f"{name}.jpg", colour(seed), "jpeg")
        if not name.startswith("test"):
            put(tmp_path / "labels" / "sem_seg" / "masks" / f"{name}.png", mask)
    return tmp_path


def test_cityscapes_ids_become_train_ids(cityscapes: Path, ask: Any) -> None:
    data = load_cityscapes(cityscapes, ask())

    assert {split: len(keys) for split, keys in data.splits.items()} == {"train": 2, "val": 1}
    assert data.measured == "val"
    # The owners' table, written out a second time by name.
    table = {"road": 7, "building": 11, "pole": 17, "sky": 23, "person": 24, "bus": 28, "train": 31, "bicycle": 33}
    mask = data.mask(data.splits["val"][0]).reshape(-1)
    assert {name: data.classes.index(name) for name in table} == {name: mask[value] for name, value in table.items()}
    assert sorted(mask[mask != 255]) == list(range(19))
    assert {int(value) for value in np.flatnonzero(mask == 255)} >= {0, 1, 6, 9, 10, 14, 18, 29, 30, 34}


def test_a_cityscapes_image_without_its_mask_is_named(cityscapes: Path, ask: Any) -> None:
    mask = cityscapes / "gtFine" / "train" / "bochum" / "bochum_000000_000019_gtFine_labelIds.png"
    mask.unlink()

    with pytest.raises(InputError, match=rf"bochum_000000_000019_leftImg8bit.png: no mask {mask}"):
        load_cityscapes(cityscapes, ask())


def test_a_tree_without_images_says_which_were_expected(tmp_path: Path, ask: Any) -> None:
    with pytest.raises(InputError) as caught:
        load_cityscapes(tmp_path, ask())
    assert caught.value.problems == tuple(
        f"{tmp_path}: no {split} images; expected leftImg8bit/{split}/CITY/*_leftImg8bit.png"
        for split in ("train", "val")
    )

    with pytest.raises(InputError, match=r"no train images; expected images/10k/train/\*.jpg"):
        load_bdd100k(tmp_path, ask())


def test_bdd_masks_hold_train_ids_already(bdd100k: Path, ask: Any) -> None:
    data = load_bdd100k(bdd100k, ask())

    assert {split: len(keys) for split, keys in data.splits.items()} == {"train": 2, "val": 1}
    mask = data.mask(data.splits["train"][0]).reshape(-1)
    assert list(mask[:19]) == list(range(19))
    assert (mask[19:] == 255).all()
    assert [place for _, place, _, _ in data.read(("train", "val"), step=quiet)] == [0, 1, 0]


def test_the_reading_of_all_names_a_street_scene_whose_mask_has_another_size(bdd100k: Path, ask: Any) -> None:
    put(bdd100k / "labels" / "sem_seg" / "masks" / "val" / "y1.png", np.zeros((8, 8), dtype=np.uint8))
    data = load_bdd100k(bdd100k, ask(size_px=(4, 4)))

    with pytest.raises(InputError) as caught:
        list(data.read(("train", "val"), step=quiet))

    assert caught.value.problems == (f"{bdd100k}/images/10k/val/y1.jpg: 8 x 16 pixels, its mask is 8 x 8",)


def test_a_mask_of_another_size_is_not_brought_to_its_images(bdd100k: Path, ask: Any) -> None:
    """Resized each for itself, the two would fit."""
    put(bdd100k / "labels" / "sem_seg" / "masks" / "val" / "y1.png", np.zeros((8, 8), dtype=np.uint8))
    data = load_bdd100k(bdd100k, ask(size_px=(4, 4)))
    (key,) = [key for key in data.splits["val"] if data.origin(key).endswith("y1.jpg")]

    with pytest.raises(InputError, match=r"y1\.jpg: 8 x 16 pixels, its mask is 8 x 8"):
        data.mask(key)


def test_keys_of_street_scenes_are_hidden_too(cityscapes: Path, ask: Any) -> None:
    data = load_cityscapes(cityscapes, ask())

    assert all(len(key) == 16 and int(key, 16) >= 0 for key in data.items)


@pytest.mark.parametrize("inner", ["", "101_ObjectCategories"])
def test_caltech_folders_are_classes_and_clutter_is_none(tmp_path: Path, ask: Any, inner: str) -> None:
    root = tmp_path / inner
    for value, name in enumerate(("BACKGROUND_Google", "ant", "brain")):
        for number in range(10):
            put(root / name / f"image_{number:04d}.jpg", colour(10 * value + number, 8 + number, 12), "jpeg")

    data = load_caltech101(tmp_path, ask())

    assert (data.classes, data.split_kind) == (("ant", "brain"), "seeded")
    assert {split: len(keys) for split, keys in data.splits.items()} == {"train": 12, "val": 4, "test": 4}
    for keys in data.splits.values():
        assert sum(data.label(key) for key in keys) * 2 == len(keys)
    key = data.splits["train"][0]
    assert data.classes[data.label(key)] == Path(data.origin(key)).parent.name
    assert data.size(key) == data.image(key).shape[:2]


def test_a_class_without_images_is_refused(tmp_path: Path, ask: Any) -> None:
    put(tmp_path / "ant" / "image_0001.jpg", colour(0), "jpeg")
    (tmp_path / "brain").mkdir()

    with pytest.raises(InputError, match="brain: no image; a class needs some"):
        load_caltech101(tmp_path, ask())
