"""`securestream lab`: what a person sees of it."""

from __future__ import annotations

import json
import re
import shlex
from importlib.util import find_spec
from typing import TYPE_CHECKING

import click
import pytest

from securestream.cli import app, lab, lab_corpora, lazy
from securestream.cli.app import run
from securestream.lab import corpora
from securestream.lab.corpora import CORPORA, CorpusMissing, Source
from securestream.lab.sizes import LOOKS

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
def test_the_examples_parse(example: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sizes.csv").touch()
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


def test_sizes_of_one_s_own_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "s.csv").write_text("1\n2\n3\n3\n")
    json_file = tmp_path / "s.json"
    policies = ["--policy", "none", "--policy", "random:8"]
    assert run(["lab", "sizes", "--csv", str(tmp_path / "s.csv"), *policies, "--looks", "--json", str(json_file)]) == 0
    assert re.search(r"none .*\b3 +1\.50", capsys.readouterr().out)
    data = json.loads(json_file.read_text())
    assert [row["policy"] for row in data["rows"] if "cost" in row] == ["none", "random:8"]
    assert [row["looks"] for row in data["rows"] if row["policy"] == "random:8" and "looks" in row] == list(LOOKS)


def test_the_table_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["lab", "sizes", "--corpus", "autocomplete"]) == 0
    out = capsys.readouterr().out
    assert "buckets:512,4096,16384" in out
    assert max(map(len, re.findall(r"^[a-z-]+[:0-9,]*  .*", out, re.MULTILINE))) <= 80


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        (["sizes", "--policy", "padmé"], "Invalid value for '--policy': a padding is one of: none, full", 2),
        (["sizes", "--corpus", "none"], "Invalid value for '--corpus'", 2),
        (["sizes", "--csv", "{bad}"], "{bad}, line 1: a size is a number of bytes", 2),
        (["sizes", "--csv", "/nowhere"], "Invalid value for '--csv'", 2),
        (["sizes", "--pcap", "{bad}"], "--pcap needs --port, the server's", 2),
        (["sizes", "--port", "0"], "Invalid value for '--port'", 2),
        (["sizes", "--seed", "-1"], "Invalid value for '--seed'", 2),
        (["sizes", "--corpus", "debian-packages"], "no package index here: on Debian, apt-get update", 1),
        (["sizes", "--json", "/nowhere/x.json"], "Invalid value for '--json': there is no folder /nowhere", 2),
        (["sizes", "--markdown", "/"], "Invalid value for '--markdown': / is a folder", 2),
        (["report", "--out", "/nowhere/x.html"], "Invalid value for '--out': there is no folder /nowhere", 2),
        (["nothing"], "No such command 'nothing'", 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_gets_one_line(
    arguments: list[str],
    message: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(corpora, "APT_LISTS", tmp_path)
    bad = tmp_path / "bad.csv"
    bad.write_text("many\n")
    assert run(["lab", *(argument.replace("{bad}", str(bad)) for argument in arguments)]) == status
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"securestream: {message}".replace("{bad}", str(bad)))


def test_the_oracle_s_table_marks_chance(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    json_file = tmp_path / "o.json"
    options = ["--policy", "none", "--attacker", "single", "--trials", "2", "--json", str(json_file)]
    assert run(["lab", "oracle", *options]) == 0
    assert "chance is 6.2%" in capsys.readouterr().out
    (row,) = json.loads(json_file.read_text())["rows"]
    assert (row["policy"], row["attacker"], row["trials"], row["requests"]) == ("none", "single", 2, 16)


def test_tables_can_be_had_for_a_documentation(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "t.md"
    assert run(["lab", "sizes", "--corpus", "requests", "--policy", "padme", "--looks", "--markdown", str(page)]) == 0
    lines = page.read_text().splitlines()
    assert "* requests (GENERATED, seed 1): 2,000 answers of log-normal size, median 4,000 bytes" in lines
    assert [line.count("|") for line in lines if line.startswith("|")] == [11, 11, 11, 11, 11, 11]
    assert (
        run(["lab", "oracle", "--policy", "none", "--attacker", "single", "--trials", "1", "--markdown", str(page)])
        == 0
    )
    assert "| none, single |" in page.read_text()
