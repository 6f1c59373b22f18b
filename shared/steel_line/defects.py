"""The 18 defect classes of the simulated line: names, colours, rates and painters.

Rates fall by the same factor from class to class, a long tail: the first occurs in every twentieth frame, the last in
every five-thousandth.
"""

from dataclasses import dataclass

from shared.steel_line import areal, linear, relief
from shared.steel_line.stamps import Painter


@dataclass(frozen=True, slots=True)
class DefectClass:
    """A kind of defect; ``rate`` is the expected number per 512 x 512 frame at scale 1."""

    name: str
    colour: str
    rate: float


_TABLE: tuple[tuple[str, str, float, Painter], ...] = (
    ("scratch", "#4e9bff", 5.0e-2, linear.scratch),
    ("rolled-in-scale", "#ff7f0e", 3.6e-2, areal.rolled_in_scale),
    ("inclusion", "#e6194b", 2.6e-2, linear.inclusion),
    ("pitting", "#bcbd22", 1.9e-2, areal.pitting),
    ("patches", "#3cb44b", 1.36e-2, areal.patches),
    ("oil-spot", "#911eb4", 9.8e-3, areal.oil_spot),
    ("crazing", "#42d4f4", 7.1e-3, areal.crazing),
    ("water-stain", "#aec7e8", 5.1e-3, areal.water_stain),
    ("roll-mark", "#f032e6", 3.7e-3, relief.roll_mark),
    ("dent", "#469990", 2.7e-3, relief.dent),
    ("sliver", "#ffe119", 1.9e-3, linear.sliver),
    ("rust", "#9a6324", 1.4e-3, areal.rust),
    ("edge-crack", "#800000", 1.0e-3, linear.edge_crack),
    ("blister", "#bfef45", 7.3e-4, relief.blister),
    ("chatter", "#808000", 5.3e-4, areal.chatter),
    ("crack", "#fa6e79", 3.8e-4, linear.crack),
    ("weld-line", "#dcbeff", 2.8e-4, linear.weld_line),
    ("hole", "#ffffff", 2.0e-4, relief.hole),
)

DEFECTS: tuple[DefectClass, ...] = tuple(DefectClass(name, colour, rate) for name, colour, rate, _ in _TABLE)
# What goes through the strip or starts at its edge always stands out; of the rest one in four is faint.
_ALWAYS_CLEAR = ("edge-crack", "weld-line", "hole")
FAINT_SHARE: dict[str, float] = {name: 0.0 if name in _ALWAYS_CLEAR else 0.25 for name, *_ in _TABLE}
PAINTERS: dict[str, Painter] = {name: painter for name, _, _, painter in _TABLE}
