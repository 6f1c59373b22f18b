"""One small model, its space and their graphs, exported once for all tests of this folder."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.config import ClassTable, GeometryTable, LearningTable, LineConfig, SpaceTable
from shared.identity import sha256_hex
from shared.release import SpaceEntry
from trainer.acquisition.scoring import MaskGraph, TaskGraph
from trainer.learning.model import TaskModel, build_model
from trainer.release.graph import export_mask, export_space, export_task
from trainer.representation.space import SpaceModule, build_space

LINE = LineConfig(
    line="steel",
    classes=tuple(ClassTable(name=name) for name in ("background", "scratch", "dent")),
    geometry=GeometryTable(tile_px=160, patch_px=64, margin_px=16, cell_px=16, top_share=1 / 16),
    learning=LearningTable(architecture="compact", encoder="compact-8-16"),
    space=SpaceTable(encoder="compact-8-16"),
)
RELEASE = "steel-0001"


@dataclass(frozen=True, slots=True, eq=False)
class Built:
    line: LineConfig
    model: TaskModel
    space: SpaceModule
    task: bytes
    mask: bytes
    space_graph: bytes

    @property
    def entry(self) -> SpaceEntry:
        return SpaceEntry(id=sha256_hex(self.space_graph), dim=self.space.dim, tau=0.3)

    def pixels(self, n: int, side: int, seed: int = 1) -> NDArray[np.uint8]:
        return np.random.default_rng(seed).integers(0, 256, size=(n, side, side, 1), dtype=np.uint8)


@pytest.fixture(scope="session")
def built() -> Built:
    model = build_model(LINE.learning, classes=3, channels=1, seed=1).eval()
    space = build_space(LINE.space, channels=1, seed=2).eval()
    names, share = LINE.class_names, LINE.geometry.top_share
    scorer, masker = (kind(model, LINE.grid, top_share=share) for kind in (TaskGraph, MaskGraph))
    task = export_task(scorer, LINE.grid, line="steel", release=RELEASE, classes=names)
    mask = export_mask(masker, LINE.grid, line="steel", release=RELEASE, classes=names)
    return Built(LINE, model, space, task, mask, export_space(space, LINE.grid, line="steel"))
