"""mutmut over a copy of the tree, and what has become of each mutant.

mutmut makes a mutant of each operator, number, string, keyword, assignment and argument, and runs those tests that call
the function it is in, up to the first that fails. It leaves alone properties, and what is done when a module is
imported: constants, tables, classes' own lines.

A mutant is known by its function and by what it changes, not by its number or its line, which move with every change
to the file. `survivors.toml` lists those that are known to survive, each with the reason why that is no fault of the
tests.
"""

from __future__ import annotations

import ast
import difflib
import json
import os
import random
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
SURVIVORS = Path(__file__).with_name("survivors.toml")
PROTOCOL = "securestream/protocol"
COPIED = ("securestream", "tests", "pyproject.toml", "README.md")
NOT_COPIED = shutil.ignore_patterns("__pycache__", "corpus", ".*", "mutants")
PACKAGE = "securestream.protocol"
SOME_FEW = "securestream.protocol.codes.*"  # so that mutmut makes all mutants and runs as few as it can

# Their tests are those of credentials, profiles, TLS and `securestream decode`, with sockets and processes: too slow to
# run for each mutant.
TESTED_ELSEWHERE = {"capture", "credentials", "dev", "key_kinds", "openssl", "plaintext", "tls", "tls_keys"}

# Left out are the three tests that take a third of the time; what they find others do as well.
CONFIG = """
[tool.mutmut]
source_paths = ["securestream/protocol"]
also_copy = ["securestream", "tests", "README.md"]
pytest_add_cli_args_test_selection = ["tests/protocol"]
timeout_multiplier = 3.0
timeout_constant = 5.0
pytest_add_cli_args = ["-k", "not few_lengths and not hundred_megabytes and not single_bytes"]
use_git_change_detection = false
"""


@dataclass(frozen=True)
class Mutant:
    """A fault: mutmut's name for it, the function it is in, the lines that it takes out and puts in."""

    name: str
    module: str
    function: str
    out: tuple[str, ...]
    put_in: tuple[str, ...]

    @property
    def key(self) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
        return f"{self.module}.{self.function}", self.out, self.put_in

    def __str__(self) -> str:
        lines = [f"-  {line}" for line in self.out] + [f"+  {line}" for line in self.put_in]
        return "\n".join([f"{self.module}.{self.function}", *lines])


# --- mutmut -----------------------------------------------------------------------------------------------


