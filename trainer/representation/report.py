"""The report of a space: how many directions it uses, and whether what belongs together lies together.

Twins are a patch and an augmented view of it: an encoder that cannot find a patch by its view tells patches apart by
chance. Classes are only reported on; nothing here is trained with labels.
"""

from collections.abc import Callable

import msgspec
import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray

from shared.errors import InputError
from shared.geometry import Image
from trainer.representation.augment import RecipeName, recipe_for, view
from trainer.representation.measures import (
    Floats,
    class_chance,
    class_share,
    effective_rank,
    participation_ratio,
    twin_share,
)

_AT_ONCE = 256


class SpaceQuality(Struct, frozen=True, kw_only=True):
    """What was measured of a space on some patches.

    Attributes:
        space: The space's id.
        source: Where its encoder comes from.
        patches: How many patches were looked at.
        dim: Numbers per embedding.
        seed: Of the views.
        effective_rank: exp of the entropy of the spectrum.
        participation_ratio: ``(sum v)^2 / sum v^2`` of its variances.
        twin_share: Of the patches, how many are the nearest of all to their own view.
        twin_chance: What neighbours by lot would give.
        classed: Of how many patches the class is known.
        class_share: Of those, how many have a nearest neighbour of their class among them; None for fewer than two.
        class_chance: What neighbours by lot would give.
    """

    space: str
    source: str
    patches: int
    dim: int
    seed: int
    effective_rank: float
    participation_ratio: float
    twin_share: float
    twin_chance: float
    classed: int = 0
    class_share: float | None = None
    class_chance: float | None = None

    def to_json(self) -> bytes:
        """Write the report for machines."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"

    def text(self) -> str:
        """Write the report for people, a line for each measure."""
        lines = [
            f"space {self.space[:12]} ({self.source}), {self.patches} patches, seed {self.seed}",
            f"directions: effective rank {self.effective_rank:.1f}, participation ratio {self.participation_ratio:.1f}, of {self.dim}",
            f"own view nearest: {self.twin_share:.3f} (by lot {self.twin_chance:.3f})",
        ]
        if self.class_share is not None:
            lines.append(
                f"neighbour of the same class: {self.class_share:.3f} (by lot {self.class_chance:.3f}), of {self.classed} labelled"
            )
        return "\n".join(lines)


def measure_space(
    embed: Callable[[Image], Floats],
    patches: Image,
    *,
    space: str,
    source: str,
    seed: int,
    recipe: RecipeName | None = None,
    classes: NDArray[np.intp] | None = None,
) -> SpaceQuality:
    """Measure a space on patches ``(n, p, p, c)`` that may have been trained with or not.

    Args:
        embed: Turns patches into unit rows.
        patches: At least two.
        space: Its id.
        source: Where its encoder comes from.
        seed: Of the views.
        recipe: How views differ; by the channels when absent.
        classes: One for each patch, below 0 where it is not known.
    """
    n = len(patches)
    if n < 2:
        raise InputError(f"space {space[:12]}: {n} patches, a report needs at least 2; give more")
    if classes is not None and len(classes) != n:
        raise InputError(f"space {space[:12]}: {n} patches and {len(classes)} classes; give one class for each patch")
    rows = embed(patches)
    known = np.flatnonzero(classes >= 0) if classes is not None else np.zeros(0, dtype=np.intp)
    labelled = None if classes is None or len(known) < 2 else classes[known]
    twins = embed(views_of(patches, seed=seed, recipe=recipe))
    return SpaceQuality(
        space=space,
        source=source,
        patches=n,
        dim=rows.shape[1],
        seed=seed,
        effective_rank=effective_rank(rows),
        participation_ratio=participation_ratio(rows),
        twin_share=twin_share(rows, twins),
        twin_chance=1 / n,
        classed=len(known),
        class_share=None if labelled is None else class_share(rows[known], labelled),
        class_chance=None if labelled is None else class_chance(labelled),
    )


def views_of(patches: Image, *, seed: int, recipe: RecipeName | None = None) -> Image:
    """Draw one view of each patch, as pixels again."""
    drawn = recipe_for(patches.shape[-1], recipe)
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for start in range(0, len(patches), _AT_ONCE):
        pixels = torch.from_numpy(patches[start : start + _AT_ONCE]).permute(0, 3, 1, 2).float()
        seen = view(pixels, drawn, generator).round().clamp(0, 255).to(torch.uint8)
        parts.append(seen.permute(0, 2, 3, 1).contiguous().numpy())
    return np.concatenate(parts)
