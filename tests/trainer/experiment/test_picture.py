"""The map and the contact sheet of a line that held its rounds."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.console import Console
from shared.errors import StateError
from shared.images import decode_image, image_size
from trainer.experiment.picture import draw_pictures
from trainer.pool.pool import Pool


@pytest.mark.slow
def test_the_pictures_show_the_last_batch_and_say_why_each_patch_is_in_it(finished_site: Any, tmp_path: Path) -> None:
    with Pool.open(finished_site.directory) as pool:
        drawn = draw_pictures(pool, finished_site.line, tmp_path / "out", console=Console(as_json=True))
        tasks = {task.candidate_id: task for task in pool.tasks("steel") if task.round == 1}

    told = json.loads((tmp_path / "out" / "picks.json").read_text(encoding="utf-8"))
    assert (drawn.map_points, drawn.picks, drawn.round) == (160, 14, 1)
    assert {pick["id"] for pick in told["picks"]} == set(tasks)
    for pick in told["picks"]:
        why = tasks[pick["id"]].explanation
        assert (pick["score"], pick["novelty"]) == (why["score"], why["novelty"])
        assert image_size((tmp_path / "out" / pick["image"]).read_bytes(), what="crop") == (64, 64)
        assert (pick["nearest_image"] is None) == (pick["purpose"] == "reference")
    for name in ("map.png", "picks.png"):
        data = (tmp_path / "out" / name).read_bytes()
        assert min(image_size(data, what=name)) > 300
        assert np.unique(decode_image(data, what=name, channels=3)).size > 50


def test_a_line_without_a_batch_has_nothing_to_draw(steel_site: Any, tmp_path: Path) -> None:
    steel_site.send(range(1))

    with Pool.open(steel_site.directory) as pool, pytest.raises(StateError, match="no batch was selected yet"):
        draw_pictures(pool, steel_site.line, tmp_path / "out", console=Console(as_json=True))

    assert not (tmp_path / "out").exists()