def copy_tree(folder: Path) -> None:
    """What mutmut needs, beside its own configuration."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=NOT_COPIED)
        else:
            shutil.copy(source, folder / name)
    with (folder / "pyproject.toml").open("a") as config:
        config.write(CONFIG)


def run_mutmut(folder: Path, *names: str, processes: int = 2) -> None:
    """Runs mutants by name, all if there is none. Raises `RuntimeError` with what mutmut says."""
    program = "import sys; from mutmut.__main__ import cli; sys.exit(cli())"
    environment = {name: value for name, value in os.environ.items() if name != "SECURESTREAM_VECTORS"}
    done = subprocess.run(
        [sys.executable, "-c", program, "run", "--max-children", str(processes), *names],
        cwd=folder,
        env={**environment, "PYTHONPATH": "", "PYTHONHASHSEED": "0"},  # mutmut keeps tests in sets
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"mutmut failed:\n{done.stdout[-3_000:]}\n{done.stderr[-3_000:]}")


def modules() -> list[str]:
    """Those whose mutants are tried."""
    return sorted({path.stem for path in (ROOT / PROTOCOL).glob("*.py")} - TESTED_ELSEWHERE)


def every_mutant(folder: Path) -> dict[str, Mutant]:
    """All that mutmut has made of `modules()`."""
    return {
        mutant.name: mutant
        for path in sorted((folder / "mutants" / PROTOCOL).glob("*.py"))
        if path.stem in modules()
        for mutant in mutants_of(path)
    }


def mutants_of(path: Path) -> list[Mutant]:
    """Read out of the module that mutmut has written: each function as it was and as each mutant has it."""
    source = path.read_text()
    lines = source.splitlines()
    functions = {
        node.name: [line.strip() for line in lines[node.lineno - 1 : node.end_lineno]]
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    }
    found = []
    for name, mutated in functions.items():
        mangled, _, number = name.rpartition("__mutmut_")
        if mangled and number != "orig":
            function = mangled.removeprefix("x_").removeprefix("xǁ").replace("ǁ", ".")
            own = function.rpartition(".")[2]
            before = [line.replace(f"{mangled}__mutmut_orig", own) for line in functions[f"{mangled}__mutmut_orig"]]
            out, put_in = difference(before, [line.replace(name, own) for line in mutated])
            found.append(Mutant(f"{PACKAGE}.{path.stem}.{name}", path.stem, function, out, put_in))
    return found


def difference(before: list[str], after: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    changes = list(difflib.ndiff(before, after))
    return (
        tuple(line[2:] for line in changes if line.startswith("- ")),
        tuple(line[2:] for line in changes if line.startswith("+ ")),
    )


def exit_codes(folder: Path) -> dict[str, int]:
    """What pytest said about each mutant that was run."""
    found: dict[str, int] = {}
    for path in sorted((folder / "mutants" / PROTOCOL).glob("*.py.meta")):
        codes: dict[str, int | None] = json.loads(path.read_text())["exit_code_by_key"]
        found.update((name, code) for name, code in codes.items() if code is not None)
    return found


# --- the score --------------------------------------------------------------------------------------------

SURVIVED = {0, 5, 33}  # pytest passes, or has no test to run; all else is a failure, a crash or a timeout
Key = tuple[str, tuple[str, ...], tuple[str, ...]]


@dataclass(frozen=True)
class Score:
    """What has become of the mutants that were run."""

    killed: tuple[Mutant, ...]
    survived: tuple[Mutant, ...]

    @property
    def of_all(self) -> float:
        """In percent."""
        return 100 * len(self.killed) / max(1, len(self.killed) + len(self.survived))

    @property
    def unknown(self) -> tuple[Mutant, ...]:
        """Survivors that nobody has looked at."""
        known = known_survivors()
        return tuple(mutant for mutant in self.survived if mutant.key not in known)

    @property
    def of_unlisted(self) -> float:
        """In percent, of those that `survivors.toml` doesn't list."""
        return 100 * len(self.killed) / max(1, len(self.killed) + len(self.unknown))

    def of_module(self, module: str) -> Score:
        first, second = (
            tuple(mutant for mutant in mutants if mutant.module == module) for mutants in (self.killed, self.survived)
        )
        return Score(first, second)

    @property
    def modules(self) -> list[str]:
        return sorted({mutant.module for mutant in (*self.killed, *self.survived)})


def known_survivors() -> dict[Key, str]:
    """`survivors.toml`: the reason for each."""
    entries = tomllib.loads(SURVIVORS.read_text())["survivor"]
    return {
        (entry["function"], tuple(change["out"]), tuple(change["in"])): entry["reason"]
        for entry in entries
        for change in entry["changes"]
    }


def try_mutants(folder: Path, *, sample: int = 0, seed: int = 0, module: str = "*", processes: int = 2) -> Score:
    """Runs all mutants of a module or of all modules, or `sample` of them, over a copy of the tree in `folder`."""
    copy_tree(folder)
    if sample:
        run_mutmut(folder, SOME_FEW, processes=processes)
        names = sorted(name for name, mutant in every_mutant(folder).items() if module in ("*", mutant.module))
        chosen = random.Random(seed).sample(names, min(sample, len(names)))
    else:
        chosen = [f"{PACKAGE}.{name}.*" for name in (modules() if module == "*" else [module])]
    run_mutmut(folder, *chosen, processes=processes)
    mutants, codes = every_mutant(folder), exit_codes(folder)
    if sample:
        codes = {name: codes[name] for name in chosen}
    return Score(
        tuple(mutants[name] for name, code in codes.items() if code not in SURVIVED),
        tuple(mutants[name] for name, code in codes.items() if code in SURVIVED),
    )
