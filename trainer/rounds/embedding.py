"""Embedding what came without: crops of nodes that had no space yet, of seeds, of another space."""

import numpy as np

from shared.errors import StateError
from trainer.learning.model import best_device
from trainer.representation.space import SpaceModule, StoredSpace, embed, inner, load_space
from trainer.rounds.workbench import Workbench

_AT_ONCE = 64


class Embedder:
    """The line's space at work; its weights are read when the first crop asks for them."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self._module: SpaceModule | None = None

    def catch_up(self, space: str, number: int) -> int:
        """Embed every candidate of the line that has no embedding in its space, and return how many those were."""
        bench = self._bench
        waiting = bench.pool.without_embedding(bench.line.line, space)
        if not waiting:
            return 0
        module = self._loaded(space)
        with bench.progress("embed", number) as step:
            for start in range(0, len(waiting), _AT_ONCE):
                self._embed(module, space, waiting[start : start + _AT_ONCE])
                step(min(start + _AT_ONCE, len(waiting)), len(waiting))
        return len(waiting)

    def _embed(self, module: SpaceModule, space: str, ids: list[str]) -> None:
        bench = self._bench
        try:
            crops = np.stack([crop for _, crop in bench.pool.crops(ids, channels=bench.line.grid.channels)])
        except StateError:
            # Retention dropped one of them meanwhile; those that are left come with the next look at the pool.
            return
        bench.pool.store_embeddings(space, ids, embed(module, inner(crops, bench.line.grid)))

    def _loaded(self, space: str) -> SpaceModule:
        if self._module is None:
            self._module = stored_space(self._bench, space).module.to(best_device())
        return self._module


def stored_space(bench: Workbench, space: str) -> StoredSpace:
    """Read the line's space, and refuse another one than the rounds go by."""
    stored = load_space(bench.space_folder)
    if stored is None or stored.record.id != space:
        found = "nothing" if stored is None else f"space {stored.record.id[:12]}"
        raise StateError(
            f"{bench.space_folder}: holds {found}, the rounds of line {bench.line.line} go by space {space[:12]}; restore the folder"
        )
    return stored
