"""Pre-labels: what the newest run sees in the crops that people are about to paint."""

from collections.abc import Iterator, Sequence

import numpy as np

from shared.config import LineConfig
from trainer.labelling.folder import Prelabel
from trainer.labelling.masks import Mask
from trainer.paths import TrainerPaths
from trainer.pool.pool import Pool
from trainer.standing import newest_run

_AT_ONCE = 32


def newest_prelabel(pool: Pool, line: LineConfig, paths: TrainerPaths) -> Prelabel | None:
    """Return what paints with the line's newest run; None before the first, or when it knew other classes."""
    run = newest_run(pool, line.line)
    if run is None:
        return None
    from trainer.learning.evaluate import predict  # noqa: PLC0415  # torch only where there is a run
    from trainer.learning.model import best_device  # noqa: PLC0415  # as above
    from trainer.learning.weights import load_run  # noqa: PLC0415  # as above

    model, record = load_run(paths.runs / run)
    if record.classes != line.class_names or record.channels != line.grid.channels:
        return None
    model.to(best_device())

    def paint(ids: Sequence[str]) -> Iterator[tuple[str, Mask]]:
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            crops = np.stack([crop for _, crop in pool.crops(some, channels=line.grid.channels)])
            yield from zip(some, predict(model, crops), strict=True)

    return paint
