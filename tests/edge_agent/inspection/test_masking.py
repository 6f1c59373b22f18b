"""An image's classes through the mask graph."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from edge_agent.cli import app
from edge_agent.inspection.masking import frame_mask, mask_image
from shared.config import LineConfig
from shared.errors import ConfigError, ReleaseError
from shared.images import decode_mask, encode_image

CAMERA = '[[cameras]]\nname = "top"\nline = "strip"\nsource = {type = "folder", path = "images"}\n'


def test_every_pixel_of_a_frame_comes_from_the_inside_of_its_tile(line: LineConfig) -> None:
    """Numbered pixels go through the cut into tiles and back."""
    frame = np.random.default_rng(2).integers(0, 256, (150, 100, 1), dtype=np.uint8)

    found = frame_mask(line.grid, line.grid.tiles(frame)[..., 0], 150, 100)

    np.testing.assert_array_equal(found, frame[..., 0])


def test_an_image_gets_its_classes(
    line: LineConfig,
    make_release: Callable[..., Any],
    build_mask: Callable[..., bytes],
    write_agent: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (130, 70), dtype=np.uint8)
    (tmp_path / "part.png").write_bytes(encode_image(pixels))
    release = make_release(1, others={"mask": build_mask(line.grid)}).directory
    words = ["mask", write_agent(CAMERA), tmp_path / "part.png", "--release", release, "--out", tmp_path / "seen.png"]

    answer = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)

    assert answer.exit_code == 0
    seen = decode_mask((tmp_path / "seen.png").read_bytes(), what="seen.png")
    np.testing.assert_array_equal(seen, pixels > 127)


def test_what_cannot_say_classes_is_refused_by_name(
    make_release: Callable[..., Any], write_agent: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "part.png").write_bytes(encode_image(np.zeros((96, 96), dtype=np.uint8)))
    agent, release = write_agent(CAMERA), make_release(1).directory

    with pytest.raises(ReleaseError, match="no mask graph"):
        mask_image(agent, tmp_path / "part.png", line=None, release=release)
    with pytest.raises(ConfigError, match='no line "coil"; known lines are strip'):
        mask_image(agent, tmp_path / "part.png", line="coil", release=release)
