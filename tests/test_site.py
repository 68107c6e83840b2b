"""The documentation as a site: what it must hold, where a build wouldn't say so. `.ci/run` builds it."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docstrings import as_rest

import securestream as ss

DOCS = Path(__file__).parent.parent / "docs"
REFERENCE = DOCS / "reference"
ENTRY = re.compile(r"^\.\. auto(\w+):: ([\w.]+)", re.MULTILINE)


def entries() -> list[tuple[str, str]]:
    """All that the reference has: kind and name."""
    return [entry for page in sorted(REFERENCE.glob("*.md")) for entry in ENTRY.findall(page.read_text("utf-8"))]


def documented(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return vars(importlib.import_module(module))[attribute]


def kind_of(thing: object) -> str:
    """Which of autodoc's directives shows it."""
    if inspect.isclass(thing):
        return "exception" if issubclass(thing, BaseException) else "class"
    return "function" if inspect.isroutine(thing) else "data"


def test_every_public_name_has_one_entry_in_the_reference() -> None:
    found = [name.removeprefix("securestream.") for _, name in entries()]
    assert sorted(name for name in found if "." not in name) == sorted(ss.__all__)


def test_every_entry_of_the_reference_is_of_its_kind() -> None:
    for kind, name in entries():
        assert kind == kind_of(documented(name)), name


def test_every_entry_of_the_reference_has_a_docstring_of_its_own() -> None:
    for kind, name in entries():
        thing = documented(name)
        assert kind == "data" or thing.__doc__, name
        assert not inspect.isclass(thing) or "__doc__" in vars(thing), name


def test_the_diagrams_are_as_the_code_is() -> None:
    command = [sys.executable, "-W", "error", str(DOCS / "diagrams" / "draw.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}: run docs/diagrams/draw.py"


@pytest.mark.parametrize(
    ("docstring", "shown"),
    [
        ("A `send_all` of *all*.", "A ``send_all`` of \\*all\\*."),
        ("`Peer` of `T_Stream`", ":py:obj:`Peer <securestream.Peer>` of ``T_Stream``"),
        ("`ss.Peer`", ":py:obj:`ss.Peer <securestream.Peer>`"),
        ("`StreamPool.stream()`", ":py:obj:`StreamPool.stream() <securestream.StreamPool.stream>`"),
        ("`Peer.address`", ":py:obj:`Peer.address <securestream.Peer>`"),
        ("`docs/post-quantum.md`", ":doc:`docs/post-quantum.md </post-quantum>`"),
        ("header_ | a_b | c\\d", "header\\_ \\| a\\_b \\| c\\\\d"),
        ("`a`     one\n        more\n`b`, `c`  two", "``a``\n    one\n    more\n\n``b``, ``c``\n    two"),
        ("So:\n\n    x = 1\n\n    y = *x", "So:\n\n.. code-block:: python\n\n    x = 1\n\n    y = *x"),
    ],
)
def test_a_docstring_is_shown_as_it_is_meant(docstring: str, shown: str) -> None:
    assert "\n".join(as_rest(docstring.splitlines())).strip() == shown


def test_the_attributes_of_a_class_have_entries_and_the_arguments_of_its_call_have_none() -> None:
    """A property has its entry where its docstring is."""
    fields = "\n".join(as_rest(["`host`, `port`  where", "`nowhere`     else"], ss.Address))
    assert ".. py:attribute:: host\n                  port\n    :no-contents-entry:\n\n    where\n" in fields
    assert fields.endswith("``nowhere``\n    else\n")
    assert "attribute" not in "\n".join(as_rest(["`max_idle`  how many"], ss.StreamPool))
    assert "attribute" not in "\n".join(as_rest(["`alert`  that came"], ss.SecureStream))
