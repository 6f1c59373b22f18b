"""A folder of images and index masks, as it should be and as it comes."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import InputError, StateError
from shared.images import decode_image, decode_mask, encode_image
from trainer.experiment.datasets.dataset import DataSet
from trainer.experiment.datasets.folder import load_folder


def stems(data: DataSet, split: Any) -> set[str]:
    return {Path(data.origin(key)).stem for key in data.splits[split]}


def refused(folder: Path, request: Any) -> tuple[str, ...]:
    with pytest.raises(InputError) as caught:
        load_folder(folder, request)
    return caught.value.problems


def test_images_and_masks_are_those_of_the_files(write_set: Any, ask: Any) -> None:
    folder = write_set()

    data = load_folder(folder, ask())

    assert (data.task, data.classes, data.channels, data.ignore) == (
        "segmentation",
        ("background", "scratch", "dent"),
        1,
        255,
    )
    for key in data.items:
        stem = Path(data.origin(key)).stem
        raw = decode_mask((folder / "masks" / f"{stem}.png").read_bytes(), what="mask")
        image = decode_image((folder / "images" / f"{stem}.png").read_bytes(), what="image", channels=1)
        np.testing.assert_array_equal(data.image(key), image)
        for value, expected in ((0, 0), (1, 1), (7, 2), (11, 255), (255, 255)):
            assert (data.mask(key)[raw == value] == expected).all()
        assert data.size(key) == (20, 24)
    with pytest.raises(StateError, match="classification was asked of it"):
        data.label(key)


def test_keys_tell_nothing_of_names_and_their_order_follows_the_seed(write_set: Any, ask: Any) -> None:
    names = tuple(f"Sc_{number:02d}" for number in range(80))
    splits = {"official": {"train": names[:60], "val": names[60:70], "test": names[70:]}}
    folder = write_set(names=names, splits=splits)

    first, again, other = (load_folder(folder, ask(seed=seed)) for seed in (3, 3, 4))

    assert first.splits == again.splits
    assert first.splits != other.splits
    assert {split: set(keys) for split, keys in first.splits.items()} == {
        split: set(keys) for split, keys in other.splits.items()
    }
    assert all(len(key) == 16 and int(key, 16) >= 0 for key in first.items)
    places = [int(Path(first.origin(key)).stem[3:]) for key in first.splits["train"]]
    assert abs(np.corrcoef(places, range(60))[0, 1]) < 0.35


def test_a_key_follows_the_content_and_not_the_name(write_set: Any, ask: Any) -> None:
    one = load_folder(write_set(), ask())
    renamed = {name: f"z{name}" for name in ("a0", "a1", "b0", "b1", "c0", "c1")}
    splits = {"official": {"train": ["za0", "za1", "zb0", "zb1"], "val": ["zc0"], "test": ["zc1"]}}
    other = load_folder(write_set(name="other", names=tuple(renamed.values()), splits=splits), ask())

    assert set(one.items) == set(other.items)


def test_the_same_image_twice_is_two_items(write_set: Any, ask: Any) -> None:
    folder = write_set()
    (folder / "images" / "a1.png").write_bytes((folder / "images" / "a0.png").read_bytes())

    data = load_folder(folder, ask())

    assert len(data.items) == 6
    assert stems(data, "train") == {"a0", "a1", "b0", "b1"}


def test_the_grouped_split_is_the_default_where_there_is_one(write_set: Any, ask: Any) -> None:
    official = {"train": ["c0", "c1", "b0"], "val": ["b1"], "test": ["a0", "a1"]}
    grouped = {"pool": ["a0", "a1", "b0", "b1"], "val": ["c0"], "test": ["c1"]}
    folder = write_set(splits={"official": official, "grouped": grouped, "group_of": {}, "note": ""})

    assert load_folder(folder, ask()).split_kind == "grouped"
    assert stems(load_folder(folder, ask()), "test") == {"c1"}
    assert stems(load_folder(folder, ask(split="official")), "test") == {"a0", "a1"}


def test_a_split_that_is_not_there_is_refused_with_those_that_are(write_set: Any, ask: Any) -> None:
    folder = write_set()

    assert refused(folder, ask(split="official")) == (f'{folder}/splits.json: no split "official"; it has grouped',)


def test_a_set_without_splits_keeps_scenes_whole(write_set: Any, ask: Any) -> None:
    names = tuple(f"i{number:02d}" for number in range(20))
    folder = write_set(names=names, splits=None)
    # Every even image is shown once more: turned, or mirrored.
    for number in range(0, 20, 2):
        image = decode_image((folder / "images" / f"i{number:02d}.png").read_bytes(), what="image", channels=1)
        turned = image[::-1, ::-1] if number % 4 else image[:, ::-1]
        (folder / "images" / f"i{number + 1:02d}.png").write_bytes(encode_image(turned))

    data, other_seed = load_folder(folder, ask()), load_folder(folder, ask(seed=9))

    assert data.split_kind == "seeded"
    assert {split: len(keys) for split, keys in data.splits.items()} == {"train": 12, "val": 4, "test": 4}
    for split in data.splits:
        numbers = {int(stem[1:]) for stem in stems(data, split)}
        assert numbers == {number ^ 1 for number in numbers}
        assert stems(data, split) == stems(other_seed, split)


def test_groups_alone_are_heeded_when_a_set_is_cut(write_set: Any, ask: Any) -> None:
    folder = write_set(splits={"group_of": {"a0": "A", "b1": "A", "c0": "A", "c1": "A"}})

    data = load_folder(folder, ask())

    assert data.split_kind == "seeded"
    assert stems(data, "train") == {"a0", "b1", "c0", "c1"}


def test_grey_stored_as_colour_is_grey_unless_asked_for_in_colour(write_set: Any, ask: Any) -> None:
    folder = write_set()
    for path in (folder / "images").iterdir():
        grey = decode_image(path.read_bytes(), what="image", channels=1)
        path.write_bytes(encode_image(np.repeat(grey, 3, axis=2)))
    assert load_folder(folder, ask()).channels == 1
    assert load_folder(folder, ask(channels=3)).channels == 3

    path.write_bytes(encode_image(np.dstack([grey, grey, 255 - grey])))

    assert load_folder(folder, ask()).channels == 3


def test_a_set_is_given_at_the_size_asked_for(write_set: Any, ask: Any) -> None:
    data = load_folder(write_set(), ask(size_px=(10, 12)))
    key = data.splits["val"][0]

    assert (data.image(key).shape, data.mask(key).shape, data.size(key)) == ((10, 12, 1), (10, 12), (10, 12))


def test_every_fault_of_the_files_is_told_at_once(write_set: Any, ask: Any) -> None:
    folder = write_set()
    (folder / "masks" / "a0.png").unlink()
    (folder / "images" / "b1.png").unlink()

    assert refused(folder, ask()) == (
        f"{folder}/images/a0.png: no mask masks/a0.png",
        f"{folder}/masks/b1.png: no image of this name",
    )


def test_a_mask_of_another_size_is_told_with_both_sizes(write_set: Any, ask: Any) -> None:
    folder = write_set()
    (folder / "masks" / "a0.png").write_bytes(encode_image(np.zeros((20, 25), dtype=np.uint8)))
    (folder / "images" / "c1.png").write_bytes(b"not an image")

    assert refused(folder, ask()) == (
        f"{folder}/masks/a0.png: 20 x 25 pixels, its image is 20 x 24",
        f"{folder}/images/c1.png: not an image; expected one of JPEG, PNG, BMP, TIFF",
    )


def test_undeclared_values_are_told_when_a_mask_is_read_and_by_the_reading_of_all(write_set: Any, ask: Any) -> None:
    folder = write_set()
    mask = np.zeros((20, 24), dtype=np.uint8)
    mask[0, :3], mask[1, 0] = 5, 200
    (folder / "masks" / "a0.png").write_bytes(encode_image(mask))
    data = load_folder(folder, ask())
    told = (
        f"{folder}/masks/a0.png: undeclared values 5 (3 px), 200 (1 px); declared are 0, 1, 7, and 11, 255 for ignore"
    )
    steps: list[tuple[int, int]] = []

    with pytest.raises(InputError) as caught:
        list(data.read(tuple(data.splits), step=lambda done, total: steps.append((done, total))))

    assert caught.value.problems == (told,)
    assert steps == [(done, 6) for done in range(1, 7)]
    [key] = [key for key in data.items if data.origin(key).endswith("a0.png")]
    with pytest.raises(InputError) as caught:
        data.mask(key)
    assert caught.value.problems == (told,)


def test_two_images_that_share_a_mask_are_refused(write_set: Any, ask: Any) -> None:
    folder = write_set()
    (folder / "images" / "a0.bmp").write_bytes(b"")

    assert refused(folder, ask()) == (
        f"{folder}/images/a0.bmp: a0.png has the same name; masks could not tell them apart",
    )


@pytest.mark.parametrize(
    ("classes", "told"),
    [
        ({"classes": {}}, "0 classes; a model tells at least 2 apart"),
        ({"classes": {"0": "only"}}, "1 classes; a model tells at least 2 apart"),
        ({"classes": {"0": "a", "256": "b"}}, 'mask value "256"; expected a number from 0 to 255'),
        ({"classes": {"7": "a", "07": "b"}}, 'mask value "07"; expected a number from 0 to 255'),
        ({"classes": {"0": "a", "one": "b"}}, 'mask value "one"; expected a number from 0 to 255'),
        ({"classes": {"0": "a", "1": "a"}}, "two classes have the same name: a, a"),
        ({"classes": {"0": "a", "1": "b"}, "ignore": {"1": "void"}}, 'mask value "1" is a class and ignored'),
        (["a", "b"], "Expected `object`, got `array`"),
    ],
)
def test_a_class_list_that_cannot_be_is_refused(write_set: Any, ask: Any, classes: object, told: str) -> None:
    folder = write_set(classes=classes)

    [problem] = refused(folder, ask())

    assert problem.startswith(f"{folder}/classes.json: {told}")


def test_255_may_be_a_class(write_set: Any, ask: Any) -> None:
    folder = write_set(
        classes={"classes": {"0": "background", "255": "defect"}, "ignore": {"1": "", "7": "", "11": ""}}
    )
    data = load_folder(folder, ask())
    key = data.splits["test"][0]

    raw = decode_mask((folder / "masks" / "c1.png").read_bytes(), what="mask")

    assert ((data.mask(key) == 1) == (raw == 255)).all()


@pytest.mark.parametrize(
    ("count", "told"), [(0, "no image; expected images/ and masks/"), (1, "1 image; there is nothing")]
)
def test_a_folder_with_next_to_nothing_is_refused(write_set: Any, ask: Any, count: int, told: str) -> None:
    folder = write_set(names=("a0",)[:count], splits=None)

    [problem] = refused(folder, ask())

    assert problem.startswith(f"{folder}/images: {told}")


def test_two_images_cannot_be_cut_in_three(write_set: Any, ask: Any) -> None:
    folder = write_set(names=("a0", "a1"), splits=None)

    assert refused(folder, ask()) == (f"{folder}: 2 images; train, val and test need at least 3",)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"val": []}, 'grouped "val" is empty'),
        ({"val": ["c0", "nosuch"]}, 'grouped "val" names "nosuch", which is no image'),
        ({"val": ["c0", "c1"]}, 'grouped has "c1" in "val" and in "test"'),
        ({"val": ["c0", "c0"]}, 'grouped has "c0" in "val" and in "val"'),
        ({"dev": ["c0"]}, 'grouped has a split "dev"; known are train (or pool), val and test'),
        ({"train": ["c0"]}, 'grouped has both "train" and "pool"; they are one split'),
        ({"pool": ["a0", "a1", "b0"], "val": ["b1", "c0"]}, 'grouped has group "B" in train and val'),
    ],
)
def test_a_split_that_cannot_be_is_refused(write_set: Any, ask: Any, change: dict[str, list[str]], told: str) -> None:
    base = {"pool": ["a0", "a1", "b0", "b1"], "val": ["c0"], "test": ["c1"]}
    groups = {"a0": "A", "a1": "A", "b0": "B", "b1": "B"}
    folder = write_set(splits={"grouped": {**base, **change}, "group_of": groups})

    assert f"{folder}/splits.json: {told}" in refused(folder, ask())


def test_a_file_that_changed_is_told_with_both_hashes(write_set: Any, ask: Any) -> None:
    folder = write_set(manifest=True)
    assert len(load_folder(folder, ask()).items) == 6
    said = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["masks/b0.png"]
    (folder / "masks" / "b0.png").write_bytes(encode_image(np.zeros((20, 24), dtype=np.uint8)))
    (folder / "images" / "new.png").write_bytes((folder / "images" / "a0.png").read_bytes())
    (folder / "masks" / "new.png").write_bytes((folder / "masks" / "a0.png").read_bytes())

    changed, added = refused(folder, ask())

    assert changed.startswith(f"{folder}/masks/b0.png: sha256 ")
    assert f"manifest.json says {said[:16]}…" in changed
    assert added.startswith(f"{folder}/images/new.png: not in manifest.json")


def test_a_manifest_that_points_outside_is_refused(write_set: Any, ask: Any) -> None:
    folder = write_set()
    (folder / "manifest.json").write_text('{"../../secret": "00"}', encoding="utf-8")

    assert refused(folder, ask()) == (f'{folder}/manifest.json: names "../../secret", which lies outside {folder}',)
