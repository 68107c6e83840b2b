"""Every target over its corpus, and over inputs made from it at random: no fuzzer needed.

On a failure, save the input that is shown and run `python -m tests.fuzz TARGET file`."""

from __future__ import annotations

import ast
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import securestream

from .targets import CORPUS, NAMES, Target, load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..conftest import Tries

PACKAGE = Path(securestream.__file__).parent
MOST_BYTES = 300_000
TRIES_PER_SEED = 100

every_target = pytest.mark.parametrize(
    "target", [pytest.param(load(name), marks=pytest.mark.shows(load(name).shows), id=name) for name in NAMES]
)


def run(target: Target, data: bytes) -> None:
    """One input; a failure shows it whole."""
    try:
        target.one_input(data)
    except BaseException as exc:
        exc.add_note(f"the input of {target.name}: bytes.fromhex({data.hex()!r})")
        raise


@every_target
def test_every_input_of_the_corpus_is_taken_or_refused_in_order(target: Target, tries: Tries) -> None:
    for path in target.corpus:
        run(target, path.read_bytes())
    tries.tried(len(target.corpus))


@every_target
def test_inputs_made_from_the_corpus_at_random_are_taken_or_refused_in_order(target: Target, tries: Tries) -> None:
    corpus = [path.read_bytes() for path in target.corpus]
    for seed in tries.seeds(small=30, full=5_000):
        chance = random.Random(seed)
        for data in made_from(corpus, chance, TRIES_PER_SEED):
            run(target, data)


def made_from(corpus: list[bytes], chance: random.Random, count: int) -> Iterator[bytes]:
    """Two inputs joined at random places, and then a few bytes of it changed."""
    for _ in range(count):
        first, second = chance.choice(corpus), chance.choice(corpus)
        data = bytearray(first[: chance.randint(0, len(first))] + second[chance.randint(0, len(second)) :])
        if chance.random() < 0.5:
            data = bytearray(first)
        for _ in range(chance.randint(0, 4)):
            at = chance.randint(0, len(data))
            match chance.randint(0, 3):
                case 0:
                    data[at : at + 1] = chance.randbytes(1)
                case 1:
                    data[at : at + chance.randint(1, 20)] = b""
                case 2:
                    data[at:at] = chance.randbytes(chance.randint(1, 20))
                case _:
                    data[at : at + 1] = chance.choice((b"\0", b"\xff", b"\x7f", b"\x80"))
        yield bytes(data)


def parsers() -> set[str]:
    """The functions of the package whose name says that they take a stranger's bytes."""
    return {
        node.name
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.endswith("_untrusted")
    }


@pytest.mark.shows("fuzz-parsers")
def test_every_parser_of_untrusted_bytes_is_fuzzed() -> None:
    assert parsers() == {parser for name in NAMES for parser in load(name).parsers}
    assert "decode_hello_untrusted" in parsers()


def test_the_corpus_is_small_and_every_part_of_it_belongs_to_a_target() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == set(NAMES)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) <= MOST_BYTES


@every_target
def test_the_made_part_of_the_corpus_is_what_the_target_makes(target: Target) -> None:
    """If not: python -m tests.fuzz --make-corpus"""
    made = {path.name.removeprefix("made-"): path.read_bytes() for path in target.corpus if path.match("made-*")}
    assert made == target.seeds()
