"""The simulated steel line: frames and ground truth as a pure function of seed, line and frame number."""

from shared.steel_line.defects import DEFECTS, DefectClass
from shared.steel_line.line import SteelFrame, SteelLine

__all__ = ["DEFECTS", "DefectClass", "SteelFrame", "SteelLine"]
