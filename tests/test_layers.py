"""Imports point down: who may import whom is read out of the source and held against one table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import securestream

PACKAGE = Path(securestream.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

# What a layer may import besides itself. "" is the package's own module, which holds the public names; who is
# built on those may take them from there. A new layer gets its line here.
STACK = {"protocol", "streams", "trust", "service"}
BELOW: dict[str, set[str]] = {
    "protocol": set(),
    "streams": {"protocol"},
    "trust": {"protocol"},
    "service": {"protocol", "streams", "trust"},
    "": STACK,
    "testing": STACK | {""},
    "lab": STACK | {"", "testing"},
    "bench": STACK | {"", "testing"},
    "cli": STACK | {"", "testing", "lab", "bench"},
    "__main__": {"cli"},
}

# What does I/O, knows a clock, or belongs to an event loop.
OUTSIDE_WORLD = {
    *("trio", "anyio", "sniffio", "asyncio", "socket", "ssl", "select", "selectors", "signal", "subprocess"),
    *("os", "io", "pathlib", "tempfile", "shutil", "time", "datetime", "threading", "multiprocessing", "random"),
}


def layer_of(module: str) -> str:
    """`"securestream.streams.wrap"` is in `"streams"`, `"securestream"` in `""`."""
    return module.partition(".")[2].partition(".")[0]


LAYERS = {path.parts[0].removesuffix(".py") for path in MODULES}


def imports_in(source: str, package: list[str]) -> set[str]:
    """Every module that the source of a module in `package` imports, wherever in it, by its full name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            layers = LAYERS if module == "securestream" else set()
            found |= {f"{module}.{alias.name}" if alias.name in layers else module for alias in node.names}
    return found


def imports_of(path: Path) -> set[str]:
    return imports_in((PACKAGE / path).read_text(), ["securestream", *path.parent.parts])


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(["securestream", *(parts[:-1] if parts[-1] == "__init__" else parts)])


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_a_module_imports_its_own_layer_and_those_below_it_only(path: Path) -> None:
    own = layer_of(module_name(path))
    used = {layer_of(name) for name in imports_of(path) if name.partition(".")[0] == "securestream"}
    assert used <= BELOW[own] | {own}


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "protocol"], ids=str)
def test_the_protocol_does_no_io_and_knows_no_clock(path: Path) -> None:
    assert not {name for name in imports_of(path) if name.partition(".")[0] in OUTSIDE_WORLD}


@pytest.mark.parametrize("path", [path for path in MODULES if path.parts[0] == "protocol"], ids=str)
def test_the_protocol_opens_no_file_and_prints_nothing(path: Path) -> None:
    calls = {
        node.func.id
        for node in ast.walk(ast.parse((PACKAGE / path).read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not calls & {"open", "print", "input", "exec", "eval", "__import__"}


EVERY_FORM = """
import trio, os.path as p
from time import sleep
from . import codes
from .codes import AlertCode
from .. import ClientConfig
from .. import trust
from ..streams import wrap
from securestream import service
if TYPE_CHECKING:
    import securestream.lab.padding
def late():
    from ..cli.main import main
"""


def test_the_reader_of_imports_sees_every_form() -> None:
    found = imports_in(EVERY_FORM, ["securestream", "protocol"])
    assert {name for name in found if not name.startswith("securestream")} == {"trio", "os.path", "time"}
    layers = {layer_of(name) for name in found if name.startswith("securestream")}
    assert layers == {"", "protocol", "streams", "trust", "service", "lab", "cli"}


def test_a_module_is_known_by_its_place() -> None:
    assert module_name(Path("protocol/noise.py")) == "securestream.protocol.noise"
    assert module_name(Path("protocol/__init__.py")) == "securestream.protocol"
    assert module_name(Path("__init__.py")) == "securestream"
    assert Path("protocol/noise.py") in MODULES
