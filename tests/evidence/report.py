"""What was collected, as JSON for programs and as a table for the docs."""

from __future__ import annotations

import datetime as dt
import json
import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .collect import Evidence

PACKAGES = (
    *("securestream", "trio", "pynacl", "cryptography", "pyopenssl"),
    *("pytest", "pytest-trio", "hypothesis", "atheris", "noiseprotocol"),
)


def as_json(evidence: Mapping[str, Evidence], effort: str) -> str:
    """Everything."""
    properties = {name: {"result": found.result, **asdict(found)} for name, found in evidence.items()}
    whole = {
        "date": _today(),
        "effort": effort,
        "result": overall(evidence),
        "semantic_drift": semantic_drift(evidence),
        "versions": versions(),
    }
    return json.dumps({**whole, "properties": properties}, indent=2) + "\n"


def overall(evidence: Mapping[str, Evidence]) -> str:
    """`holds` only where every property does."""
    results = {found.result for found in evidence.values()}
    return next((worst for worst in ("fails", "missing", "incomplete") if worst in results), "holds")


def semantic_drift(evidence: Mapping[str, Evidence]) -> bool | None:
    """Whether the profile dev means something else than secure: None where that was not tried, or not wholly."""
    results = {"holds": False, "fails": True}
    return results.get(evidence["same-semantics"].result) if "same-semantics" in evidence else None


def as_markdown(evidence: Mapping[str, Evidence], effort: str) -> str:
    """The docs' table: no names of tests, which the JSON has."""
    facts = ", ".join(f"{package} {number}" for package, number in versions().items())
    lines = [
        "# What was tried",
        "",
        f"Made by `python -m tests.evidence --effort {effort}` on {_today()}: {facts}.",
        "",
    ]
    lines += ["| Property | Result | Tests | Tried | Seeds | Found |", "|---|---|---:|---:|---|---|"]
    for found in evidence.values():
        seeds, figures = ", ".join(dict.fromkeys(found.seeds)), "; ".join(found.found)
        lines.append(
            f"| {found.sentence} | {found.result} | {found.passed:,} | {found.tried:,} | {seeds} | {figures} |"
        )
    return "\n".join(lines) + "\n"


def versions() -> dict[str, str]:
    """What it was tried with."""
    return {"Python": platform.python_version(), **{package: _version(package) for package in PACKAGES}}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _today() -> str:
    return dt.datetime.now(dt.UTC).date().isoformat()
