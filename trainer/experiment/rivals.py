"""The two rivals of the loop: labels by lot from everything the cameras saw, and by lot from the pool. Pure draws.

A rival's labels add up as winnow's do: what it drew stays, and each round draws only what is new.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from shared.config import LineConfig
from trainer.experiment.samples import Place


def draw_stream(
    line: LineConfig, seen: Mapping[str, int], drawn: Sequence[Place], total: int, rng: np.random.Generator
) -> list[Place]:
    """Extend ``drawn`` to ``total`` places, each new one uniform over all patches seen that were not drawn yet.

    ``seen`` says how many frames each ``node/camera`` has delivered.
    """
    simulator = line.simulator
    assert simulator is not None
    rows, cols = line.grid.patch_shape(simulator.height_px, simulator.width_px)
    cameras = sorted(name for name, frames in seen.items() if frames > 0)
    ends = np.cumsum([seen[name] * rows * cols for name in cameras])
    places = list(drawn)
    known = set(places)
    available = int(ends[-1]) if len(ends) else 0
    while len(places) < min(total, available):
        index = int(rng.integers(available))
        camera = int(np.searchsorted(ends, index, side="right"))
        index -= int(ends[camera - 1]) if camera else 0
        node, name = cameras[camera].split("/", 1)
        frame, patch = divmod(index, rows * cols)
        place = Place(node, name, frame, *divmod(patch, cols))
        if place not in known:
            known.add(place)
            places.append(place)
    return places


def draw_pool(ids: Sequence[str], drawn: Sequence[str], total: int, rng: np.random.Generator) -> list[str]:
    """Extend ``drawn`` to ``total`` ids, each new one uniform over the ids that were not drawn yet."""
    known = set(drawn)
    left = [name for name in ids if name not in known]
    more = max(0, total - len(drawn))
    return [*drawn, *(left[index] for index in rng.permutation(len(left))[:more])]
