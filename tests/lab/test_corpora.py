"""Corpora: real where the machine has them, and always with where they come from."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from securestream.lab import corpora, generated
from securestream.lab.corpora import CORPORA, CorpusMissing, make_corpus
from securestream.lab.pydoc_pages import pydoc_pages
from securestream.lab.results import digest_of

if TYPE_CHECKING:
    from pathlib import Path


def test_empty_objects_are_left_out_and_counted() -> None:
    corpus = make_corpus("x", "yours", "numbers", [3, 0, 5, 0])
    assert corpus.sizes == (3, 5)
    assert corpus.provenance.count == 2
    assert corpus.provenance.details == {"empty objects left out": "2"}
    assert corpus.provenance.digest == digest_of([3, 5]) != digest_of([35])


def test_a_corpus_of_nothing_is_none() -> None:
    with pytest.raises(CorpusMissing, match="no object"):
        make_corpus("x", "real", "nothing", [0])


@pytest.mark.parametrize("name", ["requests", "keystrokes"])
def test_generated_ones_say_so_and_depend_on_their_seed_only(name: str) -> None:
    first, again, other = (CORPORA[name].load(seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first.provenance.kind == "generated"
    assert first.provenance.details["seed"] == "1"


def test_log_normal_sizes_have_the_median_that_was_asked_for() -> None:
    sizes = sorted(generated.log_normal_sizes(7, 10_001, median=4_000.0, sigma=1.5))
    assert 3_800 < sizes[5_000] < 4_200
    assert sizes[0] >= 1


def test_installed_files_are_those_of_this_environment() -> None:
    corpus = CORPORA["installed-files"].load(1)
    assert corpus.provenance.kind == "real"
    assert "trio " in corpus.provenance.details["distributions"]
    assert len(corpus.sizes) > 100


def test_pages_of_pydoc_are_pages() -> None:
    pages = pydoc_pages(3)
    assert list(pages) == sorted(pages)
    assert len(pages) == 3
    assert all(b"<html" in page for page in pages.values())


def test_pages_of_pydoc_are_the_same_in_each_run_and_show_nothing_of_it() -> None:
    program = "from securestream.lab.pydoc_pages import pydoc_pages as p; print(*p(35).values(), sep=chr(10))"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", f"{extra}; {program}", *extra],
            check=True,
            capture_output=True,
            timeout=120,
            env={**os.environ, "PYTHONHASHSEED": seed, "SECRET_OF_MINE": f"{seed} is secret"},
        ).stdout
        for seed, extra in (("1", "import json"), ("2", "import email.message, decimal"))
    ]
    assert len(outputs[0]) > 10**6
    assert outputs[0] == outputs[1]
    assert b"SECRET_OF_MINE" not in outputs[0]


def test_a_machine_without_a_package_index_is_told_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(corpora, "APT_LISTS", tmp_path)
    with pytest.raises(CorpusMissing, match="apt-get update"):
        CORPORA["debian-packages"].load(1)


def test_the_package_index_is_read_by_its_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    helper = tmp_path / "apt-helper"
    helper.write_text('#!/bin/sh\nexec cat "$2"\n')
    helper.chmod(0o755)
    stanza = "Package: {0}\nInstalled-Size: 7\nSize: {1}\nDescription: x\n\n"
    (tmp_path / "host_dists_x_main_binary-amd64_Packages").write_text(stanza.format("a", 10) + stanza.format("b", 25))
    (tmp_path / "host_dists_x_InRelease").write_text("Origin: x\nDate: Sat, 1 Nov 2025 10:00:00 UTC\n")
    monkeypatch.setattr(corpora, "APT_LISTS", tmp_path)
    monkeypatch.setattr(corpora, "APT_HELPER", helper)
    corpus = CORPORA["debian-packages"].load(1)
    assert corpus.sizes == (10, 25)
    assert corpus.provenance.details["release"] == "Sat, 1 Nov 2025 10:00:00 UTC"


def test_answers_of_an_autocompletion_come_from_a_list_of_words() -> None:
    corpus = CORPORA["autocomplete"].load(1)
    assert corpus.provenance.kind == "real"
    assert "english-words" in corpus.provenance.details["words"]
    assert len(corpus.sizes) > 1_000
