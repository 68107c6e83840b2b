"""`securestream lab`: what a padding policy hides, and what it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import click

from .lazy import LazyGroup

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_EXAMPLES = """\b
Examples:
  securestream lab corpora
  securestream lab sizes --corpus debian-packages
  securestream lab pages --policy none --policy padme
  securestream lab oracle --policy padme
  securestream lab shaping
  securestream lab sweep --out results
  securestream lab report --out report.html
"""


class _Lab(LazyGroup):
    modules: ClassVar[Mapping[str, str]] = {
        "corpora": "lab_corpora",
        "sizes": "lab_sizes",
        "pages": "lab_pages",
        "oracle": "lab_oracle",
        "shaping": "lab_shaping",
        "sweep": "lab_sweep",
        "report": "lab_report",
    }
    requires: ClassVar[Sequence[str]] = ("numpy", "sklearn", "matplotlib")
    extra = "cli,lab"


@click.group(cls=_Lab, epilog=_EXAMPLES)
def lab() -> None:
    """Measures padding policies: what they hide and what they cost.

    Everything runs on this machine, on the code that pads real streams. docs/padding.md is for who only wants to
    know which policy to set, docs/lab.md for who experiments.
    """
