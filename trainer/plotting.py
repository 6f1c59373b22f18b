"""Pictures on disk: the one door to matplotlib in the trainer, and what its pictures have in common. Never a screen."""

import io
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from shared.files import write_durably

__all__ = ["COLOURS", "GREY", "INK", "MARKERS", "Axes", "Figure", "Rectangle", "save"]

#: Okabe and Ito's colours, told apart by every eye; what comes beyond the eighth begins again with another marker or line.
COLOURS: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C5A2B", "#000000")
MARKERS: Final = ("o", "s", "^", "D")
INK: Final = "#222222"
GREY: Final = "#888888"


def save(figure: Figure, path: Path, *, dpi: int = 120) -> None:
    """Write a figure as PNG, under the name that was asked for, whole or not at all."""
    for text in figure.findobj(Text):
        # An operator's words are no formula, dollars or not.
        text.set_parse_math(False)
    drawn = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(drawn, format="png", dpi=dpi, facecolor="white")
    write_durably(path, drawn.getvalue())
