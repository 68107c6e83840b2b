"""A plugin of pytest that notes, for each property, which tests showed it and what they tried."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from .properties import PROPERTIES

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass
class Evidence:
    """What there is for one property. `tried`: what the tests counted themselves, and one for each that doesn't."""

    sentence: str
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    tried: int = 0
    seeds: list[str] = field(default_factory=list)
    found: list[str] = field(default_factory=list)
    seconds: float = 0

    @property
    def result(self) -> str:
        """`holds` only if something has passed, nothing failed, and nothing was skipped."""
        if self.failed:
            return "fails"
        if not self.passed:
            return "missing"
        return "incomplete" if self.skipped else "holds"

    def note(self, report: pytest.TestReport) -> None:
        """One phase of one test. A test counts when it was called; a failing set-up or tear-down fails it."""
        self.seconds += report.duration
        if report.failed:
            self.failed.append(report.nodeid)
        elif report.skipped:
            self.skipped.append(f"{report.nodeid}: {_reason(report)}")
        elif report.when == "call":
            self.passed += 1
            self._note_what_was_tried(report.user_properties)

    def _note_what_was_tried(self, told: Iterable[tuple[str, object]]) -> None:
        counts = [value for name, value in told if name == "tried" and isinstance(value, int)]
        self.tried += sum(counts) if counts else 1
        self.seeds += [str(value) for name, value in told if name == "seeds"]
        self.found += [str(value) for name, value in told if name == "found"]


def _reason(report: pytest.TestReport) -> str:
    return str(report.longrepr[-1]) if isinstance(report.longrepr, tuple) else str(report.longrepr)


class Collector:
    """Give it to `pytest.main`; afterwards `evidence` has every property, also those without a test."""

    def __init__(self) -> None:
        self.evidence: dict[str, Evidence] = {name: Evidence(sentence) for name, sentence in PROPERTIES.items()}
        self._shown_by: dict[str, set[str]] = {}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            names = {name for mark in item.iter_markers("shows") for name in mark.args}
            if unknown := names - PROPERTIES.keys():
                raise pytest.UsageError(
                    f"{item.nodeid} shows {', '.join(unknown)}: not in tests/evidence/properties.py"
                )
            self._shown_by[item.nodeid] = names

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name in self._shown_by.get(report.nodeid, ()):
            self.evidence[name].note(report)
