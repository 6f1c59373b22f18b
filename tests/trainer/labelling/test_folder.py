import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
from numpy.typing import NDArray

from shared.config import LineConfig
from shared.errors import InputError, StateError
from shared.images import decode_image, decode_mask, encode_image
from trainer.labelling.folder import export_folder, import_folder
from trainer.pool.pool import Pick, Pool
from trainer.pool.schema import candidate, label_event

Fill = Callable[..., list[str]]
Mask = NDArray[np.uint8]


@pytest.fixture
def handed(pool: Pool, fill: Fill) -> list[str]:
    """Four candidates handed over; of the last only 20 x 10 pixels lie inside its frame."""
    ids = [*fill(range(3)), *fill(range(3, 4), inside=(20, 10), ids={"part": "0012"})]
    pool.hand_over("strip", 2, [Pick(ids[0], "reference", {"strategy": "random"})])
    pool.hand_over("strip", 2, [Pick(name, "train", {"strategy": "kdpp", "score": 0.5}) for name in ids[1:]])
    return ids


@pytest.fixture
def folder(tmp_path: Path, pool: Pool, line: LineConfig, handed: list[str]) -> Path:
    assert export_folder(pool, line, tmp_path / "out") == len(handed)
    return tmp_path / "out"


def paint(folder: Path, name: str, mask: Mask) -> Path:
    path = folder / "masks" / f"{name}.png"
    path.write_bytes(encode_image(mask))
    return path


def state(pool: Pool) -> tuple[list[object], list[object]]:
    with pool.read() as connection:
        events = connection.execute(sa.select(label_event)).all()
        states = connection.execute(sa.select(candidate.c.id, candidate.c.state).order_by(candidate.c.id)).all()
    return [tuple(row) for row in events], [tuple(row) for row in states]


def test_the_hand_over_says_all_that_a_painter_needs(pool: Pool, folder: Path, handed: list[str]) -> None:
    labels = json.loads((folder / "labels.json").read_text())

    assert (labels["schema"], labels["line"], labels["crop_px"], labels["ignore"]) == (1, "strip", 64, 255)
    assert labels["classes"][1] == {"value": 1, "name": "scratch", "colour": "#ff0000"}
    tasks = {task["id"]: task for task in labels["tasks"]}
    assert sorted(tasks) == sorted(handed)
    assert tasks[handed[3]]["outline"] == [16, 16, 20, 10]
    assert tasks[handed[0]]["purpose"] == "reference"
    assert tasks[handed[1]]["explanation"] == {"strategy": "kdpp", "score": 0.5}
    assert tasks[handed[1]]["round"] == 2
    assert (tasks[handed[1]]["ids"], tasks[handed[3]]["ids"]) == ({}, {"part": "0012"})
    for name, crop in pool.crops(handed, channels=1):
        written = (folder / tasks[name]["file"]).read_bytes()
        np.testing.assert_array_equal(decode_image(written, what=name, channels=1), crop)
    assert all(task["prelabel"] is None for task in tasks.values())


def test_prelabels_are_index_images_in_the_classes_colours(
    tmp_path: Path, pool: Pool, line: LineConfig, handed: list[str]
) -> None:
    painted = np.zeros((64, 64), np.uint8)
    painted[20:30, 20:30] = 2

    export_folder(pool, line, tmp_path / "out", prelabel=lambda ids: ((name, painted) for name in ids))

    data = (tmp_path / "out" / "prelabels" / f"{handed[0]}.png").read_bytes()
    np.testing.assert_array_equal(decode_mask(data, what="prelabel"), painted)
    assert decode_image(data, what="prelabel", channels=3)[25, 25].tolist() == [0, 255, 0]


def test_painted_masks_come_in_and_the_rest_waits(
    pool: Pool, line: LineConfig, folder: Path, handed: list[str]
) -> None:
    mask = np.ones((64, 64), np.uint8)
    paint(folder, handed[1], mask)
    paint(folder, handed[3], mask)

    report = import_folder(pool, line, folder)

    assert (report.painted, report.corrected, report.unchanged, report.missing) == (2, 0, 0, 2)
    assert sorted(pool.labelled("strip", "train")) == sorted([handed[1], handed[3]])
    stored = dict(pool.masks([handed[1], handed[3]]))
    expected = np.full((64, 64), 255, np.uint8)
    expected[16:48, 16:48] = 1
    np.testing.assert_array_equal(stored[handed[1]], expected)
    assert int((stored[handed[3]] == 1).sum()) == 20 * 10
    assert len(pool.open_tasks("strip")) == 2


