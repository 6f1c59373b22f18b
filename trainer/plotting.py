"""Pictures on disk: the one door to matplotlib in the trainer, and what its pictures have in common. Never a screen."""

from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

__all__ = ["COLOURS", "GREY", "INK", "MARKERS", "Axes", "Figure", "Rectangle", "save"]

#: Okabe and Ito's colours, told apart by every eye; what comes beyond the eighth begins again with another marker or line.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C5A2B", "#000000")
MARKERS: Final = ("o", "s", "^", "D")
INK: Final = "#222222"
GREY: Final = "#888888"


def save(figure: Figure, path: Path, *, dpi: int = 120) -> None:
    """Write a figure as PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_figure(path, dpi=dpi, facecolor="white")
