"""What an experiment found, and all that it takes to repeat it.

Every result is a frozen dataclass and becomes JSON by `to_json`. The same command, seed and corpus give the same
figures, to the last bit, on one machine or many; the versions say with what.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


@dataclass(frozen=True)
class Provenance:
    """Where data comes from. `kind` is "real" for what was found on this machine, "generated" for what a random
    generator made (`details` has its seed), "yours" for a file of the user's."""

    name: str
    kind: Literal["real", "generated", "yours"]
    text: str
    count: int
    digest: str  # of the data: the first 16 hexadecimal digits of its SHA-256
    details: Mapping[str, str] = field(default_factory=dict)


def digest_of(numbers: Sequence[int]) -> str:
    """Tells corpora apart: for `Provenance.digest`."""
    return hashlib.sha256(",".join(map(str, numbers)).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Experiment:
    """One run of one command. `rows` are dataclasses, whichever the experiment makes."""

    kind: str
    command: str
    seed: int
    corpora: tuple[Provenance, ...]
    rows: tuple[object, ...]
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: versions())


def to_json(result: object) -> Json:
    """A dataclass, or what one is made of, as JSON has it. What is no finite number becomes null. Raises `TypeError`
    for what has no form in JSON."""
    if dataclasses.is_dataclass(result) and not isinstance(result, type):
        return {item.name: to_json(getattr(result, item.name)) for item in dataclasses.fields(result)}
    if isinstance(result, dict):
        return {str(name): to_json(value) for name, value in result.items()}
    if isinstance(result, list | tuple):
        return [to_json(value) for value in result]
    if isinstance(result, float):
        return result if math.isfinite(result) else None
    if result is None or isinstance(result, bool | int | str):
        return result
    raise TypeError(f"{type(result).__name__} has no form in JSON")


def as_text(result: object) -> str:
    """The JSON of a result, for people and diff."""
    return json.dumps(to_json(result), indent=2, allow_nan=False) + "\n"


def versions() -> dict[str, str]:
    """With what it was made."""
    packages = ("securestream", "trio", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{name: _version(name) for name in packages}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def generator(seed: int, *names: str) -> np.random.Generator:
    """Randomness for one part of an experiment: it depends on the seed and the part's names, and not on what else
    is run, in which order or where."""
    digest = hashlib.sha256("\0".join(names).encode()).digest()
    words = [int.from_bytes(digest[start : start + 4], "little") for start in range(0, 16, 4)]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))
