"""A few mutants at each run, all of them with `--effort full`; and whether the list of survivors is in order."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
from typing import TYPE_CHECKING

import pytest

from .mutants import ROOT, SURVIVORS, difference, known_survivors, mutants_of, try_mutants

if TYPE_CHECKING:
    from pathlib import Path

    from ..conftest import Tries

pytestmark = pytest.mark.shows("mutation-score")

LEAST = 90.0
SAMPLE = 30


@pytest.fixture
def mutmut() -> None:
    """Where the dev extra has it, it is no excuse that it is missing."""
    if importlib.util.find_spec("mutmut") is None or sys.platform == "win32":
        extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
        assert not any(wanted.startswith("mutmut") for wanted in extra), "mutmut belongs to the dev extra"
        pytest.skip("mutmut is not installed")


@pytest.mark.slow
@pytest.mark.usefixtures("mutmut")
def test_most_mutants_are_killed_and_the_others_are_known(tries: Tries, tmp_path: Path) -> None:
    """All of them, or a sample for each seed."""
    sample = tries.choose(small=SAMPLE, full=0)
    (seed,) = tries.seeds(small=1, full=1)
    score = try_mutants(tmp_path, sample=sample, seed=seed)
    tries.tried(len(score.killed) + len(score.survived))
    tries.found("killed of all, in percent", round(score.of_all, 1))
    print(*score.unknown, sep="\n\n")
    assert len(score.killed) >= SAMPLE / 2
    assert score.of_unlisted >= LEAST
    assert sample or score.of_all >= LEAST


def test_every_survivor_that_is_listed_has_a_reason_and_changes_something() -> None:
    for (function, out, put_in), reason in known_survivors().items():
        assert function.count(".") >= 1
        assert out != put_in
        assert len(reason.split()) >= 2


def test_the_code_of_every_survivor_that_is_listed_is_still_there() -> None:
    """If not, its entry goes: what stands there now has to be looked at anew."""
    for function, out, _ in known_survivors():
        path = ROOT / "securestream/protocol" / f"{function.partition('.')[0]}.py"
        lines = {line.strip() for line in path.read_text().splitlines()}
        missing = [line for line in out if line not in lines]
        assert missing == [], f"{SURVIVORS.name}: {function}"


MUTATED = """
class A:
    def xǁAǁ_f__mutmut_orig(self) -> int:
        return self.x + 1

    def xǁAǁ_f__mutmut_1(self) -> int:
        return self.x - 1

def x_g__mutmut_orig(a: int = 1) -> None:
    return h(a, 2)

def x_g__mutmut_1(a: int = 2) -> None:
    return h(a, 2)

def x__g__mutmut_orig() -> bool:
    return True

def x__g__mutmut_12() -> bool:
    return False
"""


def test_mutants_are_read_out_of_what_mutmut_writes(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(MUTATED)
    first, third, second = sorted(mutants_of(path), key=lambda mutant: mutant.function)
    assert first.name == "securestream.protocol.module.xǁAǁ_f__mutmut_1"
    assert first.key == ("module.A._f", ("return self.x + 1",), ("return self.x - 1",))
    assert second.key == ("module.g", ("def g(a: int = 1) -> None:",), ("def g(a: int = 2) -> None:",))
    assert third.key == ("module._g", ("return True",), ("return False",))
    assert str(third) == "module._g\n-  return True\n+  return False"
    assert difference(["a", "b"], ["a", "c", "d"]) == (("b",), ("c", "d"))
