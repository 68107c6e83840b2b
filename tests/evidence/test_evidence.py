"""The evidence itself: nothing counts as shown that was not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from . import collect
from .collect import Collector, Evidence
from .report import as_json, as_markdown, overall, semantic_drift

if TYPE_CHECKING:
    from pathlib import Path

PROPERTIES = {"kept": "It is kept", "other": "Another one"}


def collected(source: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Evidence]:
    """What a run of one file of tests shows."""
    monkeypatch.setattr(collect, "PROPERTIES", PROPERTIES)
    (folder / f"test_{folder.name}.py").write_text("import pytest\n" + source)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers = shows\n")
    collector = Collector()
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-c", str(folder / "pytest.ini")]
    pytest.main([*options, str(folder)], plugins=[collector])
    return collector.evidence


def test_a_property_with_a_test_that_passed_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = """
@pytest.mark.shows("kept")
def test_it(record_property):
    record_property("tried", 7)
    record_property("seeds", "0-6")
    record_property("found", "figure: 3")
@pytest.mark.shows("kept", "other")
def test_that(): pass
"""
    evidence = collected(source, tmp_path, monkeypatch)
    kept = evidence["kept"]
    assert (kept.result, kept.passed, kept.tried, kept.seeds, kept.found) == ("holds", 2, 8, ["0-6"], ["figure: 3"])
    assert overall(evidence) == "holds"


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("def test_without_a_mark(): pass", "missing"),
        ("@pytest.mark.shows('kept')\ndef test_it(): assert False", "fails"),
        ("@pytest.mark.shows('kept')\ndef test_it(no_such_fixture): pass", "fails"),
        ("@pytest.mark.shows('kept')\ndef test_it(): pytest.skip('no provers')", "missing"),
        (
            "@pytest.mark.shows('kept')\n@pytest.mark.parametrize('n', [1, 2])\ndef test_it(n): n > 1 or pytest.skip()",
            "incomplete",
        ),
    ],
    ids=["no mark", "failed", "error", "skipped", "partly skipped"],
)
def test_a_property_that_was_not_wholly_shown_does_not_hold(
    source: str, result: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = collected(source, tmp_path, monkeypatch)
    assert evidence["kept"].result == result
    assert overall(evidence) != "holds"


def test_a_mark_that_names_no_property_stops_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    collected("@pytest.mark.shows('typo')\ndef test_it(): pass", tmp_path, monkeypatch)
    assert "typo: not in tests/evidence/properties.py" in capsys.readouterr().err


def test_json_and_table_have_every_property() -> None:
    evidence = {name: Evidence(sentence, passed=1, tried=1_000) for name, sentence in PROPERTIES.items()}
    told = json.loads(as_json(evidence, "small"))
    assert told["result"] == "holds"
    assert told["properties"]["kept"]["tried"] == 1_000
    assert "| It is kept | holds | 1 | 1,000 |" in as_markdown(evidence, "small")


@pytest.mark.parametrize(
    ("found", "drift"),
    [
        (Evidence("", passed=1), False),
        (Evidence("", passed=1, failed=["one"]), True),
        (Evidence("", passed=1, skipped=["one"]), None),
        (Evidence(""), None),
    ],
)
def test_no_drift_between_profiles_is_claimed_that_was_not_looked_for(found: Evidence, drift: bool | None) -> None:
    evidence = {"same-semantics": found}
    assert semantic_drift(evidence) is drift
    assert json.loads(as_json(evidence, "small"))["semantic_drift"] is drift
    assert semantic_drift({}) is None
