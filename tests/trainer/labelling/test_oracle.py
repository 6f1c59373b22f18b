from pathlib import Path

import numpy as np
import pytest

from shared.clock import ManualClock
from shared.config import LineConfig, load_line
from shared.errors import ConfigError
from shared.geometry import Patch, PatchGrid
from shared.identity import CandidateId
from shared.images import encode_image
from shared.messages import Candidate
from shared.simulated import simulated_camera
from trainer.labelling.masks import truth_mask
from trainer.labelling.oracle import answer_open_tasks
from trainer.pool.pool import Arrival, Pick, Pool

SIMULATOR = """
[simulator]
seed = 11
height_px = 80
width_px = 112
scale = 0.2
rates = {scratch = 1.0, dent = 1.0}
"""


@pytest.fixture
def simulated(tmp_path: Path, line_toml: str) -> LineConfig:
    file = tmp_path / "simulated.toml"
    file.write_text(line_toml + SIMULATOR, encoding="utf-8")
    return load_line(file)


def seen(line: LineConfig, *, node: str, frame: int, patch: Patch) -> Arrival:
    """What a node sends of one patch."""
    image = simulated_camera(line, node=node, camera="cam").frame(frame).image
    crop = encode_image(line.grid.crop(image, patch))
    candidate = Candidate(
        id=str(CandidateId.make(node=node, boot="0123abcd", seq=frame * 100 + patch.row * 10 + patch.col, crop=crop)),
        camera="cam",
        frame=frame,
        captured_at=0.0,
        row=patch.row,
        col=patch.col,
        inside=line.grid.inside(patch, *image.shape),
        release=None,
        score=None,
        reason="floor",
        gain=None,
        space=None,
        embedding=None,
        crop_format="png",
        crop=crop,
    )
    return Arrival(line.line, node, candidate, 0.0)


def test_the_oracle_answers_every_open_task_with_the_truth(simulated: LineConfig, pool: Pool) -> None:
    arrivals = [
        seen(simulated, node=node, frame=frame, patch=patch)
        for node in ("n1", "n2")
        for frame in (3, 8)
        for patch in simulated.grid.patches(80, 112)
    ]
    pool.add(arrivals)
    ids = pool.ids("strip")
    pool.hand_over("strip", 0, [Pick(name, "train", {}) for name in ids])

    assert answer_open_tasks(pool, simulated) == len(arrivals) == 48

    assert pool.open_tasks("strip") == []
    entries = {(entry.node, entry.frame, entry.row, entry.col): entry.id for entry in pool.entries(ids)}
    for node in ("n1", "n2"):
        # The labelled parts, put back in their places, are the whole frame: each pixel once.
        truth = simulated_camera(simulated, node=node, camera="cam").frame(8).mask
        rebuilt = np.full((96, 128), 255, np.uint8)
        for patch in simulated.grid.patches(80, 112):
            ((_, mask),) = pool.masks([entries[node, 8, patch.row, patch.col]])
            assert (mask[:16] == 255).all()
            assert (mask[:, 48:] == 255).all()
            rebuilt[patch.row * 32 : patch.row * 32 + 32, patch.col * 32 : patch.col * 32 + 32] = mask[16:48, 16:48]
        np.testing.assert_array_equal(rebuilt[:80, :112], truth)
        assert (rebuilt[80:] == 255).all()
        assert (rebuilt[:, 112:] == 255).all()


def test_an_answered_task_is_not_answered_again(simulated: LineConfig, pool: Pool) -> None:
    pool.add([seen(simulated, node="n1", frame=1, patch=Patch(0, 0))])
    pool.hand_over("strip", 0, [Pick(pool.ids("strip")[0], "train", {})])

    assert answer_open_tasks(pool, simulated) == 1
    assert answer_open_tasks(pool, simulated) == 0
    assert pool.label_counts("strip")["train"] == 1


def test_a_line_without_a_simulator_has_no_oracle(line: LineConfig, pool: Pool, clock: ManualClock) -> None:
    simulated_less = line
    with pool.write():
        arrival = seen_by_nobody(line, now=clock.now())
        pool.add([arrival])
        pool.hand_over("strip", 0, [Pick(arrival.candidate.id, "train", {})])

    with pytest.raises(ConfigError, match="simulator"):
        answer_open_tasks(pool, simulated_less)

    assert len(pool.open_tasks("strip")) == 1


def seen_by_nobody(line: LineConfig, *, now: float) -> Arrival:
    crop = encode_image(np.zeros((line.grid.crop_px, line.grid.crop_px, 1), np.uint8))
    candidate = Candidate(
        id=str(CandidateId.make(node="n1", boot="0123abcd", seq=0, crop=crop)),
        camera="cam",
        frame=0,
        captured_at=now,
        row=0,
        col=0,
        inside=(32, 32),
        release=None,
        score=None,
        reason="floor",
        gain=None,
        space=None,
        embedding=None,
        crop_format="png",
        crop=crop,
    )
    return Arrival(line.line, "n1", candidate, now)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_truth_mask_is_supervised_only_inside_the_patch_and_the_frame(channels: int) -> None:
    grid = PatchGrid(tile_px=64, patch_px=32, margin_px=16, cell_px=16, channels=channels)
    frame = np.arange(40 * 50, dtype=np.int64).reshape(40, 50).astype(np.uint8) % 200

    mask = truth_mask(grid, frame, Patch(1, 1))

    assert mask.shape == (64, 64)
    np.testing.assert_array_equal(mask[16:24, 16:34], frame[32:40, 32:50])
    assert int((mask != 255).sum()) == 8 * 18
