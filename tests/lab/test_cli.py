"""`securestream lab`: what a person sees of it."""

from __future__ import annotations

import json
import shlex
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
import pytest

from securestream.cli import app, lab, lab_corpora, lazy
from securestream.cli.app import run
from securestream.lab.corpora import CORPORA, CorpusMissing, Source

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from pathlib import Path

    from securestream.lab.corpora import Corpus

CONTEXT = click.Context(lab.lab)
NAMES = lab.lab.list_commands(CONTEXT)


def command_of(name: str) -> click.Command:
    found = lab.lab.get_command(CONTEXT, name)
    assert found is not None
    return found


@pytest.mark.parametrize("name", NAMES)
def test_help_has_examples_and_fits_a_terminal(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", name, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Examples:" in text
    assert max(map(len, text.splitlines())) <= 80


def examples() -> list[list[str]]:
    text = "\n".join([lab._EXAMPLES, *(command_of(name).epilog or "" for name in NAMES)]).replace("\\\n", " ")
    return [shlex.split(line.partition("securestream lab ")[2]) for line in text.splitlines() if "securestream" in line]


@pytest.mark.parametrize("example", examples(), ids=" ".join)
def test_the_examples_parse(example: list[str]) -> None:
    command_of(example[0]).make_context(example[0], example[1:])


def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def without(name: str) -> ModuleSpec | None:
        return None if name == "sklearn" else find_spec(name)

    monkeypatch.setattr(lazy, "find_spec", without)
    assert run(["lab", "corpora"]) == 1
    assert capsys.readouterr().err == "securestream: sklearn not installed: pip install 'securestream[cli,lab]'\n"
    assert run(["--help"]) == 0
    assert "lab" in app.securestream.list_commands(click.Context(app.securestream))


def test_corpora_are_listed_with_where_they_come_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(seed: int) -> Corpus:
        raise CorpusMissing("ask for it")

    few = {name: CORPORA[name] for name in ("installed-files", "requests")}
    monkeypatch.setattr(lab_corpora, "CORPORA", {**few, "none-such": Source("nothing", missing)})
    assert run(["lab", "corpora", "--json", str(tmp_path / "c.json")]) == 0
    out = capsys.readouterr().out
    assert "requests (GENERATED, seed 1): 2,000 answers" in out
    assert "installed-files (found here)" in out
    assert "not here: none-such: ask for it" in out
    named = [corpus["name"] for corpus in json.loads((tmp_path / "c.json").read_text())["corpora"]]
    assert named == list(few)
