"""`lab report`: one page that needs nothing else; every axis has its label, every figure its box."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest

from securestream.cli.app import run
from securestream.lab import report
from securestream.lab.corpora import make_corpus
from securestream.lab.drawing import drawing
from securestream.lab.figures import oracle
from securestream.lab.oracle import ATTACKERS
from securestream.lab.policies import STANDARD
from securestream.lab.report import Findings, collect, draw, page, steps
from securestream.lab.results import Experiment

if TYPE_CHECKING:
    from pathlib import Path

    from securestream.lab.figures import ReportFigure

CORPORA = [
    make_corpus("mine", "yours", "numbers <&>", list(range(20, 40_000, 997)), {"file": "<script>"}),
    make_corpus("other", "generated", "numbers", list(range(1, 300, 7)), {"seed": "1"}),
]
TITLES = 11


pytestmark = pytest.mark.xdist_group("lab report")  # in one process: what is looked at is made once


@pytest.fixture(scope="module")
def findings() -> Findings:
    told: list[str] = []
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as executor:
        few = {name: ATTACKERS[name] for name in ("single", "fillers:4")}
        patch.setattr(report, "ATTACKERS", few)
        patch.setattr(report, "ORACLE_POLICIES", ("none", "padme"))
        patch.setattr(report, "DEFENCES", ("none", "padme"))
        patch.setattr(report, "PAGES", 3)
        patch.setattr(report, "VISITS", 5)
        patch.setattr(report, "SHAPES", ("off", "cover:steady"))
        found = collect(CORPORA, 2, 1, executor, told.append)
        assert len(told) == steps(CORPORA)
    return found


@pytest.fixture(scope="module")
def figures(findings: Findings) -> list[ReportFigure]:
    return draw(findings)


@pytest.fixture(scope="module")
def text(findings: Findings, figures: list[ReportFigure]) -> str:
    provenances = tuple(corpus.provenance for corpus in CORPORA)
    return page(findings, figures, Experiment("report", "securestream lab report <x>", 1, provenances, findings.rows))


class Reader(HTMLParser):
    """Notes what a browser would fetch, and which elements stand open."""

    EMPTY = frozenset({"meta", "br", "link", "use", "path", "rect", "image"})

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.fetched += [value for name, value in attrs if name in {"src", "href", "xlink:href"} and value]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.EMPTY:
            assert self.open.pop() == tag


def test_the_page_needs_nothing_else(text: str) -> None:
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert all(place.startswith(("#", "data:")) for place in reader.fetched)
    assert "url(http" not in text
    assert "@import" not in text


def test_each_figure_says_how_it_was_made_and_what_it_does_not_show(text: str) -> None:
    assert text.count("<figure>") == text.count('<svg role="img" aria-label="') == TITLES
    assert text.count("How it was made.") == text.count("What this does not show.") == TITLES


@pytest.mark.parametrize("label", ["set_xlabel", "set_ylabel"])
def test_an_axis_without_a_label_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match="without a label"), drawing() as plot:
        getattr(plot.axis, label)("bytes")


def test_no_two_policies_have_the_same_mark(figures: list[ReportFigure]) -> None:
    legend = figures[0].svg.partition('<g id="legend_1">')[2]
    marks = re.findall(r'<use xlink:href="#(\w+)"[^>]* style="([^"]*)"', legend)
    assert len(set(marks)) == len(marks) == len(STANDARD)


def test_drawings_take_the_colour_of_the_page(figures: list[ReportFigure]) -> None:
    for figure in figures:
        assert "currentColor" in figure.svg
        assert not re.search(r"#010203|#ffffff|#000000|\bblack\b|\bwhite\b", figure.svg), figure.title
        assert not re.search(r'<svg[^>]* (?:width|height)="', figure.svg)


def test_a_drawing_is_the_same_each_time(findings: Findings, figures: list[ReportFigure]) -> None:
    assert oracle(findings.oracle) == next(figure for figure in figures if "BREACH" in figure.title)


def test_what_comes_from_outside_is_text_and_no_markup(text: str) -> None:
    assert "numbers &lt;&amp;&gt;" in text
    assert "file: &lt;script&gt;" in text
    assert "<script" not in text
    assert "report &lt;x&gt;" in text


def test_generated_data_says_so(text: str) -> None:
    assert "<strong>other</strong>, <strong>generated</strong>" in text


def test_every_policy_has_a_line_for_each_corpus(text: str) -> None:
    for name in STANDARD:
        assert text.count(f"<tr><td>{name}</td>") >= len(CORPORA)


def test_a_drawing_that_failed_leaves_no_settings_behind() -> None:
    from matplotlib import rcParams

    before = dict(rcParams)
    with pytest.raises(ZeroDivisionError), drawing():
        raise ZeroDivisionError
    assert dict(rcParams) == before


def test_the_command_writes_a_page_and_its_figures(
    findings: Findings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "ATTACKERS", {"single": ATTACKERS["single"]})
    monkeypatch.setattr(report, "ORACLE_POLICIES", ("none",))
    monkeypatch.setattr(report, "DEFENCES", ())
    monkeypatch.setattr(report, "SHAPES", ())
    monkeypatch.setattr(report, "draw", lambda findings: [oracle(findings.oracle)])
    (tmp_path / "mine.csv").write_text("size\n10\n20\n")
    files = ["--csv", str(tmp_path / "mine.csv"), "--out", str(tmp_path / "report.html")]
    assert run(["lab", "report", *files, "--trials", "1", "--cores", "1"]) == 0
    assert (tmp_path / "report.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    data = json.loads((tmp_path / "report.json").read_text())
    assert [corpus["kind"] for corpus in data["corpora"]] == ["yours"]
    assert any(row.get("attacker") == "single" for row in data["rows"])
    capsys.readouterr()
    assert run(["lab", "report", "--out", str(tmp_path / "x.json")]) == 2
