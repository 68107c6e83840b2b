"""Drawings for light and dark pages alike: text and axes have the colour of the page's text, the rest is transparent,
and the colours of what is drawn stand out from white as from black."""

from __future__ import annotations

import io
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from matplotlib import style
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes

COLOURS = ("#3b82c4", "#d97706", "#2f9e6e", "#c2417c", "#8b6fd6", "#8a8f1a", "#d9534f", "#0e9aa7", "#9a7b5f", "#7d8794")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LINES = ("-", "--", "-.", ":")
WIDTH, HEIGHT = 5.6, 4.0  # inches: small enough to be read on a telephone without scrolling

_FIXED_SIZE = re.compile(r' (?:width|height)="[0-9.]+pt"')  # of the whole: the page decides
_TEXT = "#010203"  # becomes the page's own colour
_STYLE: dict[str, object] = {
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _TEXT),
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.size": 10,
    "grid.alpha": 0.18,
    "grid.color": _TEXT,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "securestream",
}


class Drawing:
    """A figure of one or more axes; `.svg` is there when its `with` block has ended."""

    def __init__(self, rows: int, height: float) -> None:
        self._figure = Figure(figsize=(WIDTH, height), layout="constrained")
        self.axes: list[Axes] = [self._figure.add_subplot(rows, 1, row + 1) for row in range(rows)]
        self.svg: str = ""

    @property
    def axis(self) -> Axes:
        """The only one, or the first."""
        return self.axes[0]

    def legend_below(self, columns: int = 3) -> None:
        """One for all axes, where it covers nothing."""
        handles, labels = self.axis.get_legend_handles_labels()
        self._figure.legend(handles, labels, loc="outside lower center", ncols=columns)

    def finish(self) -> None:
        """Becomes an SVG element to stand in a page: its text has the page's colour. Raises `ValueError` for an axis
        without a label; rows share what stands below the last."""
        if not self.axes[-1].get_xlabel() or not all(axis.get_ylabel() for axis in self._figure.axes):
            raise ValueError("an axis without a label")
        file = io.StringIO()
        self._figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
        svg = file.getvalue()
        svg = svg[svg.index("<svg") :].replace(_TEXT, "currentColor")
        self.svg = _FIXED_SIZE.sub("", svg, count=2)


@contextmanager
def drawing(rows: int = 1, height: float = HEIGHT) -> Iterator[Drawing]:
    """To draw in: `with drawing() as plot: plot.axis.plot(...)`, and then `plot.svg`."""
    with style.context(_STYLE):
        plot = Drawing(rows, height)
        yield plot
        plot.finish()
