"""The steel line: what the camera sees at a frame number, with its ground truth.

A frame is a pure function of the seed, the line, the frame number and the settings the line was made with. Each defect
has its own random stream, so leaving a class out, or changing its rate, moves no other defect and no grain. Another
numpy build may round a pixel differently by one grey level.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.errors import ConfigError
from shared.steel_line.camera import expose
from shared.steel_line.defects import DEFECTS, FAINT_SHARE, PAINTERS
from shared.steel_line.harmless import HARMLESS
from shared.steel_line.scene import Scene
from shared.steel_line.stamps import place, press, weaken
from shared.steel_line.texture import strip_texture

SMALLEST_PX = 16
MOST_PER_FRAME = 100
_DESIGN_PX = 512


@dataclass(frozen=True, slots=True)
class SteelFrame:
    """One frame: the image and the class of each pixel, 0 for background, i for the i-th class of the line."""

    image: NDArray[np.uint8]
    mask: NDArray[np.uint8]


class SteelLine:
    """A camera above a steel strip, simulated.

    ``scale`` sizes defects and grain: 1.0 suits a 512-pixel frame, 0.5 shows the same field of view in 256 pixels.
    The rates of ``DEFECTS`` hold for that field of view and grow with the area seen; ``rates`` replaces them by the
    expected number per frame as it is.
    """

    def __init__(
        self,
        seed: int,
        line: str,
        *,
        height_px: int = 512,
        width_px: int = 512,
        classes: Sequence[str] | None = None,
        scale: float = 1.0,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        known = [defect.name for defect in DEFECTS]
        self.classes: tuple[str, ...] = tuple(known) if classes is None else tuple(classes)
        self._scene = Scene(int(seed), str(line), int(height_px), int(width_px), float(scale))
        _refuse(self._scene, self.classes, rates or {})
        views = height_px * width_px / (_DESIGN_PX * scale) ** 2
        law = {defect.name: defect.rate * views for defect in DEFECTS} | dict(rates or {})
        self._values = {name: index for index, name in enumerate(self.classes, start=1)}
        self._rates = np.array([law[name] if name in self._values else 0.0 for name in known])
        self._harmless_rates = np.array([rate * views for _, rate, _ in HARMLESS])

    @property
    def rates(self) -> dict[str, float]:
        """The expected number of defects per frame, by class."""
        known = [defect.name for defect in DEFECTS]
        return {name: float(self._rates[known.index(name)]) for name in self.classes}

    def frame(self, number: int) -> SteelFrame:
        """Draw the frame with this number."""
        return self._draw(number, None)

    def planted(self, number: int, defect: str) -> SteelFrame:
        """Draw the frame with this number and one more defect of a class on it, for validation sets."""
        if defect not in self._values:
            raise ConfigError(
                f"steel line {self._scene.line}: cannot plant {defect!r}; its classes are {', '.join(self.classes)}"
            )
        return self._draw(number, defect)

    def _draw(self, number: int, defect: str | None) -> SteelFrame:
        """Draw the strip, what lies on it and what is wrong with it, and expose it."""
        number = int(number)  # a numpy integer would name other streams
        if number < 0:
            raise ConfigError(
                f"steel line {self._scene.line}: frame number is {number}, the first is 0; ask for 0 or more"
            )
        scene = self._scene
        strip = strip_texture(scene, number)
        mask = np.zeros(strip.shape, dtype=np.uint8)
        for kind, turn in _occurring(scene.stream("harmless", number), self._harmless_rates):
            name, _, painter = HARMLESS[kind]
            rng = scene.stream(name, number, turn)
            stamp = painter(rng, scene)
            press(stamp, place(rng, scene, stamp), strip, None, 0)
        found = _occurring(scene.stream("defects", number), self._rates)
        todo: list[tuple[str, int | str]] = [(DEFECTS[kind].name, turn) for kind, turn in found]
        if defect is not None:
            todo.append((defect, "planted"))  # last, so that nothing covers it
        for name, which in todo:
            rng = scene.stream(name, number, which)
            stamp = weaken(rng, PAINTERS[name](rng, scene), share=FAINT_SHARE[name])
            press(stamp, place(rng, scene, stamp), strip, mask, self._values[name])
        return SteelFrame(expose(strip, scene, number), mask)


def _occurring(rng: np.random.Generator, rates: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Draw what occurs in one frame as (which, how-manieth), each a Poisson count of its own uniform number."""
    luck = rng.random(len(rates))
    found: list[tuple[int, int]] = []
    for which in np.flatnonzero(luck > np.exp(-rates)):
        chance = below = math.exp(-rates[which])
        count = 0
        while luck[which] > below and chance > 0:
            count += 1
            chance *= rates[which] / count
            below += chance
        found.extend((int(which), turn) for turn in range(count))
    return found


def _refuse(scene: Scene, classes: tuple[str, ...], rates: Mapping[str, float]) -> None:
    """Raise one error that names everything a line cannot be made with."""
    known = [defect.name for defect in DEFECTS]
    problems: list[str] = []
    if min(scene.shape) < SMALLEST_PX:
        problems.append(
            f"frame is {scene.height_px} x {scene.width_px} px, the smallest is {SMALLEST_PX} x {SMALLEST_PX}; ask for a larger one"
        )
    if not (math.isfinite(scene.scale) and scene.scale > 0):
        problems.append(f"scale is {scene.scale}, it must be above 0; 1.0 suits 512 px frames")
    if unknown := sorted({*classes, *rates} - {*known}):
        problems.append(f"no defect is called {', '.join(map(repr, unknown))}; known ones are {', '.join(known)}")
    if not classes or len(set(classes)) < len(classes):
        problems.append(f"classes are {list(classes)}, each must be named once; leave them out for all {len(known)}")
    for name, rate in rates.items():
        if not 0 <= rate <= MOST_PER_FRAME:
            problems.append(
                f"rate of {name} is {rate}, it must be from 0 to {MOST_PER_FRAME}; give the expected number per frame"
            )
    if problems:
        subject = f"steel line {scene.line}"
        raise ConfigError(f"{subject}: {'; '.join(problems)}", problems=tuple(f"{subject}: {p}" for p in problems))
