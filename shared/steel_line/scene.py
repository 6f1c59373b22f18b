"""The scene: which strip is looked at, by which line, in how many pixels."""

from dataclasses import dataclass

import numpy as np

from shared.steel_line.chance import stream


@dataclass(frozen=True, slots=True)
class Scene:
    """All that a frame depends on besides its number; ``scale`` turns design pixels (a 512-pixel frame) into pixels."""

    seed: int
    line: str
    height_px: int
    width_px: int
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """The frame's rows and columns."""
        return self.height_px, self.width_px

    def px(self, design_px: float) -> float:
        """Turn a length of the 512-pixel design into pixels of this frame."""
        return design_px * self.scale

    def stream(self, *words: int | str) -> np.random.Generator:
        """Open the random stream that these words name on this line; frames of any size share it."""
        return stream(self.seed, self.line, *words)