def test_a_dry_run_reports_the_same_and_takes_nothing(
    pool: Pool, line: LineConfig, folder: Path, handed: list[str]
) -> None:
    paint(folder, handed[1], np.ones((64, 64), np.uint8))
    before = state(pool)

    report = import_folder(pool, line, folder, dry_run=True)

    assert state(pool) == before
    assert import_folder(pool, line, folder) == report


def test_importing_twice_changes_nothing_and_a_correction_is_a_newer_label(
    pool: Pool, line: LineConfig, folder: Path, handed: list[str]
) -> None:
    paint(folder, handed[1], np.ones((64, 64), np.uint8))
    import_folder(pool, line, folder)
    before = state(pool)

    again = import_folder(pool, line, folder)
    assert (again.painted, again.unchanged) == (0, 1)
    assert state(pool) == before

    paint(folder, handed[1], np.full((64, 64), 2, np.uint8))
    assert import_folder(pool, line, folder).corrected == 1
    ((_, mask),) = pool.masks([handed[1]])
    assert mask[20, 20] == 2
    assert len(state(pool)[0]) == 2


def undeclared(folder: Path, name: str) -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[0, :3], mask[20, :2] = 7, 9
    paint(folder, name, mask)


FAULTS: dict[str, tuple[str, Callable[[Path, str], object]]] = {
    "undeclared values": (r"undeclared values 7 \(3 px\), 9 \(2 px\); declared are 0 to 2, and 255", undeclared),
    "wrong size": ("32 x 64 pixels, its crop is 64 x 64", lambda f, n: paint(f, n, np.zeros((32, 64), np.uint8))),
    "colours": ("mode RGB", lambda f, n: paint(f, n, np.zeros((64, 64, 3), np.uint8))),
    "no image": ("not an image", lambda f, n: (f / "masks" / f"{n}.png").write_bytes(b"hello")),
    "nothing painted": ("nothing inside", lambda f, n: paint(f, n, np.full((64, 64), 255, np.uint8))),
    "unknown name": ("no task of line strip", lambda f, _: paint(f, "me", np.zeros((64, 64), np.uint8))),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_one_faulty_mask_keeps_all_out(
    pool: Pool, line: LineConfig, folder: Path, handed: list[str], fault: str
) -> None:
    message, make = FAULTS[fault]
    paint(folder, handed[1], np.ones((64, 64), np.uint8))
    make(folder, handed[2])
    before = state(pool)

    with pytest.raises(InputError, match=message):
        import_folder(pool, line, folder)

    assert state(pool) == before


def test_all_faults_of_all_files_come_in_one_report(
    pool: Pool, line: LineConfig, folder: Path, handed: list[str]
) -> None:
    undeclared(folder, handed[0])
    paint(folder, handed[1], np.zeros((8, 8), np.uint8))
    paint(folder, "stranger", np.zeros((64, 64), np.uint8))

    with pytest.raises(InputError) as caught:
        import_folder(pool, line, folder)

    assert len(caught.value.problems) == 3
    assert "3 faults; no label was taken" in str(caught.value)
    for name in (handed[0], handed[1], "stranger"):
        assert any(name in problem for problem in caught.value.problems)


@pytest.mark.parametrize("change", [{"schema": 2}, {"line": "other"}, {"crop_px": 32}, {"classes": []}, {"tasks": 3}])
def test_a_folder_of_another_hand_over_is_refused(
    pool: Pool, line: LineConfig, folder: Path, handed: list[str], change: dict[str, object]
) -> None:
    paint(folder, handed[1], np.ones((64, 64), np.uint8))
    labels = json.loads((folder / "labels.json").read_text())
    (folder / "labels.json").write_text(json.dumps(labels | change))
    before = state(pool)

    with pytest.raises(InputError, match="export the hand-over again"):
        import_folder(pool, line, folder)

    assert state(pool) == before


def test_a_candidate_that_was_never_handed_over_takes_no_label(
    pool: Pool, line: LineConfig, folder: Path, fill: Fill
) -> None:
    (waiting,) = fill(range(50, 51))
    paint(folder, waiting, np.zeros((64, 64), np.uint8))
    before = state(pool)

    with pytest.raises(InputError, match="no task of line strip"):
        import_folder(pool, line, folder)

    assert state(pool) == before


def test_nothing_handed_over_is_said(tmp_path: Path, pool: Pool, line: LineConfig) -> None:
    with pytest.raises(StateError, match="nothing is handed over"):
        export_folder(pool, line, tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_a_folder_without_labels_json_is_refused(tmp_path: Path, pool: Pool, line: LineConfig) -> None:
    with pytest.raises(InputError, match=r"labels\.json"):
        import_folder(pool, line, tmp_path)
