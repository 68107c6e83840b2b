"""Drawings as SVG: lines, boxes and text, in the colour of the page's text.

A drawing is 360 units wide, so that a phone shows it at its own size. Inside a page (`_ext/diagrams.py` puts it there)
it has the page's colour. As a picture of its own, as a code host shows it, it goes by the reader's own setting of light
and dark: `:root` is the drawing then, and the page otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape
from typing import Literal

WIDTH = 360
LINE = 15  # units from a line of text to the next

STYLE = """
    svg:root { color: #1f2328; background: #fff }
    @media (prefers-color-scheme: dark) { svg:root { color: #e6edf3; background: #0d1117 } }
    .diagram text { font: 12px system-ui, sans-serif; fill: currentColor }
    .diagram .strong { font-weight: 600 }
    .diagram .mono { font-family: ui-monospace, monospace; font-size: 11.5px }
    .diagram .small { font-size: 11px }
    .diagram .line { stroke: currentColor; fill: none }
    .diagram .tint { stroke: currentColor; fill: currentColor; fill-opacity: .07 }
    .diagram .faint { stroke: currentColor; stroke-opacity: .35; fill: none }
    .diagram .head { fill: currentColor }
"""

Anchor = Literal["start", "middle", "end"]


@dataclass
class Drawing:
    """What is drawn so far. `title` is what it shows, in words, for those who don't see it."""

    title: str
    parts: list[str] = field(default_factory=list)

    def text(self, x: float, y: float, text: str, anchor: Anchor = "start", style: str = "") -> None:
        """One line of text, whose foot is at `y`."""
        style = f' class="{style}"' if style else ""
        self.parts.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}"{style}>{escape(text)}</text>')

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str = "line") -> None:
        self.parts.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{style}"/>')

    def box(self, x: float, y: float, width: float, height: float, style: str = "line", radius: float = 4) -> None:
        size = f'width="{width:g}" height="{height:g}" rx="{radius:g}"'
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" {size} class="{style}"/>')

    def arrow(self, x1: float, y1: float, x2: float, y2: float, style: str = "line") -> None:
        """A line with a head at its second end; level or upright."""
        along_x, along_y = (x2 > x1) - (x2 < x1), (y2 > y1) - (y2 < y1)
        self.line(x1, y1, x2 - 7 * along_x, y2 - 7 * along_y, style)
        left, right = (
            f"{x2 - 8 * along_x + side * 4 * along_y:g},{y2 - 8 * along_y + side * 4 * along_x:g}" for side in (-1, 1)
        )
        self.parts.append(f'<path d="M{x2:g},{y2:g} L{left} L{right} Z" class="head"/>')

    def svg(self, height: float) -> str:
        """The whole file."""
        head = f'<svg xmlns="http://www.w3.org/2000/svg" class="diagram" viewBox="0 0 {WIDTH} {height:g}" role="img">'
        body = "\n".join(f"  {part}" for part in self.parts)
        return f"{head}\n  <title>{escape(self.title)}</title>\n  <style>{STYLE}  </style>\n{body}\n</svg>\n"
