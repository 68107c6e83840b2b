"""This project's docstrings as reStructuredText, so that autodoc can show them.

They are plain text with four habits, which people read as they stand:

    `name`                   code; a public name of the package becomes a link to its entry, `docs/page.md` to the page
    `name`  what it is       two blanks or more behind the name: a table of names, one a line, further lines indented.
                             A class's attributes get entries, which the index and a search lead to
    an indented paragraph    an example
    anything else            a paragraph
"""

from __future__ import annotations

import inspect
import re
from itertools import groupby
from typing import TYPE_CHECKING

import securestream

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

CODE = re.compile(r"(`[^`]+`)")
ROW = re.compile(r"^(`[^`]+`(?:, `[^`]+`)*) {2,}(\S.*)$")
PAGE = re.compile(r"docs(/[\w/-]+)\.md")
ALIAS = re.compile(r"TypeAliasForwardRef\('([\w.]+)'\)")
PUBLIC = frozenset(securestream.__all__)


def as_rest(docstring: list[str], owner: object = None) -> list[str]:
    """The lines of a docstring, without its indentation, in reStructuredText. `owner`: the class, where it is one's."""
    found: list[str] = []
    for is_example, blocks in groupby(paragraphs(docstring), key=lambda block: block[0].startswith(" ")):
        if is_example:
            found += [".. code-block:: python", "", *join(blocks), ""]
        else:
            for block in blocks:
                found += [*(table(block, owner) if ROW.match(block[0]) else map(in_rest, block)), ""]
    return found


def paragraphs(lines: list[str]) -> Iterator[list[str]]:
    """What blank lines part."""
    for is_blank, group in groupby(lines, key=lambda line: not line.strip()):
        if not is_blank:
            yield list(group)


def join(blocks: Iterator[list[str]]) -> Iterator[str]:
    """Paragraphs that follow one another, as one."""
    for number, block in enumerate(blocks):
        yield from [""] if number else []
        yield from block


def table(block: list[str], owner: object) -> Iterator[str]:
    """Names and what they are, as a list of definitions; attributes of `owner` as entries of their own."""
    for line in block:
        if row := ROW.match(line):
            names = [name[1:-1] for name in row[1].split(", ")]
            yield from attributes(names) if all(is_attribute(owner, name) for name in names) else ["", in_rest(row[1])]
            yield f"    {in_rest(row[2])}"
        else:
            yield f"    {in_rest(line.strip())}"


def attributes(names: list[str]) -> Iterator[str]:
    """The head of one entry for all of them."""
    first, *others = names
    yield from ["", f".. py:attribute:: {first}", *(f"                  {name}" for name in others)]
    yield from ["    :no-contents-entry:", ""]


def is_attribute(owner: object, name: str) -> bool:
    """Whether the class `owner` has it, and no docstring of its own with an entry."""
    if not isinstance(owner, type):
        return False
    found = inspect.getattr_static(owner, name, None)
    is_field = any(name in inspect.get_annotations(base) for base in owner.__mro__)
    is_set = re.search(rf"\bself\.{name}(: .+)? = ", inspect.getsource(owner))
    return not isinstance(found, property) and bool(found or is_field or is_set)


def in_rest(text: str) -> str:
    """A line of text: what is between backticks as code, and no sign that reStructuredText would take for its own."""
    return "".join(
        code(part[1:-1]) if CODE.fullmatch(part) else re.sub(r"[\\*|_]", r"\\\g<0>", part) for part in CODE.split(text)
    )


def code(text: str) -> str:
    """Code. A page is linked, and so is what a public name begins: to the method that it names, or to the class."""
    if page := PAGE.fullmatch(text):
        return f":doc:`{text} <{page[1]}>`"
    name, _, member = text.removeprefix("ss.").partition("(")[0].partition(".")
    if name not in PUBLIC:
        return f"``{text}``"
    found = inspect.getattr_static(getattr(securestream, name), member, None)
    has_entry = isinstance(found, property | classmethod | staticmethod) or inspect.isroutine(found)
    return f":py:obj:`{text} <securestream.{name}{f'.{member}' if has_entry else ''}>`"


def process(
    app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]
) -> None:  # autodoc-process-docstring
    lines[:] = as_rest(lines, obj if what in {"class", "exception"} else None)


def readable(
    app: Sphinx, what: str, name: str, obj: object, options: object, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:  # autodoc-process-signature
    """A signature that Python could read, without what dataclasses and Sphinx put for a default and for an alias."""
    if signature is not None:
        signature = ALIAS.sub(r"~\1", signature.replace("<factory>", "..."))
    return signature, returns


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-process-signature", readable)
    return {"parallel_read_safe": True}
