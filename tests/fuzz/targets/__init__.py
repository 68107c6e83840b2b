"""What is fuzzed: one module a target.

Each has `SHOWS`, the property that it is evidence for; `PARSERS`, the functions `..._untrusted` that it is for;
`one_input(data)`, which raises nothing whatever `data` is unless something is wrong; and `seeds()`, where a fuzzer
begins.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

NAMES = tuple(sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"))
CORPUS = Path(__file__).parent.parent / "corpus"


@dataclass(frozen=True)
class Target:
    """One target, loaded."""

    name: str
    shows: str
    parsers: tuple[str, ...]
    one_input: Callable[[bytes], None]
    seeds: Callable[[], dict[str, bytes]]

    @property
    def corpus(self) -> list[Path]:
        """Its inputs that are kept: made ones, and those that a run has found."""
        return sorted((CORPUS / self.name).iterdir())


def load(name: str) -> Target:
    """Imports a target. Nothing of the package is imported before, so that a fuzzer can instrument it."""
    module = importlib.import_module(f"{__name__}.{name}")
    return Target(name, module.SHOWS, module.PARSERS, module.one_input, module.seeds)
