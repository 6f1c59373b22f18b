from pathlib import Path

import msgspec
import numpy as np
import pytest
import sqlalchemy as sa

from shared.config import LineConfig
from shared.errors import InputError
from shared.images import encode_image
from trainer.labelling.seed import seed_folder
from trainer.pool.pool import Pool
from trainer.pool.schema import candidate, label_event


def rows(pool: Pool) -> tuple[int, int]:
    with pool.read() as connection:
        return tuple(
            connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in (candidate, label_event)
        )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two images of 50 x 70 pixels: 2 x 3 patches each; of the second the left third is not labelled."""
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    for name in ("one", "two"):
        image = rng.integers(0, 256, (50, 70), dtype=np.uint8)
        mask = rng.integers(0, 3, (50, 70), dtype=np.uint8)
        if name == "two":
            mask[:, :32] = 255
        (tmp_path / "images" / f"{name}.png").write_bytes(encode_image(image))
        (tmp_path / "masks" / f"{name}.png").write_bytes(encode_image(mask))
    return tmp_path


def test_labelled_images_become_labelled_candidates(pool: Pool, line: LineConfig, folder: Path) -> None:
    report = seed_folder(pool, line, folder)

    assert (report.images, report.patches) == (2, 6 + 4)
    ids = pool.labelled("strip", "seed")
    assert len(ids) == 10
    assert pool.counts("strip") == {"pool": 0, "handed": 0, "labelled": 10}
    assert {(entry.node, entry.camera, entry.reason) for entry in pool.entries(ids)} == {("seed", "folder", "seed")}
    last = next(entry for entry in pool.entries(ids) if (entry.row, entry.col, entry.frame) == (1, 2, 0))
    assert last.inside == (18, 6)
    ((_, mask),) = pool.masks([last.id])
    assert int((mask != 255).sum()) == 18 * 6
    assert [crop.shape for _, crop in pool.crops(ids, channels=1)] == [(64, 64, 1)] * 10


def test_seeds_do_not_count_as_what_the_cameras_sent(pool: Pool, line: LineConfig, folder: Path) -> None:
    seed_folder(pool, line, folder)

    assert pool.counters("strip")["received"] == 0


def test_seeding_twice_changes_nothing_and_a_corrected_mask_is_a_newer_label(
    pool: Pool, line: LineConfig, folder: Path
) -> None:
    seed_folder(pool, line, folder)

    again = seed_folder(pool, line, folder)
    assert (again.patches, again.corrected, again.unchanged) == (0, 0, 10)
    assert rows(pool) == (10, 10)

    (folder / "masks" / "one.png").write_bytes(encode_image(np.zeros((50, 70), np.uint8)))
    assert seed_folder(pool, line, folder).corrected == 6
    assert rows(pool) == (10, 16)


def test_the_same_images_seed_two_lines(pool: Pool, line: LineConfig, folder: Path) -> None:
    seed_folder(pool, line, folder)

    other = seed_folder(pool, msgspec.structs.replace(line, line="band"), folder)

    assert other.patches == 10
    assert len(pool.labelled("band", "seed")) == len(pool.labelled("strip", "seed")) == 10


def test_a_dry_run_takes_nothing(pool: Pool, line: LineConfig, folder: Path) -> None:
    report = seed_folder(pool, line, folder, dry_run=True)

    assert rows(pool) == (0, 0)
    assert seed_folder(pool, line, folder) == report


def test_all_faults_come_in_one_report_and_nothing_is_taken(pool: Pool, line: LineConfig, folder: Path) -> None:
    (folder / "masks" / "one.png").write_bytes(encode_image(np.full((50, 70), 9, np.uint8)))
    (folder / "images" / "three.png").write_bytes(encode_image(np.zeros((50, 70), np.uint8)))
    (folder / "masks" / "four.png").write_bytes(encode_image(np.zeros((50, 70), np.uint8)))
    (folder / "masks" / "two.png").write_bytes(encode_image(np.zeros((50, 71), np.uint8)))

    with pytest.raises(InputError) as caught:
        seed_folder(pool, line, folder)

    text = "\n".join(caught.value.problems)
    assert len(caught.value.problems) == 4
    assert "undeclared values 9 (3500 px)" in text
    assert "three.png: no mask" in text
    assert "four.png: no image" in text
    assert "50 x 71 pixels, its image is 50 x 70" in text
    assert rows(pool) == (0, 0)


def test_an_empty_folder_is_refused(tmp_path: Path, pool: Pool, line: LineConfig) -> None:
    with pytest.raises(InputError, match="no image"):
        seed_folder(pool, line, tmp_path)
